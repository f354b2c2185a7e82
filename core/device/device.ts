/**
 * What a compute device offers, the same for WebGPU and for the typed-array fallback: memory, kernels, recordings.
 *
 * @module
 */
import type { Program } from "./program.ts";

/** A span of device memory from the device's pool. */
export interface DeviceBuffer {
  /** Usable size in bytes, a multiple of 4. */
  readonly size: number;
  /** What the memory is for, in messages and profiles. */
  readonly label: string;
}

/** Where a kernel finds one of its arrays. */
export interface BufferRange {
  /** Live memory of the same device. */
  readonly buffer: DeviceBuffer;
  /** Byte offset, a multiple of {@linkcode Capabilities.offsetAlignment}. Default 0. */
  readonly offset?: number;
  /** Bytes visible to the kernel, a multiple of 4. Default: to the end of the buffer. */
  readonly size?: number;
}

/** What kernels may rely on when they choose a variant. */
export interface Capabilities {
  /** A CPU pretending to be a GPU (lavapipe, SwiftShader), or the typed-array backend. */
  readonly software: boolean;
  /** `subgroupAdd` and its kin compile and run. */
  readonly subgroups: boolean;
  /** Smallest and largest subgroup size; 0 when there are none. */
  readonly subgroupSizes: readonly [number, number];
  /** Bytes of workgroup memory. */
  readonly workgroupMemory: number;
  /** Invocations per workgroup. */
  readonly workgroupSize: number;
  /** Workgroups per dispatch dimension. */
  readonly workgroups: number;
  /** Largest storage binding in bytes: larger tensors are split by rows. */
  readonly bindingBytes: number;
  /** Largest buffer in bytes. */
  readonly bufferBytes: number;
  /** Alignment of binding offsets in bytes. */
  readonly offsetAlignment: number;
  /** Storage bindings per kernel. */
  readonly bindings: number;
}

/** Who does the computing, for `doctor` and for the conditions beside every measurement. */
export interface DeviceInfo {
  /** Adapter name, such as `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly name: string;
  /** Vendor as the driver reports it, a name or a PCI number in decimal; `none` for the typed-array device. */
  readonly vendor: string;
  /** Every feature the device was created with, the hidden ones included. */
  readonly features: readonly string[];
  /** All numeric limits the device was created with. */
  readonly limits: Readonly<Record<string, number>>;
}

/** Device memory in bytes, and how often the pool had to ask for more. */
export interface MemoryUse {
  /** Bytes held by live buffers. */
  readonly live: number;
  /** Most bytes ever held by live and pooled buffers together. */
  readonly peak: number;
  /** Bytes kept for reuse. */
  readonly pooled: number;
  /** Buffers created since the start; does not grow in a steady state. */
  readonly created: number;
}

/** Arithmetic and traffic of one dispatch, for profiles. */
export interface Cost {
  /** Floating-point operations, a multiply-add counting as two. */
  readonly flops?: number;
  /** Bytes read and written once each. */
  readonly bytes?: number;
}

/** Time spent in one kernel, summed over its dispatches. */
export interface ProfileRow extends Required<Cost> {
  /** Key of the kernel, {@linkcode Program.key}. */
  readonly name: string;
  /** Dispatches summed in this row. */
  readonly count: number;
  /** Milliseconds on the device (WebGPU timestamps) or on the host. */
  readonly milliseconds: number;
}

/** Releases every buffer created while it is the innermost scope, except those kept. */
export interface Scope extends Disposable {
  /** Hands buffers to the enclosing scope (or to the caller, when there is none). Returns its argument. */
  keep<T extends { readonly buffer: DeviceBuffer }>(holder: T): T;
}

/** A captured sequence of dispatches and copies whose buffers, pipelines and bind groups are fixed. */
export interface Recording extends Disposable {
  /** Runs the sequence again. Allocates nothing. */
  replay(): void;
  /** Dispatches in the sequence. */
  readonly dispatches: number;
}

/** A device. All methods are synchronous and only queue work, except those that return promises. */
export interface Device extends AsyncDisposable {
  /** Which backend: kernels in WGSL, or their typed-array twins on the host. */
  readonly kind: "webgpu" | "wasm";
  /** Adapter, features and limits; fixed while the device is open. */
  readonly info: DeviceInfo;
  /** What kernels choose their variant by; fixed while the device is open. */
  readonly capabilities: Capabilities;
  /** Memory of the pool at this moment, in bytes. */
  readonly memory: MemoryUse;

  /**
   * Takes a buffer of at least `bytes` from the pool; its content is undefined.
   *
   * @throws {DeviceError} code `TOO_LARGE` beyond the device's buffer size, `OUT_OF_MEMORY` when there is no more.
   */
  allocate(bytes: number, label: string): DeviceBuffer;
  /** Returns a buffer to the pool. Work queued before still sees its content. Releasing twice is an error. */
  release(buffer: DeviceBuffer): void;
  /** Keeps a live buffer's content until {@linkcode Device.unhold}, even when its owner or its scope releases it. Counts. */
  hold(buffer: DeviceBuffer): void;
  /** Ends one {@linkcode Device.hold}; a buffer released meanwhile returns to the pool with the last one. */
  unhold(buffer: DeviceBuffer): void;
  /**
   * Ends the only hold of a buffer whose owner has released it by owning it anew, in the innermost scope.
   *
   * @returns Whether it did; otherwise nothing has changed.
   */
  reclaim(buffer: DeviceBuffer): boolean;
  /** Opens a scope. Scopes nest and must not be left across an `await`. */
  scope(): Scope;

  /** Copies host bytes into a buffer, ordered after all work queued so far. `data.byteLength` is a multiple of 4. */
  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset?: number): void;
  /**
   * Reads bytes back. Only the wait is asynchronous: several reads may be in flight.
   *
   * @throws {DeviceError} when the device was lost or any work queued before was invalid.
   */
  read(buffer: DeviceBuffer, byteOffset?: number, bytes?: number): Promise<ArrayBuffer>;
  /** Queues a copy between two buffers, all numbers multiples of 4. */
  copy(source: BufferRange, target: BufferRange, bytes: number): void;
  /**
   * Queues one kernel.
   *
   * @param ranges One range per array of the program, by name.
   * @param parameters One number per parameter of the program, by name.
   * @param workgroups Workgroup counts; x beyond the device's limit is folded into y (see `workgroupIndex`).
   */
  dispatch(
    program: Program,
    ranges: Readonly<Record<string, BufferRange>>,
    parameters: Readonly<Record<string, number>>,
    workgroups: readonly [number, number?, number?],
    cost?: Cost,
  ): void;
  /** Starts executing what is queued. */
  flush(): void;
  /** Waits for all work. @throws {DeviceError} as {@linkcode Device.read} does. */
  finish(): Promise<void>;
  /**
   * Captures the dispatches and copies that `body` queues, without running them. Buffers allocated inside belong to the
   * recording; `write` and `read` are not allowed inside.
   */
  record(body: () => void): Recording;
  /** Times every dispatch from now on; call {@linkcode Device.profileRows} for the table. Slows the device down. */
  profile(on: boolean): void;
  /** Time per kernel since profiling was switched on, slowest first. */
  profileRows(): Promise<ProfileRow[]>;
}
