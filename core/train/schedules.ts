/**
 * Learning-rate schedules as the official codes run them, quirks included. A schedule is plain data; its rate is a pure
 * function of the optimiser step.
 *
 * @module
 */

/** The same rate throughout. */
export interface ConstantSchedule {
  /** Which schedule. */
  readonly kind: "constant";
  /** The rate. */
  readonly rate: number;
}

/**
 * Warm-up and decay in epochs (`common/optims.py` of LAVIS, MiniGPT-4, LiteGPT and PeFoMed).
 *
 * While the step counted from the beginning of training is below `warmupSteps`, the rate rises linearly from
 * `warmupRate` by the step INSIDE the epoch: a warm-up longer than an epoch starts again with each. The decay takes no
 * notice of the warm-up, so there may be a jump behind it.
 */
export interface EpochSchedule {
  /** Which schedule. */
  readonly kind: "epochs";
  /**
   * `cosine` falls with every step (MiniGPT-4, LiteGPT), `cosinePerEpoch` with every epoch (PeFoMed, which also takes 0
   * warm-up steps for a whole epoch), `powerPerEpoch` multiplies by `decay` with every epoch, down to `minRate`, and warms up
   * in the first epoch only.
   */
  readonly decline: "cosine" | "cosinePerEpoch" | "powerPerEpoch";
  /** Epochs that are planned. */
  readonly epochs: number;
  /** Optimiser steps of an epoch. */
  readonly stepsPerEpoch: number;
  /** Rate at the end of the warm-up. */
  readonly rate: number;
  /** Rate at the end of the decay. */
  readonly minRate: number;
  /** Steps of the warm-up, 0 for none. */
  readonly warmupSteps: number;
  /** Rate of the first step of the warm-up. Default, and when negative: `rate`. */
  readonly warmupRate?: number;
  /** Factor per epoch of `powerPerEpoch`. Default 1. */
  readonly decay?: number;
}

/** Linear warm-up from 0, then half a cosine or a line to 0 at `steps` (`optimization.py` of transformers). */
export interface WarmupSchedule {
  /** Which schedule. */
  readonly kind: "warmup";
  /** Shape of the way down. */
  readonly decline: "cosine" | "linear";
  /** Rate at the end of the warm-up. */
  readonly rate: number;
  /** Steps of the warm-up, 0 for none. */
  readonly warmupSteps: number;
  /** Steps in all, the warm-up included. */
  readonly steps: number;
}

/**
 * Warm-up, then a line to 0 at `steps` (`WarmupDecayLR` of DeepSpeed). The scheduler runs behind the optimiser, so that
 * step k > 0 has the rate of k - 1; a warm-up has two steps at least.
 */
export interface WarmupDecaySchedule {
  /** Which schedule. */
  readonly kind: "warmupDecay";
  /** Shape of the way up. */
  readonly warmup: "linear" | "logarithmic";
  /** Rate at the end of the warm-up. */
  readonly rate: number;
  /** Where the warm-up begins. Default 0. */
  readonly minRate?: number;
  /** Steps of the warm-up; less than 2 count as 2. */
  readonly warmupSteps: number;
  /** Steps in all, the warm-up included. */
  readonly steps: number;
  /** Rate of the very first step: `rate` up to DeepSpeed 0.13, which sets none before it, later `minRate`. Default `rate`. */
  readonly first?: "rate" | "minRate";
}

/**
 * Linear warm-up and half a cosine behind it (`CosineLRScheduler` of timm with `warmup_prefix`), brought up to date every
 * `every` steps and then for the step after the next, as VividMed's training loop does: with a warm-up, the first `every`
 * steps run at `warmupRate`. The cosine takes `steps` steps from the end of the warm-up on.
 */
