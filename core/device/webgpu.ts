/**
 * The WebGPU backend: the only module that calls the WebGPU API for computing.
 *
 * Dispatches collect in one command encoder with one compute pass; parameters collect in an arena that is written once
 * per submit and bound with dynamic offsets, so bind groups depend on buffers alone and are reused. Invalid work throws
 * nothing in some runtimes and shows only in error scopes, so a scope is open whenever an encoder is, and a device that
 * reported an error refuses to return data from then on.
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
import { ErrorGuard } from "./guard.ts";
import { PipelineCache, type Prepared } from "./pipelines.ts";
import { BufferPool } from "./pool.ts";
import type { Program } from "./program.ts";
import { TimestampProfiler } from "./timestamps.ts";

/** Bytes of one parameter slot: the largest alignment that the specification allows for dynamic offsets. */
const slotBytes = 256;
const arenaSlots = 512;
const uploadChunk = 32 * 2 ** 20;

interface GpuBuffer extends DeviceBuffer {
  readonly gpu: GPUBuffer;
  readonly id: number;
}

type Step =
  | {
    readonly pipeline: GPUComputePipeline;
    group: GPUBindGroup;
    readonly slot: number;
    counts: Counts;
    name: string;
    cost?: Cost;
  }
  | {
    readonly source: GPUBuffer;
    readonly from: number;
    readonly target: GPUBuffer;
    readonly to: number;
    bytes: number;
  };
type Counts = readonly [number, number, number];

interface PendingRecording {
  readonly parameters: { bytes: ArrayBuffer }[];
  readonly steps: ((arena: GPUBuffer) => Step)[];
}

/** What {@linkcode WebGpuDevice} needs to know about a freshly requested device. */
export interface WebGpuSetup {
  /** The device, which the backend owns from then on and destroys in the end. */
  readonly device: GPUDevice;
  /** Adapter name, features and limits, as shown to users. */
  readonly info: DeviceInfo;
  /** Limits of the device and what was found out by compiling probes. */
  readonly capabilities: Capabilities;
  /** `enable subgroups;` where the runtime wants the line, else empty. */
  readonly subgroupsDirective: string;
  /** Submit after every dispatch, so that an error names its kernel. */
  readonly checked: boolean;
}

/** A WebGPU device. Make one with `openDevice`. */
export class WebGpuDevice implements Device {
  /** Always `webgpu`. */
  readonly kind = "webgpu";
  /** Adapter, features and limits; fixed while the device is open. */
  readonly info: DeviceInfo;
  /** What kernels choose their variant by; fixed while the device is open. */
  readonly capabilities: Capabilities;
  readonly #gpu: GPUDevice;
  readonly #checked: boolean;
  readonly #pool: BufferPool<GpuBuffer>;
  readonly #pipelines: PipelineCache;
  readonly #arena: GPUBuffer;
  readonly #arenaHost = new ArrayBuffer(arenaSlots * slotBytes);
  #arenaUsed = 0;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #queued: string[] = [];
  #recording: PendingRecording | undefined;
  #profiler: TimestampProfiler | undefined;
  #nextId = 1;
  readonly #staging = new Map<number, GPUBuffer[]>();
  readonly #guard: ErrorGuard;
  #closed = false;

