/**
 * The fallback backend: every kernel's typed-array twin, run at once on the host. It is called `wasm` to users because
 * that is where its heavy operations are headed; nothing here needs an adapter.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import type {
  BufferRange,
  Capabilities,
  Cost,
  Device,
  DeviceBuffer,
  DeviceInfo,
  MemoryUse,
  ProfileRow,
  Recording,
  Scope,
} from "./device.ts";
import { BufferPool } from "./pool.ts";
import { ProfileTable } from "./profile.ts";
import { elementLayout, type HostArray, type Program } from "./program.ts";

interface HostBuffer extends DeviceBuffer {
  bytes: ArrayBuffer;
}

const gibibyte = 2 ** 30;

/** The typed-array device. Work runs when it is queued, so waiting returns at once. */
export class HostDevice implements Device {
  /** Always `wasm`, the name by which `--device` asks for this backend. */
  readonly kind = "wasm";
  /** No adapter, hence no vendor, features or limits. */
  readonly info: DeviceInfo = {
    name: "host typed arrays",
    vendor: "none",
    features: [],
    limits: {},
  };
  /** Limits of typed arrays, not of hardware: 2 GiB per buffer, no subgroups, any number of workgroups. */
  readonly capabilities: Capabilities = {
    software: true,
    subgroups: false,
    subgroupSizes: [0, 0],
    workgroupMemory: 32768,
    workgroupSize: 256,
    workgroups: 2 ** 32 - 1,
    bindingBytes: 2 * gibibyte - 4,
    bufferBytes: 2 * gibibyte - 4,
    offsetAlignment: 4,
    bindings: 16,
  };
  readonly #pool: BufferPool<HostBuffer>;
  readonly #table = new ProfileTable();
  #profiling = false;
  #recording: (() => void)[] | undefined;

  /** Opens the device; nothing is allocated yet. */
  constructor() {
    this.#pool = new BufferPool<HostBuffer>(
      (size, label) => {
        if (size > this.capabilities.bufferBytes) {
          throw new DeviceError(
            "TOO_LARGE",
            `Cannot allocate ${size} bytes for ${label}: more than one buffer holds`,
          );
        }
        try {
          return { size, label, bytes: new ArrayBuffer(size) };
        } catch (cause) {
          throw new DeviceError(
            "OUT_OF_MEMORY",
            `Cannot allocate ${size} bytes for ${label}: out of memory; use a smaller dtype or a shorter context`,
            { cause },
          );
        }
      },
      (buffer) => {
        buffer.bytes = new ArrayBuffer(0);
      },
    );
  }

  /** Memory of the pool in bytes; a buffer is one `ArrayBuffer`. */
  get memory(): MemoryUse {
    return this.#pool.memory;
  }

  allocate(bytes: number, label: string): DeviceBuffer {
    return this.#pool.allocate(bytes, label);
  }

  release(buffer: DeviceBuffer): void {
    this.#pool.release(buffer as HostBuffer);
  }

  hold(buffer: DeviceBuffer): void {
    this.#pool.hold(buffer as HostBuffer);
  }

  unhold(buffer: DeviceBuffer): void {
    this.#pool.unhold(buffer as HostBuffer);
  }

  reclaim(buffer: DeviceBuffer): boolean {
    return this.#pool.reclaim(buffer as HostBuffer);
  }

  scope(): Scope {
    return this.#pool.scope();
  }

  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset = 0): void {
    if (this.#recording !== undefined) {
      throw new DeviceError("RECORDING", "Cannot write inside a recording");
    }
    new Uint8Array((buffer as HostBuffer).bytes).set(
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      byteOffset,
    );
  }

  read(
    buffer: DeviceBuffer,
    byteOffset = 0,
    bytes: number = buffer.size - byteOffset,
  ): Promise<ArrayBuffer> {
    return Promise.resolve((buffer as HostBuffer).bytes.slice(byteOffset, byteOffset + bytes));
  }

  #enqueue(work: () => void): void {
    if (this.#recording !== undefined) this.#recording.push(work);
    else work();
  }

  copy(source: BufferRange, target: BufferRange, bytes: number): void {
    const from = source.buffer as HostBuffer, to = target.buffer as HostBuffer;
    this.#enqueue(() =>
      new Uint8Array(to.bytes).set(
        new Uint8Array(from.bytes, source.offset ?? 0, bytes),
        target.offset ?? 0,
      )
    );
  }

  dispatch(
    program: Program,
    ranges: Readonly<Record<string, BufferRange>>,
    parameters: Readonly<Record<string, number>>,
    workgroups: readonly [number, number?, number?],
    cost?: Cost,
  ): void {
    if (workgroups.some((count) => count === 0)) return;
    const arrays: Record<string, HostArray> = {};
    for (const [name, { type }] of Object.entries(program.arrays)) {
      const { scalar } = elementLayout(type);
      const range = ranges[name]!;
      const { bytes, size } = range.buffer as HostBuffer;
      const offset = range.offset ?? 0;
      const length = (range.size ?? size - offset) >>> 2;
      arrays[name] = scalar === "f32"
        ? new Float32Array(bytes, offset, length)
        : scalar === "i32"
        ? new Int32Array(bytes, offset, length)
        : new Uint32Array(bytes, offset, length);
    }
    const values = { ...parameters };
    this.#enqueue(() => {
      const start = this.#profiling ? performance.now() : 0;
      program.host(arrays, values);
      if (this.#profiling) this.#table.add(program.key, performance.now() - start, cost);
    });
  }

  flush(): void {}

  finish(): Promise<void> {
    return Promise.resolve();
  }

  record(body: () => void): Recording {
    if (this.#recording !== undefined) {
      throw new DeviceError("RECORDING", "Cannot record inside a recording");
    }
    const work: (() => void)[] = this.#recording = [];
    const scope = this.#pool.recordingScope();
    let owned: HostBuffer[];
    try {
      body();
    } finally {
      this.#recording = undefined;
      owned = scope.take();
    }
    return {
      dispatches: work.length,
      replay: () => {
        for (const one of work) one();
      },
      [Symbol.dispose]: () => {
        for (const buffer of owned) if (this.#pool.isLive(buffer)) this.#pool.release(buffer);
        owned = [];
      },
    };
  }

  profile(on: boolean): void {
    this.#profiling = on;
    if (on) this.#table.clear();
  }

  profileRows(): Promise<ProfileRow[]> {
    return Promise.resolve(this.#table.rows());
  }

  /** Drops pooled memory at once; buffers still live go when nothing refers to them any more. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#pool.trim();
    return Promise.resolve();
  }
}