export interface PeriodicCosineSchedule {
  /** Which schedule. */
  readonly kind: "periodicCosine";
  /** Rate at the end of the warm-up. */
  readonly rate: number;
  /** Where the cosine ends. Default 0. */
  readonly minRate?: number;
  /** Steps of the warm-up, 0 for none. */
  readonly warmupSteps: number;
  /** Where the warm-up begins. Default 0. */
  readonly warmupRate?: number;
  /** Steps of the cosine, the warm-up not included. */
  readonly steps: number;
  /** Steps between updates; 0 follows every step itself, without delay. */
  readonly every: number;
}

/** Any of the schedules. */
export type Schedule =
  | ConstantSchedule
  | EpochSchedule
  | WarmupSchedule
  | WarmupDecaySchedule
  | PeriodicCosineSchedule;

/**
 * Learning rate of an optimiser step.
 *
 * @param step From 0 on; beyond the planned end the official formulas simply go on.
 */
export function learningRate(schedule: Schedule, step: number): number {
  switch (schedule.kind) {
    case "constant":
      return schedule.rate;
    case "epochs":
      return epochRate(schedule, step);
    case "warmup":
      return warmupRate(schedule, step);
    case "warmupDecay":
      return warmupDecayRate(schedule, step);
    case "periodicCosine":
      return periodicCosineRate(schedule, step);
  }
}

/** Half a cosine from `from` to `to` as `progress` goes from 0 to 1. */
function halfCosine(from: number, to: number, progress: number): number {
  return (from - to) * 0.5 * (1 + Math.cos(Math.PI * progress)) + to;
}

function epochRate(schedule: EpochSchedule, step: number): number {
  const { decline, epochs, stepsPerEpoch, rate, minRate } = schedule;
  const start = schedule.warmupRate ?? -1;
  const epoch = Math.floor(step / stepsPerEpoch), inside = step % stepsPerEpoch;
  const warmup = decline === "cosinePerEpoch" && schedule.warmupSteps === 0
    ? stepsPerEpoch
    : schedule.warmupSteps;
  const warms = decline === "powerPerEpoch" ? epoch === 0 : step < warmup;
  if (warms) {
    const from = start < 0 ? rate : start;
    return Math.min(rate, from + (rate - from) * inside / Math.max(warmup, 1));
  }
  switch (decline) {
    case "cosine":
      return halfCosine(rate, minRate, step / (epochs * stepsPerEpoch));
    case "cosinePerEpoch":
      return halfCosine(rate, minRate, epoch / epochs);
    case "powerPerEpoch":
      return Math.max(minRate, rate * (schedule.decay ?? 1) ** epoch);
  }
}

function warmupRate({ decline, rate, warmupSteps, steps }: WarmupSchedule, step: number): number {
  if (step < warmupSteps) return rate * step / Math.max(1, warmupSteps);
  const length = Math.max(1, steps - warmupSteps);
  return decline === "cosine"
    ? Math.max(0, halfCosine(rate, 0, (step - warmupSteps) / length))
    : rate * Math.max(0, (steps - step) / length);
}

function warmupDecayRate(schedule: WarmupDecaySchedule, step: number): number {
  const { warmup, rate, minRate = 0, steps, first = "rate" } = schedule;
  if (step === 0) return first === "rate" ? rate : minRate;
  const k = step - 1, warmupSteps = Math.max(2, schedule.warmupSteps);
  const share = k >= warmupSteps
    ? Math.max(0, (steps - k) / Math.max(1, steps - warmupSteps))
    : warmup === "linear"
    ? k / warmupSteps
    : Math.log(k + 1) / Math.log(warmupSteps);
  return minRate + (rate - minRate) * share;
}

function periodicCosineRate(schedule: PeriodicCosineSchedule, step: number): number {
  const { rate, minRate = 0, warmupSteps, warmupRate = 0, steps, every } = schedule;
  let t = step;
  if (every > 0) {
    const updated = step - step % every;
    if (updated === 0) return warmupSteps > 0 ? warmupRate : rate;
    t = updated + 1;
  }
  if (t < warmupSteps) return warmupRate + (rate - warmupRate) * t / warmupSteps;
  const behind = t - warmupSteps;
  return behind < steps ? halfCosine(rate, minRate, behind / steps) : minRate;
}
