/**
 * The training loop: batches, gradients, optimiser steps, checkpoints that a later run goes on from bit by bit.
 *
 * @module
 */
import {
  type CheckpointSource,
  checkpointSource,
  readSafetensors,
  renamedTensor,
  safetensorsChunks,
  type TensorEntry,
  tensorEntry,
  toFloat32,
} from "../checkpoint/mod.ts";
import type { Device } from "../device/mod.ts";
import { DeviceError, InputError } from "../errors.ts";
import { openFile, writeAtomic } from "../files.ts";
import { readAhead } from "../nn/device_tensors.ts";
import { concat } from "../tensor/movement.ts";
import { accumulate, type Differentiable, differentiate } from "../tensor/tape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { AdamW, type AdamWOptions, type ParameterGroup } from "./optimiser.ts";

/** The loss of a batch, on the device. */
export interface BatchLoss {
  /** What is minimised, f32 [1]. */
  readonly total: Tensor;
  /** Parts of it for the log, f32 [1] each. */
  readonly terms?: Readonly<Record<string, Tensor>>;
}

/** What is trained, and on what. */
export interface TrainingTask<B> {
  /** Parameters that change. All must outlive the trainer. */
  readonly parameters: readonly ParameterGroup[];
  /**
   * The batches of a step; their gradients are averaged (gradient accumulation). Depends on the step alone, so that a
   * resumed run sees the same data.
   */
  batches(step: number): Promise<readonly B[]>;
  /** Queues the loss of a batch. Random draws depend on the step and the part of the step alone. */
  loss(batch: B, step: number, part: number): BatchLoss;
  /** Tokens of a batch, for the throughput. */
  tokens?(batch: B): number;
}

/** How a task is trained. */
export interface TrainerOptions {
  /** Optimiser steps in all. */
  readonly steps: number;
  /** Learning rate of each step, from 0 on. */
  readonly rate: (step: number) => number;
  /** Settings of AdamW. */
  readonly optimiser?: AdamWOptions;
  /** Written into checkpoints: a checkpoint of a run with another identity is refused. */
  readonly identity?: string;
}

/** What became of a step. */
export interface StepRecord {
  /** Number of the step, from 0 on. */
  readonly step: number;
  /** Mean loss of its batches. */
  readonly loss: number;
  /** Means of the parts of the loss. */
  readonly terms: Readonly<Record<string, number>>;
  /** Learning rate. */
  readonly rate: number;
  /** Norm of all gradients together, before clipping. */
  readonly gradientNorm: number;
  /** Tokens in its batches; 0 where the task does not count them. */
  readonly tokens: number;
  /** Milliseconds from the end of the step before. */
  readonly milliseconds: number;
}

/** Steps queued before the oldest one's record is awaited: the host prepares one while the device works on another. */
const inFlight = 2;

/** Trains a task step by step. Make it outside of scopes that end before it. */
export class Trainer<B> implements Disposable {
  readonly #device: Device;
  readonly #task: TrainingTask<B>;
  readonly #options: TrainerOptions;
  readonly #optimiser: AdamW;
  #step = 0;

  /** Allocates the optimiser's moments. @throws {InputError} code `NOT_TRAINABLE` as {@linkcode AdamW} does. */
  constructor(device: Device, task: TrainingTask<B>, options: TrainerOptions) {
    this.#device = device;
    this.#task = task;
    this.#options = options;
    this.#optimiser = new AdamW(device, task.parameters, options.optimiser);
  }

  /** Steps that have been queued so far: the number of the next one. */
  get step(): number {
    return this.#step;
  }