  /** Takes over a fresh device: allocates the parameter arena (128 KiB) and watches for loss. */
  constructor(setup: WebGpuSetup) {
    this.#gpu = setup.device;
    this.#guard = new ErrorGuard(setup.device, setup.info.name);
    this.info = setup.info;
    this.capabilities = setup.capabilities;
    this.#checked = setup.checked;
    this.#pipelines = new PipelineCache(setup.device, setup.subgroupsDirective);
    this.#pool = new BufferPool<GpuBuffer>(
      (size, label) => this.#createBuffer(size, label),
      (buffer) => {
        this.#pipelines.forgetGroups();
        buffer.gpu.destroy();
      },
    );
    this.#arena = this.#gpu.createBuffer({
      label: "parameters",
      size: arenaSlots * slotBytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
  }

  /** Memory of the buffer pool in bytes; the parameter arena and the staging buffers are not counted. */
  get memory(): MemoryUse {
    return this.#pool.memory;
  }

  #createBuffer(size: number, label: string): GpuBuffer {
    if (size > this.capabilities.bufferBytes) {
      throw new DeviceError(
        "TOO_LARGE",
        `Cannot allocate ${size} bytes for ${label}: "${this.info.name}" allows ${this.capabilities.bufferBytes} per buffer; use a smaller dtype or context`,
      );
    }
    const guarded = this.#encoder === undefined;
    if (guarded) this.#guard.begin();
    const gpu = this.#gpu.createBuffer({
      label,
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    if (guarded) this.#guard.end(() => `allocating ${size} bytes for ${label}`);
    return { gpu, size, label, id: this.#nextId++ };
  }

  allocate(bytes: number, label: string): DeviceBuffer {
    this.#guard.throwIfFailed();
    return this.#pool.allocate(bytes, label);
  }

  release(buffer: DeviceBuffer): void {
    this.#pool.release(buffer as GpuBuffer);
  }

  hold(buffer: DeviceBuffer): void {
    this.#pool.hold(buffer as GpuBuffer);
  }

  unhold(buffer: DeviceBuffer): void {
    this.#pool.unhold(buffer as GpuBuffer);
  }

  reclaim(buffer: DeviceBuffer): boolean {
    return this.#pool.reclaim(buffer as GpuBuffer);
  }

  scope(): Scope {
    return this.#pool.scope();
  }

  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset = 0): void {
    if (this.#recording !== undefined) {
      throw new DeviceError("RECORDING", "Cannot write inside a recording");
    }
    this.#guard.throwIfFailed();
    this.flush();
    this.#guard.begin();
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < bytes.byteLength; at += uploadChunk) {
      this.#gpu.queue.writeBuffer(
        (buffer as GpuBuffer).gpu,
        byteOffset + at,
        bytes.subarray(at, at + uploadChunk),
      );
    }
    this.#guard.end(() => `writing ${bytes.byteLength} bytes to ${buffer.label}`);
  }

  async read(
    buffer: DeviceBuffer,
    byteOffset = 0,
    bytes: number = buffer.size - byteOffset,
  ): Promise<ArrayBuffer> {
    if (this.#recording !== undefined) {
      throw new DeviceError("RECORDING", "Cannot read inside a recording");
    }
    this.#guard.throwIfFailed();
    const size = 2 ** Math.ceil(Math.log2(Math.max(256, bytes)));
    const staging = this.#staging.get(size)?.pop() ?? this.#gpu.createBuffer({
      label: "staging",
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = this.#open();
    this.#endPass();
    encoder.copyBufferToBuffer((buffer as GpuBuffer).gpu, byteOffset, staging, 0, bytes);
    this.flush();
    try {
      await staging.mapAsync(GPUMapMode.READ, 0, bytes);
    } catch (cause) {
      await this.#guard.settle();
      throw new DeviceError(
        "DEVICE_LOST",
        `Cannot read from "${this.info.name}": the device stopped answering`,
        { cause },
      );
    }
    const data = staging.getMappedRange(0, bytes).slice(0);
    staging.unmap();
    const list = this.#staging.get(size);
    if (list === undefined) this.#staging.set(size, [staging]);
    else list.push(staging);
    await this.#guard.settle();
    return data;
  }

  #open(): GPUCommandEncoder {
    if (this.#encoder === undefined) {
      this.#guard.begin();
      this.#encoder = this.#gpu.createCommandEncoder();
    }
    return this.#encoder;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }

  #encode(step: Step): void {
    const encoder = this.#open();
    if ("source" in step) {
      this.#endPass();
      encoder.copyBufferToBuffer(step.source, step.from, step.target, step.to, step.bytes);
      return;
    }
    let pass = this.#pass;
    if (this.#profiler !== undefined) {
      this.#endPass();
      pass = encoder.beginComputePass({
        timestampWrites: this.#profiler.next(step.name, step.cost),
      });
    } else {
      pass ??= this.#pass = encoder.beginComputePass();
    }
    pass.setPipeline(step.pipeline);
    pass.setBindGroup(0, step.group, [step.slot * slotBytes]);
    pass.dispatchWorkgroups(...step.counts);
    if (this.#queued.length < 4) this.#queued.push(step.name);
    if (this.#profiler !== undefined) pass.end();
    if (this.#checked || this.#profiler?.full) this.flush();
  }

  copy(source: BufferRange, target: BufferRange, bytes: number): void {
    const step: Step = {
      source: (source.buffer as GpuBuffer).gpu,
      from: source.offset ?? 0,
      target: (target.buffer as GpuBuffer).gpu,
      to: target.offset ?? 0,
      bytes,
    };
    if (this.#recording !== undefined) this.#recording.steps.push(() => step);
    else this.#encode(step);
  }

  dispatch(
    program: Program,
    ranges: Readonly<Record<string, BufferRange>>,
    parameters: Readonly<Record<string, number>>,
    workgroups: readonly [number, number?, number?],
    cost?: Cost,
  ): void {
    const counts = this.#foldCounts(program, workgroups);
    if (counts.includes(0)) return;
    const prepared = this.#pipelines.get(program);
    if (this.#recording !== undefined) {
      const slot = this.#recording.parameters.length;
      const bytes = new ArrayBuffer(slotBytes);
      writeParameters(program, prepared, parameters, new DataView(bytes), 0);
      this.#recording.parameters.push({ bytes });
      this.#recording.steps.push((arena) => ({
        pipeline: prepared.pipeline,
        group: this.#pipelines.bind(prepared, arena, program, ranges),
        slot,
        counts,
        name: program.key,
        ...(cost === undefined ? {} : { cost }),
      }));
      return;
    }
    this.#guard.throwIfFailed();
    if (this.#arenaUsed === arenaSlots) this.flush();
    this.#open();
    const slot = this.#arenaUsed++;
    writeParameters(program, prepared, parameters, new DataView(this.#arenaHost), slot * slotBytes);
    const group = this.#pipelines.bind(prepared, this.#arena, program, ranges, true);
    this.#encode({
      pipeline: prepared.pipeline,
      group,
      slot,
      counts,
      name: program.key,
      ...(cost === undefined ? {} : { cost }),
    });
  }

  #foldCounts(program: Program, [x, y = 1, z = 1]: readonly [number, number?, number?]): Counts {
    const limit = this.capabilities.workgroups;
    if (x > limit && y === 1) {
      y = Math.ceil(x / limit);
      x = Math.ceil(x / y);
    }
    if (x > limit || y > limit || z > limit) {
      throw new DeviceError(
        "TOO_LARGE",
        `Cannot run ${program.key} on ${x} x ${y} x ${z} workgroups: the limit is ${limit}`,
      );
    }
    return [x, y, z];
  }

  flush(): void {
    if (this.#encoder === undefined) return;
    this.#endPass();
    this.#profiler?.resolve(this.#encoder);
    if (this.#arenaUsed > 0) {
      this.#gpu.queue.writeBuffer(this.#arena, 0, this.#arenaHost, 0, this.#arenaUsed * slotBytes);
    }
    this.#gpu.queue.submit([this.#encoder.finish()]);
    this.#encoder = undefined;
    this.#arenaUsed = 0;
    const names = this.#queued;
    this.#queued = [];
    this.#guard.end(() =>
      `running ${names.join(", ") || "copies"}${names.length > 3 ? ", …" : ""}`
    );
    this.#profiler?.collect();
  }

  async finish(): Promise<void> {
    this.flush();
    await this.#gpu.queue.onSubmittedWorkDone();
    await this.#guard.settle();
  }

  record(body: () => void): Recording {
    if (this.#recording !== undefined) {
      throw new DeviceError("RECORDING", "Cannot record inside a recording");
    }
    const pending: PendingRecording = this.#recording = { parameters: [], steps: [] };
    const scope = this.#pool.recordingScope();
    let owned: GpuBuffer[];
    try {
      body();
    } finally {
      this.#recording = undefined;
      owned = scope.take();
    }
    this.flush();
    this.#guard.begin();
    const arena = this.#gpu.createBuffer({
      label: "recorded parameters",
      size: Math.max(1, pending.parameters.length) * slotBytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    pending.parameters.forEach(({ bytes }, slot) =>
      this.#gpu.queue.writeBuffer(arena, slot * slotBytes, bytes)
    );
    const steps = pending.steps.map((make) => make(arena));
    this.#guard.end(() => "recording a sequence");
    return {
      dispatches: steps.length,
      replay: () => {
        this.#guard.throwIfFailed();
        for (const step of steps) this.#encode(step);
        this.flush();
      },
      [Symbol.dispose]: () => {
        this.flush();
        arena.destroy();
        for (const buffer of owned) if (this.#pool.isLive(buffer)) this.#pool.release(buffer);
        owned = [];
      },
    };
  }

  profile(on: boolean): void {
    this.flush();
    this.#profiler?.destroy();
    this.#profiler = on ? new TimestampProfiler(this.#gpu) : undefined;
  }

  async profileRows(): Promise<ProfileRow[]> {
    await this.finish();
    return await this.#profiler?.rows() ?? [];
  }

  /** Submits what is queued, waits for its error checks and destroys the device. Later calls do nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.flush();
    await this.#guard.close();
    this.#closed = true;
    this.#profiler?.destroy();
    this.#gpu.destroy();
  }
}

function writeParameters(
  program: Program,
  prepared: Prepared,
  parameters: Readonly<Record<string, number>>,
  view: DataView,
  base: number,
): void {
  prepared.parameterNames.forEach((name, index) => {
    const value = parameters[name];
    if (value === undefined) {
      throw new TypeError(`Kernel ${program.key} needs the parameter "${name}"`);
    }
    const type = program.parameters[name];
    if (type === "f32") view.setFloat32(base + 4 * index, value, true);
    else if (type === "i32") view.setInt32(base + 4 * index, value, true);
    else view.setUint32(base + 4 * index, value, true);
  });
}
