/**
 * A stage as any trainer runs it: found, put on a device, fed with examples, measured, saved.
 *
 * @module
 */
import {
  type FolderWriter,
  InputError,
  type Mask,
  type Measured,
  type PreparedStage,
  type StageOptions,
  type StageRun,
  type StageStart,
  type TrainingExample,
} from "@medvlm/core";
import { saveShardedBin } from "@medvlm/core/checkpoint";
import { loadParameters, type Parameters, rowsInUse, trainedEntries } from "@medvlm/core/nn";
import type { Tensor } from "@medvlm/core/tensor";
import { type BatchLoss, type ParameterGroup, trainsWhole } from "@medvlm/core/train";
import type { MedplibConfig } from "./config.ts";
import { gridPositions } from "./grounding.ts";
import { imageRowCount } from "./icl.ts";
import { ignoredNames, medplibParameters, names } from "./params.ts";
import { ignoredLabel, trainingText } from "./prompt.ts";
import { type StageModel, stageModel } from "./stage_start.ts";
import { type MedplibStage, stageOf } from "./stages.ts";
import { forcedAnswers } from "./teacher_forcing.ts";
import { StageTraining } from "./training.ts";
import { type TrainingBatch, trainingBatch } from "./training_batch.ts";
import { recordOf } from "./training_example.ts";
import { learnsMasks, stageMemory } from "./training_memory.ts";
import { type TrainingSample, trainingSample, turnsOf } from "./training_sample.ts";

/** Twice what two masks have in common, over what both have; 1 where both are empty. */
function diceOf(a: Mask, b: Mask): number {
  let both = 0, sum = 0;
  for (let i = 0; i < a.data.length; i++) {
    both += a.data[i]! & b.data[i]!;
    sum += a.data[i]! + b.data[i]!;
  }
  return sum === 0 ? 1 : 2 * both / sum;
}

class MedplibStageRun implements StageRun<TrainingSample, TrainingBatch> {
  readonly parameters: readonly ParameterGroup[];
  readonly saveAdapter?: (target: FolderWriter) => Promise<void>;
  readonly #model: StageModel;
  readonly #stage: MedplibStage;
  readonly #maxTokens: number;
  readonly #weights: Parameters;
  readonly #positions: Tensor;
  readonly #training: StageTraining;

  constructor(
    model: StageModel,
    stage: MedplibStage,
    weights: Parameters,
    positions: Tensor,
    { seed, recompute = false, maxTokens = Infinity }: StageOptions,
  ) {
    this.#model = model;
    this.#stage = stage;
    this.#maxTokens = Math.min(maxTokens, stage.maxTokens);
    this.#weights = weights;
    this.#positions = positions;
    this.#training = new StageTraining(weights, model.config, stage, positions, {
      seed,
      recompute,
    });
    const { trained, adapters } = this.#training.trained;
    this.parameters = [{ parameters: trained, weightDecay: stage.weightDecay }];
    if (adapters !== undefined) {
      const [name] = adapters.names;
      this.saveAdapter = async (target) => {
        await adapters.get(name!).save(target);
      };
    }
  }

  get weightBytes(): number {
    return this.#weights.bytes;
  }

  sample(example: TrainingExample): TrainingSample {
    const { tokenizer, config } = this.#model;
    const { masks = [], ...record } = recordOf(example);
    // A stage without mask losses need not encode pictures for them.
    const taught = learnsMasks(this.#stage) ? { ...record, masks } : record;
    const sample = trainingSample(taught, tokenizer, config, {
      maxTokens: this.#maxTokens,
    });
    if (sample.labels.every((label) => label === ignoredLabel)) {
      throw new InputError(
        "BAD_RECORD",
        `Cannot learn from the example "${example.id}": no token of its answer counts, since ${
          sample.cells?.length === 0
            ? "its region covers no cell of the vision tower's grid"
            : "the conversation is longer than the limit or holds special tokens"
        }`,
      );
    }
    return sample;
  }

  batch(samples: readonly TrainingSample[]): TrainingBatch {
    const { tokenizer, config } = this.#model;
    return trainingBatch(samples, config, {
      seg: tokenizer.tokenToId("<SEG>"),
      pad: tokenizer.padId ?? 0,
    });
  }

  tokens(batch: TrainingBatch): number {
    return rowsInUse(batch);
  }

  loss(batch: TrainingBatch, step: number, part: number): BatchLoss {
    return this.#training.loss(batch, step, part);
  }

  async measure(batch: TrainingBatch): Promise<Record<string, Measured>> {
    this.#training.trained.adapters?.dropNothing();
    const { right, masks, loss } = await forcedAnswers(
      this.#weights,
      batch,
      this.#model.config,
      this.#positions,
    );
    const dice = masks.map((mask, n) => diceOf(mask, batch.masks[n]!.mask));
    return {
      "answer_loss": { sum: loss * batch.targets.length, count: batch.targets.length },
      "answers_right": { sum: right.filter((one) => one).length, count: right.length },
      ...(dice.length === 0 ? {} : {
        "mask_dice": { sum: dice.reduce((sum, one) => sum + one, 0), count: dice.length },
      }),
    };
  }

  async save(target: FolderWriter): Promise<void> {
    const { tensors, companions } = this.#model;
    const { adapters } = this.#training.trained;
    const [name] = adapters?.names ?? [];
    await saveShardedBin(
      target,
      trainedEntries(this.#weights, {
        source: tensors,
        changed: (parameter) => trainsWhole(this.#stage, parameter),
        adapter: name === undefined ? undefined : adapters!.get(name),
      }),
    );
    for (const [file, bytes] of companions) await target.write(file, [bytes]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#training[Symbol.dispose]();
    this.#weights.dispose();
    this.#positions.dispose();
    return Promise.resolve();
  }
}

async function openStage(
  model: StageModel,
  stage: MedplibStage,
  options: StageOptions,
): Promise<MedplibStageRun> {
  const { device, dtype = "f32", progress, signal } = options;
  const weights = await loadParameters(device, medplibParameters(model.config), model.tensors, {
    dtype,
    float: (name) => trainsWhole(stage, name),
    ignore: ignoredNames,
    ...(progress ? { progress } : {}),
    ...(signal ? { signal } : {}),
  });
  let positions: Tensor | undefined;
  try {
    positions = await gridPositions(weights.at(names.sam), model.config);
    return new MedplibStageRun(model, stage, weights, positions, options);
  } catch (error) {
    positions?.dispose();
    weights.dispose();
    throw error;
  }
}

/** Finds the model of a stage; see `Plugin.prepareStage`. */
export async function prepareStage(
  start: StageStart<MedplibConfig>,
  name: string,
  seed: number,
): Promise<PreparedStage> {
  const stage = stageOf(name);
  const model = await stageModel(start, stage, seed);
  const { config, tensors, tokenizer } = model;
  const imageRows = imageRowCount(config);
  return {
    stage,
    tensors,
    rows: (example) => {
      const { inputIds } = trainingText(tokenizer, turnsOf(example));
      return Math.min(inputIds.length, stage.maxTokens) - 1 + imageRows;
    },
    memory: (load) => stageMemory(config, stage, load),
    open: (options) => openStage(model, stage, options),
  };
}
