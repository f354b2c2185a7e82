/**
 * The base of the family as a task for a trainer: the answers' next tokens, and where to look for them. Projection and language
 * model learn. At first the tower stays as it is: trained along it forgets what it knows before the language model has learned to
 * ask. Later it may learn with them (`naming.ts`). The adapters stay new, they belong to the stages.
 *
 * @module
 */
import type { Measured } from "@medvlm/core";
import {
  answerLoss,
  batchPictures,
  decodeBatch,
  embedBatch,
  measureAnswers,
  type MinigptBatch,
  type MinigptConfig,
  minigptPixels,
  minigptSample,
  names,
  sharedMinigptBatch,
} from "@medvlm/core/minigpt";
import { type Parameters, rowsInUse } from "@medvlm/core/nn";
import { type Tensor, tensor, weightedSum } from "@medvlm/core/tensor";
import type { LlamaTokenizer } from "@medvlm/core/text";
import { decayGroups, decaysUnlessNamed, type TrainingTask } from "@medvlm/core/train";
import type { Random } from "../phantoms/random.ts";
import { lookingLoss, lookingOf } from "./looking.ts";
import { type Lesson, teachBase } from "./minigpt_lessons.ts";
import { namingLoss, namingTargets, type SizedPicture } from "./naming.ts";
import { wordTokens } from "./patch_words.ts";
import {
  answerRows,
  type Pointing,
  pointingLoss,
  pointingOf,
  type PointingSample,
  type PointingState,
  pointingStates,
} from "./pointing.ts";
import { stepRandom } from "./pool.ts";
import { sizeStates, wordsOfSize } from "./size_words.ts";

/** Lessons on the host. */
export interface BaseBatch {
  /** As the stages have it. */
  readonly batch: MinigptBatch;
  /** What its states should point at; absent where no lesson is about anything in particular. */
  readonly pointing?: Pointing;
  /** Its states that know where to look. */
  readonly states: readonly PointingState[];
  /** Its pictures in their order, and what is in them. */
  readonly pictures: readonly SizedPicture[];
}

/** How a base is trained. */
export interface BaseOptions {
  /** Draws the lessons of a batch. */
  readonly draw: (random: Random) => readonly Lesson[];
  /** Of the draws. */
  readonly seed: number;
  /** Weight of the pointing beside the answers' tokens. */
  readonly pointing: number;
  /** Weight of attention's looking; 0: it may look anywhere. */
  readonly looking: number;
  /** Weight of the rows' naming of sizes, with which the tower learns; 0: it stays as it is. */
  readonly naming: number;
  /** Decay of matrices. Default 0.05. */
  readonly weightDecay?: number;
}

/** Marks the draws of lessons. */
const LESSON_DRAWS = 0x62617365;

/** A model whose base is trained. */
export class BaseTraining implements Disposable {
  readonly #parameters: Parameters;
  readonly #config: MinigptConfig;
  readonly #tokenizer: LlamaTokenizer;
  /** From states to the rows that they point at. They begin as what they point at. */
  readonly #pointer: Tensor;
  /** Tokens of the words that rows are matched with. */
  readonly #words: readonly number[];

  /** @param parameters Stay the caller's. */
  constructor(parameters: Parameters, config: MinigptConfig, tokenizer: LlamaTokenizer) {
    const { hiddenSize: width } = config.llama;
    this.#parameters = parameters;
    this.#config = config;
    this.#tokenizer = tokenizer;
    this.#words = wordTokens(tokenizer, wordsOfSize);
    // A state, which is normed, and a row that is much like it give a logit of a few units.
    const diagonal = new Float32Array(width ** 2);
    for (let i = 0; i < width; i++) diagonal[i * width + i] = 1.5 / Math.sqrt(width);
    this.#pointer = tensor(parameters.device, diagonal, [width, width]);
  }

