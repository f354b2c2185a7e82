/**
 * A stage of MedPLIB's training on a device: what is trained, the loss of a batch, and what comes out of it.
 *
 * @module
 */
import { type Parameters, rowsInUse } from "@medvlm/core/nn";
import { type BatchLoss, StageParameters, type TrainingTask } from "@medvlm/core/train";
import type { Tensor } from "@medvlm/core/tensor";
import type { MedplibConfig } from "./config.ts";
import { seededDraws } from "./language.ts";
import type { MedplibStage } from "./stages.ts";
import type { TrainingBatch } from "./training_batch.ts";
import { type LossOptions, medplibLoss } from "./training_loss.ts";

/** How a stage is run. */
export interface StageOptions {
  /** Of adapters, dropout and token selection. */
  readonly seed: number;
  /** Recompute decoder layers on the way back instead of keeping what is inside. Default false. */
  readonly recompute?: boolean;
  /** Replaces the seeded draws of random token selection, by step. */
  readonly draws?: (step: number, part: number) => LossOptions["routing"]["draws"];
  /** Gets intermediate values of a step's first batch. */
  readonly trace?: (step: number) => LossOptions["trace"];
}

/** Streams of the draws of a step. */
function stepSeed(seed: number, step: number, part: number): number {
  return (seed * 1_000_003 + step * 64 + part) % Number.MAX_SAFE_INTEGER;
}

/** A stage being trained. */
export class StageTraining implements Disposable {
  readonly #parameters: Parameters;
  readonly #config: MedplibConfig;
  readonly #stage: MedplibStage;
  readonly #positions: Tensor;
  readonly #options: StageOptions;
  readonly #trained: StageParameters;

  /**
   * Attaches the stage's adapters to the parameters.
   *
   * @param positions Positional encoding of SAM's grid (see `gridPositions`).
   * @throws {InputError} as {@linkcode StageParameters} does.
   */
  constructor(
    parameters: Parameters,
    config: MedplibConfig,
    stage: MedplibStage,
    positions: Tensor,
    options: StageOptions,
  ) {
    this.#parameters = parameters;
    this.#config = config;
    this.#stage = stage;
    this.#positions = positions;
    this.#options = options;
    this.#trained = new StageParameters(parameters, stage, options.seed);
  }

  /** What the stage trains, and its adapters. */
  get trained(): StageParameters {
    return this.#trained;
  }

  /** The stage as a task for a trainer. */
  task(batches: (step: number) => Promise<readonly TrainingBatch[]>): TrainingTask<TrainingBatch> {
    return {
      parameters: [{ parameters: this.#trained.trained, weightDecay: this.#stage.weightDecay }],
      batches,
      loss: (batch, step, part) => this.loss(batch, step, part),
      tokens: rowsInUse,
    };
  }

  /** Queues the loss of a batch; draws depend on seed, step and part. */
  loss(batch: TrainingBatch, step: number, part: number): BatchLoss {
    const { seed, recompute = false, draws, trace } = this.#options;
    const { device } = this.#parameters;
    this.#trained.adapters?.dropFor(step, part);
    const traced = part === 0 ? trace?.(step) : undefined;
    return medplibLoss(this.#parameters, batch, this.#config, this.#positions, {
      weights: this.#stage.losses,
      routing: {
        capacityFactor: this.#config.moe.capacityFactor,
        draws: draws?.(step, part) ?? seededDraws(device, stepSeed(seed, step, part)),
      },
      recompute,
      ...(traced === undefined ? {} : { trace: traced }),
    });
  }

  /** Merges the adapters into the weights: the stage is over. */
  finish(): void {
    this.#trained.finish();
  }

  /** Releases the adapters; the parameters stay. */
  [Symbol.dispose](): void {
    this.#trained[Symbol.dispose]();
  }
}
