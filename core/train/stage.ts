/**
 * Training stages as data: what a paper trains in which order, with which losses, rates and data. A stage reads like a row
 * of the paper's table; `stage_selection.ts` turns it into parameters.
 *
 * @module
 */

import type { Schedule } from "./schedules.ts";

/** Low-rank adapters that a stage adds to frozen matrices. */
export interface StageAdapters {
  /** Rank r. */
  readonly rank: number;
  /** The update counts alpha / rank times, or alpha / sqrt(rank) when rank-stabilised. */
  readonly alpha: number;
  /** Fraction of the adapter's input that is dropped in training. */
  readonly dropout: number;
  /** Rank-stabilised scaling. Default false. */
  readonly rankStabilised?: boolean;
  /** A matrix has an adapter when the name of its module contains one of these. */
  readonly targets: readonly string[];
  /** …and none of these. Default none. */
  readonly except?: readonly string[];
}

/** How the rate runs over a stage whose number of steps follows from data and epochs. */
export interface StageSchedule {
  /**
   * `constant`, `warmupDecay` (DeepSpeed), `cosine` (transformers: linear warm-up, then half a cosine), `epochCosine` and
   * `epochStaircase` (LAVIS: {@linkcode EpochSchedule} that falls with every step, or with every epoch as PeFoMed's).
   */
  readonly kind: "constant" | "warmupDecay" | "cosine" | "epochCosine" | "epochStaircase";
  /** Learning rate at its highest. */
  readonly rate: number;
  /** Share of all steps that the warm-up takes. Default 0. */
  readonly warmupShare?: number;
  /** Steps of the warm-up, for the kinds of LAVIS; at most all of them. Default: from `warmupShare`. */
  readonly warmupSteps?: number;
  /** Rate of the first step of the warm-up, for the kinds of LAVIS. Default: `rate`. */
  readonly warmupRate?: number;
  /** Rate at the end, for the kinds of LAVIS. Default 0. */
  readonly minRate?: number;
}

/**
 * The schedule of a stage that takes so many optimiser steps.
 *
 * @param steps All steps of the stage.
 * @param epochs Passes that the steps are divided into, for `epochStaircase`. Default 1.
 */
export function stageSchedule(
  { kind, rate, warmupShare = 0, minRate = 0, ...rest }: StageSchedule,
  steps: number,
  epochs = 1,
): Schedule {
  const warmupSteps = Math.min(rest.warmupSteps ?? Math.floor(warmupShare * steps), steps);
  switch (kind) {
    case "epochCosine":
    case "epochStaircase":
      // A warm-up counts inside its epoch; one pass over all steps keeps it whole where only steps matter.
      return {
        kind: "epochs",
        decline: kind === "epochCosine" ? "cosine" : "cosinePerEpoch",
        epochs: kind === "epochCosine" ? 1 : epochs,
        stepsPerEpoch: kind === "epochCosine" ? steps : Math.max(1, Math.ceil(steps / epochs)),
        rate,
        minRate,
        warmupSteps,
        ...(rest.warmupRate === undefined ? {} : { warmupRate: rest.warmupRate }),
      };
    case "constant":
      return { kind, rate };
    case "warmupDecay":
      return { kind, warmup: "linear", rate, warmupSteps, steps };
    case "cosine":
      return { kind: "warmup", decline: "cosine", rate, warmupSteps, steps };
  }
}

/** One stage of a paper's training. */
export interface Stage {
  /** As typed with `--stage`, such as `alignment`. */
  readonly name: string;
  /** What it is for, one sentence without full stop. */
  readonly purpose: string;
  /** Where its settings come from: section of the paper, script. */
  readonly source: string;
  /** Name of the stage it starts from, `base` for the models the paper takes pretrained. */
  readonly after: string;
  /** Parameters that are trained whole: those whose official name contains one of these. */
  readonly trains: readonly string[];
  /** Adapters on the others. Default none. */
  readonly adapters?: StageAdapters;
  /** Factors of the parts of the loss, by the plugin's names for them. */
  readonly losses: Readonly<Record<string, number>>;
  /** Learning rate. */
  readonly schedule: StageSchedule;
  /** Decay rates of AdamW's moments. */
  readonly betas: readonly [number, number];
  /** Decoupled weight decay. */
  readonly weightDecay: number;
  /** Global norm that gradients are clipped to. Default: not clipped. */
  readonly maxNorm?: number;
  /** Samples of an optimiser step, over all devices and accumulated batches. */
  readonly batch: number;
  /** Passes over the data. */
  readonly epochs: number;
  /** Longest conversation in tokens. */
  readonly maxTokens: number;
  /** What it is trained on: dataset and what of it. */
  readonly data: readonly string[];
  /** Tasks of the examples that it learns from, as the system is asked for them. Default: all that the system has. */
  readonly tasks?: readonly string[];
}