  /** Lessons as a batch. */
  batch(lessons: readonly Lesson[]): BaseBatch {
    const config = this.#config, tokenizer = this.#tokenizer;
    const images = [...new Set(lessons.map(({ image }) => image!))];
    const samples = images.flatMap((image, picture) => {
      const { data } = minigptPixels(image, config.vision.imageSize);
      return lessons.filter((one) => one.image === image).map((lesson): PointingSample => {
        const { prompt, answer } = teachBase(lesson);
        const sample = minigptSample(tokenizer, prompt, answer, data);
        const { shows, sizes, task } = lesson;
        return {
          ...{ sample, image, picture, shows, boxed: task === "ground-box" },
          ...sizes === undefined ? {} : { sizes },
        };
      });
    });
    // What comes before a picture is shared, too, and the batch has such samples together.
    const ordered = [
      ...Map.groupBy(samples, ({ picture, sample }) => [picture, ...sample.prompt[0]].join())
        .values(),
    ].flat();
    const batch = sharedMinigptBatch(ordered.map(({ sample }) => sample), tokenizer, config);
    const answers = answerRows(ordered, batch);
    const pointers = pointingStates(ordered, answers, tokenizer, config);
    const pointing = pointingOf(pointers, config);
    const states = [...pointers, ...sizeStates(ordered, answers, tokenizer, config)];
    const pictures = images.map((image) => ({
      image,
      sized: lessons.find((one) => one.image === image)!.sized ?? [],
    }));
    return { batch, states, pictures, ...pointing === undefined ? {} : { pointing } };
  }

  /** The task for a trainer. */
  task({ draw, seed, weightDecay = 0.05, ...weights }: BaseOptions): TrainingTask<BaseBatch> {
    const p = this.#parameters, config = this.#config;
    // What is fetched in a layer is read in those above.
    const layer = Math.max(0, config.llama.layers - 2);
    const learns = (name: string) =>
      /^(llama_proj|model|lm_head)\./.test(name) ||
      weights.naming > 0 && name.startsWith(names.vision);
    const trained = p.specs
      .filter(({ name, derived }) => derived !== true && learns(name))
      .map(({ name }) => ({ name, value: p.value(name) }));
    return {
      parameters: [
        ...decayGroups(trained, decaysUnlessNamed, weightDecay),
        { parameters: [{ name: "pointer", value: this.#pointer }] },
      ],
      batches: (step) => Promise.resolve([this.batch(draw(stepRandom(seed, step, LESSON_DRAWS)))]),
      loss: ({ batch, states, pointing, pictures: shown }) => {
        const pictures = batchPictures(p, batch, config);
        const looking = weights.looking > 0 ? lookingOf(states, batch, config) : undefined;
        let before: Tensor | undefined;
        const tap = { states: { before: layer, use: (x: Tensor) => before = x } };
        const embedded = embedBatch(p, batch, pictures);
        const hidden = decodeBatch(p, embedded, batch, config, looking === undefined ? {} : tap);
        const answers = answerLoss(p, hidden, batch);
        const terms: Record<string, Tensor> = { answers };
        const parts = [{ value: answers, weight: 1 }];
        const add = (name: string, value: Tensor, weight: number) => {
          terms[name] = value;
          parts.push({ value, weight });
        };
        if (pointing !== undefined) {
          add("pointed", pointingLoss(pointing, hidden, pictures, this.#pointer), weights.pointing);
        }
        if (looking !== undefined) {
          add("looked", lookingLoss(p, looking, batch, before!, config, layer), weights.looking);
        }
        if (weights.naming > 0) {
          const targets = namingTargets(shown, config);
          add("named", namingLoss(p, pictures, targets, this.#words), weights.naming);
        }
        return parts.length === 1 ? { total: answers } : { total: weightedSum(parts), terms };
      },
      tokens: ({ batch }) => rowsInUse(batch),
    };
  }

  /** How the answers are given under forcing. */
  measure(lessons: readonly Lesson[]): Promise<Record<string, Measured>> {
    return measureAnswers(this.#parameters, this.batch(lessons).batch, this.#config);
  }

  /** Releases what was trained along. */
  [Symbol.dispose](): void {
    this.#pointer.dispose();
  }
}
