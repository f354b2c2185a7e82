/**
 * A stage of a system of the family as any trainer runs it: found, put on a device, fed with examples, measured, saved. What the
 * system makes of an example is the only thing that differs.
 *
 * @module
 */
import type { FolderWriter } from "../checkpoint/mod.ts";
import { InputError } from "../errors.ts";
import type { Raster } from "../image/mod.ts";
import type { AdapterSet } from "../nn/adapters.ts";
import { loadParameters, type Parameters } from "../nn/parameters.ts";
import { rowsInUse } from "../nn/shared_layout.ts";
import { trainedEntries } from "../nn/trained_entries.ts";
import type {
  Measured,
  PreparedStage,
  StageLoad,
  StageOptions,
  StageRun,
  StageStart,
  TrainingExample,
} from "../plugin.ts";
import {
  type BatchLoss,
  decayGroups,
  decaysUnlessNamed,
  llamaActivationBytes,
  type ParameterGroup,
  type Stage,
  StageParameters,
  stageWeightBytes,
  type TrainingMemory,
  trainsWhole,
} from "../train/mod.ts";
import { saveMinigpt } from "./checkpoint.ts";
import { imageRowCount, type MinigptConfig } from "./config.ts";
import { attachAdapters, ignoredNames, minigptParameters } from "./params.ts";
import { minigptPixels } from "./preprocess.ts";
import { endOfAnswer, promptSegments } from "./prompt.ts";
import { measureAnswers } from "./answer_measure.ts";
import { sharedMinigptBatch, sharesPictures } from "./shared_batch.ts";
import { type MinigptStart, minigptStart } from "./stage_start.ts";
import {
  type MinigptBatch,
  minigptBatch,
  type MinigptSample,
  minigptSample,
} from "./training_batch.ts";
import { minigptLoss } from "./training_loss.ts";

/** What is known of an example: of its texts always, of the rest where it is to be learned. */
export type LessonExample =
  & Pick<TrainingExample, "prompt" | "answer" | "history">
  & Partial<TrainingExample>;

/** What a model of the family learns from an example. */
export interface Lesson {
  /** With the place of the picture, as `trainingPrompt` makes it. */
  readonly prompt: string;
  /** Without end token. */
  readonly answer: string;
  /** Where the picture goes in the prompt. Default: as in MiniGPT-v2's spelling. */
  readonly placeholder?: string;
  /** The picture, where it is not the example's own, such as a part of it. */
  readonly image?: Raster;
}

/** How a system teaches: an example becomes a lesson. */
export type Teach = (example: LessonExample) => Lesson;

/** Values at the widest place of a block of the vision tower, per token and channel. */
const blockValues = 16;

/** Bytes that a stage takes on a device. */
function stageMemory(
  config: MinigptConfig,
  stage: Stage,
  { dtype, batch, rows, recompute }: StageLoad,
): TrainingMemory {
  const { llama, vision, patchesPerRow } = config;
  const pictures = imageRowCount(config);
  const decoder = llamaActivationBytes(llama, {
    rows: batch * rows,
    targets: batch * Math.max(1, rows - pictures),
    recompute,
  });
  const tokens = 1 + pictures * patchesPerRow;
  // The tower comes before the decoder, keeps nothing, and uses memory that the decoder leaves.
  const tower = 4 * batch * (3 * vision.imageSize ** 2 + blockValues * tokens * vision.hiddenSize);
  return {
    ...stageWeightBytes(minigptParameters(config), stage, dtype),
    activations: decoder.activations +
      4 * batch * pictures * (llama.hiddenSize + patchesPerRow * vision.hiddenSize),
    working: Math.max(decoder.working, tower),
  };
}

class MinigptStageRun implements StageRun<MinigptSample, MinigptBatch> {
  readonly parameters: readonly ParameterGroup[];
  readonly #start: MinigptStart;
  readonly #stage: Stage;
  readonly #teach: Teach;
  readonly #options: StageOptions;
  readonly #weights: Parameters;
  readonly #adapters: AdapterSet;
  /** The last picture and its pixels: examples about a picture tend to come together, and then share it. */
  #seen: { readonly image: Raster; readonly pixels: Float32Array } | undefined;

