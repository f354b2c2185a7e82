/**
 * AdamW over named parameters: groups, clipping by global norm, steps that are skipped where gradients are not finite, and
 * a state that can be stored and taken up again bit by bit.
 *
 * @module
 */
import {
  type CheckpointSource,
  checkTensors,
  memoryTensor,
  type TensorEntry,
} from "../checkpoint/mod.ts";
import type { BufferRange, Device, DeviceBuffer } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import { fillProgram } from "../kernels/movement.ts";
import {
  adamwAdvanceProgram,
  adamwProgram,
  type AdamWVariant,
  splitNew1,
} from "../kernels/optimiser.ts";
import { packedLayout } from "../kernels/quantise.ts";
import { deviceEntry, type DevicePiece, writeFromEntry } from "../nn/device_tensors.ts";
import type { Differentiable } from "../tensor/tape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { boundSpans, GradientNorm, type Verdict } from "./gradient_norm.ts";

/** A parameter to train. */
export interface TrainedParameter {
  /** Official name, unique among the parameters of an optimiser. */
  readonly name: string;
  /** f32 tensor or f32 weight, changed in place. */
  readonly value: Differentiable;
}

/** Parameters with settings in common. */
export interface ParameterGroup {
  /** The parameters, in any order. */
  readonly parameters: readonly TrainedParameter[];
  /** Factor of the learning rate. Default 1. */
  readonly rateScale?: number;
  /** Decoupled weight decay. Default 0. */
  readonly weightDecay?: number;
}

/** Settings of {@linkcode AdamW}; the defaults are PyTorch's. */
export interface AdamWOptions {
  /** Decay rates of the moments, 0 to below 1. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment. Default 1e-8. */
  readonly epsilon?: number;
  /** Divide by the largest second moment so far. Default false. */
  readonly amsgrad?: boolean;
  /** Clip the gradients of each step to this global norm. Default: not clipped. */
  readonly maxNorm?: number;
}

/** What became of a step. */
export interface StepReport extends Omit<Verdict, "offender" | "finite"> {
  /** Whether the parameters were changed; false when gradients were not finite. */
  readonly applied: boolean;
  /** First parameter whose gradient has a value that is not finite. */
  readonly offender?: string;
}

/** Rows of a parameter that are updated by one dispatch. */
interface Run {
  readonly values: BufferRange;
  /** First value in the gradient, and how many. */
  readonly start: number;
  readonly count: number;
  readonly columns: number;
  readonly granules: number;
  /** First and second moment, and the largest second moment with amsgrad; row-major. */
  readonly moments: readonly DeviceBuffer[];
}

interface Slot {
  readonly name: string;
  readonly value: Differentiable;
  readonly shape: readonly number[];
  readonly rateScale: number;
  readonly weightDecay: number;
  readonly packed: boolean;
  readonly runs: readonly Run[];
}

/**
 * AdamW with decoupled weight decay (see `kernels/optimiser.ts`). Parameters without a gradient are left alone and do not
 * count the step. Make it outside of scopes that end before it.
 */
export class AdamW implements Disposable {
  readonly #device: Device;
  readonly #options: Required<Omit<AdamWOptions, "maxNorm">> & Pick<AdamWOptions, "maxNorm">;
  readonly #slots: readonly Slot[];
  readonly #norm: GradientNorm;
  readonly #steps: DeviceBuffer;
  readonly #corrections: DeviceBuffer;
  readonly #present: DeviceBuffer;
  #presentHost: Uint32Array<ArrayBuffer>;

  /**
   * Allocates the moments, zeros.
   *
   * @throws {InputError} code `NOT_TRAINABLE` when a parameter is kept in a narrow dtype.
   * @throws {RangeError} when a name occurs twice or a setting is out of range.
   */
  constructor(device: Device, groups: readonly ParameterGroup[], options: AdamWOptions = {}) {
    const { betas = [0.9, 0.999], epsilon = 1e-8, amsgrad = false, maxNorm } = options;
    if (!betas.every((beta) => beta >= 0 && beta < 1) || !(epsilon > 0)) {
      throw new RangeError(
        `Cannot use AdamW with betas ${
          betas.join(", ")
        } and epsilon ${epsilon}: expected 0 <= beta < 1 and epsilon > 0`,
      );
    }
    if (maxNorm !== undefined && !(maxNorm > 0)) {
      throw new RangeError(`Cannot clip gradients to a norm of ${maxNorm}: expected more than 0`);
    }
    checkParameters(groups);
    this.#device = device;
    this.#options = { betas, epsilon, amsgrad, ...(maxNorm === undefined ? {} : { maxNorm }) };
    this.#slots = groups.flatMap(({ parameters, rateScale = 1, weightDecay = 0 }) =>
      parameters.map(({ name, value }) => {
        const packed = "parts" in value;
        const shape = packed ? [value.rows, value.columns] : value.shape;
        const runs = runsOf(device, value, amsgrad ? 3 : 2);
        return { name, value, shape, rateScale, weightDecay, packed, runs };
      })
    );
    const count = this.#slots.length;
    this.#norm = new GradientNorm(device, this.#slots.map(({ shape }) => elements(shape)));
    this.#steps = zeros(device, count, "optimiser steps");
    this.#corrections = zeros(device, 2 * count, "optimiser corrections");
    this.#presentHost = new Uint32Array(count).fill(1);
    this.#present = device.allocate(4 * Math.max(1, count), "present gradients");
    if (count > 0) device.write(this.#present, this.#presentHost);
  }

