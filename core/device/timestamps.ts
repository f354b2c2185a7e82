/**
 * Per-kernel times from WebGPU timestamp queries: one compute pass per dispatch while profiling.
 *
 * @module
 */
import type { Cost, ProfileRow } from "./device.ts";
import { ProfileTable } from "./profile.ts";

const capacity = 1024;

/** Collects the timestamps of passes and adds them up per kernel. */
export class TimestampProfiler {
  readonly #gpu: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #table = new ProfileTable();
  #pending: { name: string; cost: Cost | undefined }[] = [];
  #staging: GPUBuffer | undefined;
  readonly #reads: Promise<void>[] = [];

  constructor(gpu: GPUDevice) {
    this.#gpu = gpu;
    this.#queries = gpu.createQuerySet({ type: "timestamp", count: 2 * capacity });
    this.#resolved = gpu.createBuffer({
      size: 16 * capacity,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
  }

  /** Whether the encoder must be submitted before the next pass. */
  get full(): boolean {
    return this.#pending.length >= capacity;
  }

  /** Timestamp writes of the next pass. */
  next(name: string, cost: Cost | undefined): GPUComputePassTimestampWrites {
    const index = 2 * this.#pending.length;
    this.#pending.push({ name, cost });
    return {
      querySet: this.#queries,
      beginningOfPassWriteIndex: index,
      endOfPassWriteIndex: index + 1,
    };
  }

  /** Queues the resolution of all queries so far; call before the encoder is finished. */
  resolve(encoder: GPUCommandEncoder): void {
    if (this.#pending.length === 0) return;
    const bytes = 16 * this.#pending.length;
    this.#staging = this.#gpu.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    encoder.resolveQuerySet(this.#queries, 0, 2 * this.#pending.length, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, bytes);
  }

  /** Starts reading what was resolved; call after the submit. */
  collect(): void {
    const staging = this.#staging;
    if (staging === undefined) return;
    const passes = this.#pending;
    this.#pending = [];
    this.#staging = undefined;
    this.#reads.push((async () => {
      await staging.mapAsync(GPUMapMode.READ);
      const times = new BigUint64Array(staging.getMappedRange().slice(0));
      staging.destroy();
      passes.forEach(({ name, cost }, index) =>
        this.#table.add(name, Number(times[2 * index + 1]! - times[2 * index]!) / 1e6, cost)
      );
    })());
  }

  /** The table so far; waits for every read. */
  async rows(): Promise<ProfileRow[]> {
    await Promise.all(this.#reads);
    return this.#table.rows();
  }

  destroy(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
  }
}