  constructor(
    start: MinigptStart,
    stage: Stage,
    teach: Teach,
    weights: Parameters,
    options: StageOptions,
  ) {
    this.#start = start;
    this.#stage = stage;
    this.#teach = teach;
    this.#options = options;
    this.#weights = weights;
    // The adapters belong to the checkpoint: they go on from where they are, and are trained as whole parameters.
    const { trained } = new StageParameters(weights, stage, options.seed);
    this.#adapters = attachAdapters(weights, start.config, { seed: options.seed });
    this.parameters = decayGroups(trained, decaysUnlessNamed, stage.weightDecay);
  }

  get weightBytes(): number {
    return this.#weights.bytes;
  }

  sample(example: TrainingExample): MinigptSample {
    const { tokenizer, config } = this.#start;
    const { prompt, answer, placeholder, image = example.image } = this.#teach(example);
    if (answer.trim() === "") {
      throw new InputError(
        "BAD_RECORD",
        `Cannot learn from the example "${example.id}": its answer is empty`,
      );
    }
    if (this.#seen?.image !== image) {
      this.#seen = { image, pixels: minigptPixels(image, config.vision.imageSize).data };
    }
    return minigptSample(tokenizer, prompt, answer, this.#seen.pixels, {
      maxAnswerTokens: Math.min(this.#options.maxTokens ?? Infinity, this.#stage.maxTokens),
      ...(placeholder === undefined ? {} : { placeholder }),
    });
  }

  batch(samples: readonly MinigptSample[]): MinigptBatch {
    const { tokenizer, config } = this.#start;
    const make = sharesPictures(samples) ? sharedMinigptBatch : minigptBatch;
    return make(samples, tokenizer, config);
  }

  tokens(batch: MinigptBatch): number {
    return rowsInUse(batch);
  }

  loss(batch: MinigptBatch, step: number, part: number): BatchLoss {
    this.#adapters.dropFor(step, part);
    const { recompute = false } = this.#options;
    return minigptLoss(this.#weights, batch, this.#start.config, { recompute });
  }

  measure(batch: MinigptBatch): Promise<Record<string, Measured>> {
    this.#adapters.dropNothing();
    return measureAnswers(this.#weights, batch, this.#start.config);
  }

  async save(target: FolderWriter): Promise<void> {
    const { tensors, files } = this.#start;
    const changed = (name: string) => trainsWhole(this.#stage, name);
    await saveMinigpt(target, trainedEntries(this.#weights, { source: tensors, changed }), files);
  }

  async saveAdapter(target: FolderWriter): Promise<void> {
    await this.#adapters.get(this.#adapters.names[0]!).save(target);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#weights.dispose();
    return Promise.resolve();
  }
}

async function openStage(
  start: MinigptStart,
  stage: Stage,
  teach: Teach,
  options: StageOptions,
): Promise<MinigptStageRun> {
  const { device, dtype = "f32", progress, signal } = options;
  const weights = await loadParameters(device, minigptParameters(start.config), start.tensors, {
    dtype,
    float: (name) => trainsWhole(stage, name),
    ignore: ignoredNames,
    ...(progress ? { progress } : {}),
    ...(signal ? { signal } : {}),
  });
  try {
    return new MinigptStageRun(start, stage, teach, weights, options);
  } catch (error) {
    weights.dispose();
    throw error;
  }
}

/**
 * Finds the model of a stage; `Plugin.prepareStage` of the family's systems.
 *
 * @param stage Trains `llama_proj` and `lora_`, as every published stage does, or other parameters by parts of their names; without
 * adapters of its own, since the model has some.
 * @param teach What the system makes of an example.
 * @param seed Of random weights.
 * @throws {InputError} as `minigptStart` does.
 */
export async function prepareMinigptStage(
  from: StageStart<MinigptConfig>,
  stage: Stage,
  teach: Teach,
  seed: number,
): Promise<PreparedStage> {
  const start = await minigptStart(from, seed);
  const { config, tensors, tokenizer } = start;
  return {
    stage,
    tensors,
    rows: (example) => {
      const { prompt, answer, placeholder } = teach(example);
      const segments = promptSegments(
        tokenizer,
        prompt,
        placeholder === undefined ? {} : { placeholder },
      );
      const answered = tokenizer.encode(answer + endOfAnswer, { addSpecialTokens: false }).length;
      return 1 + segments[0].length + imageRowCount(config) + segments[1].length +
        Math.min(answered, stage.maxTokens);
    },
    memory: (load) => stageMemory(config, stage, load),
    open: (options) => openStage(start, stage, teach, options),
  };
}