  /** Names of the parameters, groups one after the other: the order of gradients. */
  get names(): string[] {
    return this.#slots.map(({ name }) => name);
  }

  /** The parameters themselves in that order: the leaves to differentiate by. */
  get leaves(): Differentiable[] {
    return this.#slots.map(({ value }) => value);
  }

  /** Device bytes of the moments. */
  get bytes(): number {
    return this.#slots.reduce(
      (sum, { runs }) =>
        runs.reduce((all, { moments }) => all + moments.reduce((n, { size }) => n + size, 0), sum),
      0,
    );
  }

  /**
   * Queues one step: two dispatches per parameter with a gradient and two more. Nothing is read back.
   *
   * @param gradients In the order of {@linkcode AdamW.names}; weights have row-major ones. They stay as they are.
   * @param rate Learning rate of this step, multiplied by the scale of each group.
   * @throws {RangeError} when number or sizes of the gradients do not fit, or the rate is not finite.
   */
  step(gradients: readonly (Tensor | undefined)[], rate: number): void {
    if (!Number.isFinite(rate)) throw new RangeError(`Cannot step with a rate of ${rate}`);
    const device = this.#device;
    const { betas, epsilon, amsgrad, maxNorm } = this.#options;
    this.#norm.measure(gradients, maxNorm);
    this.#advance(gradients);
    const moments = {
      beta1: betas[0],
      ...splitNew1(1 - betas[0]),
      beta2: betas[1],
      new2: 1 - betas[1],
      epsilon,
    };
    for (const [index, { packed, runs, rateScale, weightDecay }] of this.#slots.entries()) {
      const gradient = gradients[index];
      if (gradient === undefined) continue;
      const scaled = rate * rateScale;
      const settings = { ...moments, index, rate: scaled, keep: 1 - scaled * weightDecay };
      for (const run of runs) {
        const { start, count, columns, granules } = run;
        const [span] = boundSpans(device, start, count);
        const width = columns % 4 === 0 && span!.first % 4 === 0 ? 4 : 1;
        const variant: AdamWVariant = { packed, width, amsgrad };
        const [m, v, largest] = run.moments;
        const size = 4 * count;
        device.dispatch(
          adamwProgram(variant),
          {
            verdict: this.#norm.range,
            corrections: { buffer: this.#corrections },
            gradient: { buffer: gradient.buffer, ...span!.range },
            values: run.values,
            m: { buffer: m!, size },
            v: { buffer: v!, size },
            ...(amsgrad ? { largest: { buffer: largest!, size } } : {}),
          },
          {
            ...settings,
            count: count / width,
            first: span!.first / width,
            loads: columns / width,
            granules,
          },
          [Math.ceil(count / width / 64)],
          { flops: 14 * count, bytes: (amsgrad ? 36 : 28) * count },
        );
      }
    }
  }

  #advance(gradients: readonly (Tensor | undefined)[]): void {
    const device = this.#device, count = this.#slots.length;
    const present = Uint32Array.from(gradients, (gradient) => gradient === undefined ? 0 : 1);
    if (present.some((one, i) => one !== this.#presentHost[i])) {
      device.write(this.#present, present);
      this.#presentHost = present;
    }
    const [logBeta1, logBeta2] = this.#options.betas.map((beta) => Math.max(-100, Math.log(beta)));
    device.dispatch(
      adamwAdvanceProgram(),
      {
        verdict: this.#norm.range,
        present: { buffer: this.#present },
        steps: { buffer: this.#steps },
        corrections: { buffer: this.#corrections },
      },
      { count, logBeta1: logBeta1!, logBeta2: logBeta2! },
      [Math.ceil(count / 64)],
    );
  }

  /**
   * What became of the last step. Call it before the next one and await it whenever convenient, such as a step later: the
   * report is of the steps queued up to the call.
   */
  async report(): Promise<StepReport> {
    const { norm, factor, finite, offender } = await this.#norm.verdict();
    return {
      norm,
      factor,
      applied: finite,
      ...(offender === undefined ? {} : { offender: this.#slots[offender]!.name }),
    };
  }

  /**
   * The state for a checkpoint: for every parameter `NAME.step` (I64), `NAME.exp_avg`, `NAME.exp_avg_sq` and, with amsgrad,
   * `NAME.max_exp_avg_sq` (F32), PyTorch's names. The tensors are read from the device when they are written out: take no
   * step before that is done.
   */
  async state(): Promise<TensorEntry[]> {
    const count = this.#slots.length;
    if (count === 0) return [];
    const steps = new Uint32Array(await this.#device.read(this.#steps, 0, 4 * count));
    return this.#slots.flatMap(({ name, shape, runs }, i) => [
      memoryTensor(
        `${name}.step`,
        "I64",
        [],
        new Uint8Array(BigInt64Array.of(BigInt(steps[i]!)).buffer),
      ),
      ...this.#momentNames.map((moment, n) =>
        deviceEntry(this.#device, { name: `${name}.${moment}`, shape }, piecesOf(runs, n))
      ),
    ]);
  }

  get #momentNames(): string[] {
    return ["exp_avg", "exp_avg_sq", ...this.#options.amsgrad ? ["max_exp_avg_sq"] : []];
  }

  /**
   * Takes up a state that {@linkcode AdamW.state} gave; from then on every step is what it would have been.
   *
   * @throws {InputError} code `CHECKPOINT_MISMATCH` naming what is missing, unexpected or of another shape, and
   * `INVALID_STATE` when a step count is no whole number below 2^32.
   */
  async load(source: CheckpointSource): Promise<void> {
    const names = this.#momentNames;
    checkTensors(
      source,
      this.#slots.flatMap(({ name, shape }) => [
        { name: `${name}.step`, shape: [] },
        ...names.map((moment) => ({ name: `${name}.${moment}`, shape })),
      ]),
    );
    const steps = new Uint32Array(this.#slots.length);
    for (const [i, { name, runs }] of this.#slots.entries()) {
      const entry = source.get(`${name}.step`)!;
      const count = entry.dtype === "I64"
        ? Number(new BigInt64Array((await entry.read()).slice().buffer)[0])
        : NaN;
      if (!(count >= 0 && count < 2 ** 32)) {
        throw new InputError(
          "INVALID_STATE",
          `Cannot resume from "${source.name}": "${name}.step" is no step count`,
        );
      }
      steps[i] = count;
      for (const [n, moment] of names.entries()) {
        await writeFromEntry(this.#device, source.get(`${name}.${moment}`)!, piecesOf(runs, n));
      }
    }
    if (steps.length > 0) this.#device.write(this.#steps, steps);
  }

  /** Releases the moments; the parameters stay. */
  [Symbol.dispose](): void {
    for (const { runs } of this.#slots) {
      for (const { moments } of runs) {
        for (const moment of moments) this.#device.release(moment);
      }
    }
    for (const buffer of [this.#steps, this.#corrections, this.#present]) {
      this.#device.release(buffer);
    }
    this.#norm[Symbol.dispose]();
  }
}

/** Where the moment of this kind lies. */
function piecesOf(runs: readonly Run[], kind: number): DevicePiece[] {
  return runs.map(({ moments, count }) => ({ buffer: moments[kind]!, count }));
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

function checkParameters(groups: readonly ParameterGroup[]): void {
  const names = new Set<string>();
  for (const { name, value } of groups.flatMap(({ parameters }) => parameters)) {
    if (names.has(name)) throw new RangeError(`Cannot train "${name}" twice in one optimiser`);
    names.add(name);
    if (value.dtype !== "f32") {
      throw new InputError(
        "NOT_TRAINABLE",
        `Cannot train "${name}": it is kept as ${value.dtype}; load the model with --dtype f32, or train adapters`,
      );
    }
  }
}

function zeros(device: Device, count: number, label: string): DeviceBuffer {
  const buffer = device.allocate(4 * Math.max(1, count), label);
  device.dispatch(
    fillProgram(),
    { output: { buffer } },
    { count, offset: 0, bits: 0 },
    [Math.ceil(count / 64)],
    { bytes: 4 * count },
  );
  return buffer;
}

/** The dispatches of a parameter: one, or one per part of a weight. */
function runsOf(device: Device, value: Differentiable, kinds: number): Run[] {
  const moments = (count: number) =>
    Array.from({ length: kinds }, () => zeros(device, count, "optimiser moments"));
  if (!("parts" in value)) {
    const count = value.size;
    if (count === 0) return [];
    const whole = { values: value.range, start: 0, count, columns: count, granules: 0 };
    return [{ ...whole, moments: moments(count) }];
  }
  const { columns } = value;
  return value.parts.filter(({ rows }) => rows * columns > 0).map(({ buffer, firstRow, rows }) => {
    const { granules, bytes } = packedLayout(rows, columns, "f32");
    return {
      values: { buffer, size: bytes },
      start: firstRow * columns,
      count: rows * columns,
      columns,
      granules,
      moments: moments(rows * columns),
    };
  });
}