  /**
   * Trains up to a step (exclusive) and yields a record of each. When it has ended, so have all steps.
   *
   * @param until Default: all steps.
   * @param signal Ends the run after the steps in flight.
   * @throws {DeviceError} code `NOT_FINITE` when a gradient is not finite, naming the parameter; that step changed nothing.
   */
  async *run(
    until: number = this.#options.steps,
    signal?: AbortSignal,
  ): AsyncGenerator<StepRecord> {
    const pending: Promise<StepRecord>[] = [];
    let last = performance.now();
    const take = async () => {
      const record = await pending.shift()!;
      const now = performance.now(), milliseconds = now - last;
      last = now;
      return { ...record, milliseconds };
    };
    const end = Math.min(until, this.#options.steps);
    while (this.#step < end && signal?.aborted !== true) {
      const batches = await this.#task.batches(this.#step);
      pending.push(this.#queue(batches));
      if (pending.length >= inFlight) yield await take();
    }
    while (pending.length > 0) yield await take();
  }

  /** Queues one step; the promise is its record, without the time. */
  #queue(batches: readonly B[]): Promise<StepRecord> {
    const step = this.#step, rate = this.#options.rate(step);
    if (batches.length === 0) throw new RangeError(`Cannot train step ${step} without a batch`);
    using _scope = this.#device.scope();
    const leaves = this.#optimiser.leaves;
    const share = 1 / batches.length;
    let names: string[] = [];
    const readings: Promise<Float32Array>[] = [];
    let sums: (Tensor | undefined)[] = [];
    batches.forEach((batch, part) => {
      const { gradients } = differentiate(this.#device, leaves, () => {
        const { total, terms = {} } = this.#task.loss(batch, step, part);
        names = Object.keys(terms);
        readings.push(concat([total, ...Object.values(terms)].map(flat), 0).readFloats());
        return total;
      }, share);
      sums = part === 0 ? [...gradients] : sums.map((sum, i) => {
        const gradient = gradients[i];
        if (sum !== undefined && gradient !== undefined) accumulate(sum, gradient);
        return sum ?? gradient;
      });
    });
    this.#optimiser.step(sums, rate);
    const report = this.#optimiser.report();
    this.#step++;
    const tokens = batches.reduce((sum, batch) => sum + (this.#task.tokens?.(batch) ?? 0), 0);
    const record = (async () => {
      const values = await Promise.all(readings);
      const mean = (i: number) => values.reduce((sum, one) => sum + one[i]! * share, 0);
      const { applied, norm, offender } = await report;
      const loss = mean(0);
      if (!applied || !Number.isFinite(loss)) {
        throw new DeviceError(
          "NOT_FINITE",
          `Cannot go on training: at step ${step} the loss is ${loss} and ${
            offender === undefined
              ? "the gradients are finite"
              : `the gradient of "${offender}" is not finite`
          }; lower the learning rate or look at the data of this step`,
        );
      }
      const terms = Object.fromEntries(names.map((name, i) => [name, mean(i + 1)]));
      return { step, loss, terms, rate, gradientNorm: norm, tokens, milliseconds: 0 };
    })();
    // A failure is thrown where the record is awaited, which may be a step later.
    record.catch(() => {});
    return record;
  }

  /**
   * Writes parameters, moments and the step to one safetensors file, which appears complete or not at all.
   *
   * @throws {InputError} code `NOT_WRITABLE`.
   */
  async save(path: string): Promise<void> {
    const values = this.#parameters().map(({ name, value }) => valueEntry(`value.${name}`, value));
    const state = (await this.#optimiser.state()).map((entry) =>
      renamedTensor(entry, `adamw.${entry.name}`)
    );
    const metadata = { step: String(this.#step), identity: this.#options.identity ?? "" };
    await writeAtomic(path, safetensorsChunks(readAhead([...values, ...state]), { metadata }));
  }

  /**
   * Goes on where {@linkcode Trainer.save} stopped.
   *
   * @throws {InputError} code `OTHER_RUN` when the file belongs to a run with another identity, and as checkpoints do.
   */
  async resume(path: string): Promise<void> {
    using file = await openFile(path);
    const { tensors, metadata } = await readSafetensors(file);
    const step = Number(metadata.get("step"));
    if (metadata.get("identity") !== (this.#options.identity ?? "")) {
      throw new InputError(
        "OTHER_RUN",
        `Cannot resume from "${path}": it belongs to a run with other settings; use the same ones, or start in another folder`,
      );
    }
    if (!Number.isSafeInteger(step) || step < 0) {
      throw new InputError("INVALID_STATE", `Cannot resume from "${path}": it names no step`);
    }
    await this.#optimiser.load(below("adamw.", path, tensors));
    const values = below("value.", path, tensors);
    for (const { name, value } of this.#parameters()) {
      const entry = values.get(name);
      const floats = entry && toFloat32(await entry.read(), entry.dtype);
      const size = "parts" in value ? value.rows * value.columns : value.size;
      if (floats?.length !== size) {
        throw new InputError(
          "CHECKPOINT_MISMATCH",
          `Cannot resume from "${path}": "${name}" has ${
            floats?.length ?? "no"
          } values, expected ${size}`,
        );
      }
      value.write(floats);
    }
    this.#step = step;
  }

  #parameters(): { name: string; value: Differentiable }[] {
    return this.#task.parameters.flatMap(({ parameters }) => [...parameters]);
  }

  /** Releases the optimiser's moments; the parameters stay. */
  [Symbol.dispose](): void {
    this.#optimiser[Symbol.dispose]();
  }
}

function flat(x: Tensor): Tensor {
  return x.reshape(1);
}

/** The current values of a parameter, row-major. */
function valueEntry(name: string, value: Differentiable): TensorEntry {
  const shape = "parts" in value ? [value.rows, value.columns] : value.shape;
  const byteLength = 4 * shape.reduce((product, extent) => product * extent, 1);
  let reading: Promise<Float32Array<ArrayBuffer>> | undefined;
  return tensorEntry({ name, dtype: "F32", shape }, {
    byteLength,
    async read(offset, length) {
      const floats = await (reading ??= value.readFloats());
      return new Uint8Array(floats.buffer, floats.byteOffset + offset, length);
    },
  });
}

/** The tensors of a checkpoint below a prefix, under the rest of their names. */
function below(
  prefix: string,
  name: string,
  tensors: ReadonlyMap<string, TensorEntry>,
): CheckpointSource {
  const found = [...tensors.values()].filter((tensor) => tensor.name.startsWith(prefix))
    .map((tensor) => renamedTensor(tensor, tensor.name.slice(prefix.length)));
  return checkpointSource(name, new Map(found.map((tensor) => [tensor.name, tensor])));
}
