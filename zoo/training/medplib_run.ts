/**
 * Carries a recipe out in a folder: one run per part, each starting from the weights of the one before, all taken up again
 * where they stopped.
 *
 * @module
 */
import { writeAtomic } from "@medvlm/core";
import {
  type CheckpointSource,
  memoryFolder,
  openCheckpoint,
  safetensorsChunks,
} from "@medvlm/core/checkpoint";
import { initialParameters, loadParameters, type Parameters } from "@medvlm/core/nn";
import { loadLlamaTokenizer } from "@medvlm/core/text";
import type { TrainingTask } from "@medvlm/core/train";
import {
  assembleExperts,
  denseConfig,
  evaluationRouting,
  feedForwardOf,
  gridPositions,
  makeCompanions,
  type MedplibConfig,
  medplibParameters,
  type MedplibStage,
  names,
  stages,
  StageTraining,
} from "@medvlm/medplib/parts";
import { initialisedForWidth, tieKeysToQueries } from "./decoder_init.ts";
import { languageTask } from "./language_task.ts";
import { drawLessons, lessonBatch, type TaughtPicture, taughtPictures } from "./medplib_data.ts";
import type { Lesson, Teaching } from "./medplib_lessons.ts";
import { probeMedplib } from "./medplib_probe.ts";
import type { MedplibRecipe, StageRecipe } from "./medplib_recipe.ts";
import { patchPart } from "./patch_task.ts";
import { type PartRecipe, PartRunner, type PartsRun } from "./part_runner.ts";
import { type Pool, stepRandom } from "./pool.ts";
import {
  flatten,
  learnContrast,
  type Learning,
  learnMasks,
  learnPatches,
  learnWords,
  type TowerRun,
} from "./medplib_towers.ts";

/** What a run is made with. */
export interface MedplibRun extends PartsRun {
  /** Sizes of the model, with experts. */
  readonly config: MedplibConfig;
  /** What is done. */
  readonly recipe: MedplibRecipe;
}

/** Weights at the end of a part. */
export const partWeights = "model.safetensors";

/** Held-out pictures looked at while training. */
const heldOut = 64;

/** Projector, region adapter and language model learn to answer before the paper's stages freeze most of them. */
const together: MedplibStage = {
  name: "conversations",
  purpose: "language model: captions, questions, regions, requests about pictures",
  source: "no paper: what a language model taken from elsewhere would bring along",
  after: "base",
  // The tower stays as it is: trained along it forgets what it knows before the language model has learned to ask.
  trains: [
    names.projector,
    "region_fea_adapter",
    "model.embed_tokens",
    "model.layers.",
    "model.norm",
    "lm_head",
  ],
  losses: { ce: 1, bce: 0, dice: 0, iou: 0, focal: 0 },
  schedule: { kind: "cosine", rate: 1e-3 },
  betas: [0.9, 0.98],
  weightDecay: 0.01,
  maxNorm: 1,
  batch: 16,
  epochs: 1,
  maxTokens: 1024,
  data: ["captions, reports and conversations of phantoms"],
  experts: false,
};

/** What is looked at while a kind of conversation is taught; long answers have too many wordings. */
const probed: Readonly<Record<Lesson, readonly Lesson[]>> = {
  caption: [],
  report: [],
  yesno: ["closed"],
  closed: ["closed"],
  open: ["open"],
  region: ["region"],
  request: ["request"],
  structure: ["structure"],
  finding: ["finding"],
};

/** Folder of a part of the conversations. */
export const talkPart = (round: number) => `conversations-${round + 1}`;

class RecipeRunner {
  readonly #run: MedplibRun;
  readonly #parts: PartRunner;
  readonly #teaching: Teaching;
  #taught: Pool<TaughtPicture> | undefined;
  #asked: Pool<TaughtPicture> | undefined;

  constructor(run: MedplibRun, teaching: Teaching) {
    const { recipe: { seed, phantoms }, config } = run;
    this.#run = run;
    this.#parts = new PartRunner(run, { seed, phantoms, config });
    this.#teaching = teaching;
  }

  #weightsOf(part: string): string {
    return `${this.#parts.folderOf(part)}/${partWeights}`;
  }

  /** Runs one part on parameters, which are written at its end. */
  part<B>(
    name: string,
    settings: PartRecipe,
    load: () => Promise<Parameters>,
    prepare: (parameters: Parameters) => Promise<Learning<B>>,
  ): Promise<boolean> {
    return this.#parts.part(name, settings, async () => {
      const parameters = await load();
      try {
        const learning = await prepare(parameters);
        return {
          ...learning,
          save: async () => {
            learning.finish?.();
            await writeAtomic(this.#weightsOf(name), safetensorsChunks(parameters.entries()));
          },
          [Symbol.asyncDispose]: () => {
            learning[Symbol.dispose]();
            parameters.dispose();
            return Promise.resolve();
          },
        };
      } catch (error) {
        parameters.dispose();
        throw error;
      }
    });
  }

  /** Dense parameters from the end of a part, or fresh ones. */
  async dense(after?: string): Promise<Parameters> {
    const { device, config, recipe } = this.#run;
    const specs = initialisedForWidth(medplibParameters(denseConfig(config)));
    if (after === undefined) {
      const fresh = await initialParameters(device, specs, recipe.seed);
      await tieKeysToQueries(fresh, config.llama);
      return fresh;
    }
    using source = await openCheckpoint(this.#weightsOf(after));
    return await loadParameters(device, specs, source);
  }

  async #opened<T>(
    parts: readonly string[],
    body: (...sources: CheckpointSource[]) => Promise<T>,
  ): Promise<T> {
    const sources: CheckpointSource[] = [];
    try {
      for (const part of parts) sources.push(await openCheckpoint(this.#weightsOf(part)));
      return await body(...sources);
    } finally {
      for (const source of sources) source[Symbol.dispose]();
    }
  }

  /** Parameters with experts from the stages before. */
  experts(): Promise<Parameters> {
    const { device, config, recipe } = this.#run;
    return this.#opened(
      ["recognition", "grounding"],
      (recognition, grounding) =>
        loadParameters(
          device,
          medplibParameters(config),
          assembleExperts(
            { recognition: recognition!, grounding: grounding! },
            config,
            recipe.seed,
          ),
        ),
    );
  }

  /** Everything that is said about the phantoms to train on; prepared once for all parts. */
  get #lessons(): Pool<TaughtPicture> {
    return this.#taught ??= taughtPictures(this.#teaching, this.#phantoms);
  }

  get #phantoms() {
    const { recipe } = this.#run;
    return { ...recipe.phantoms, seed: recipe.seed };
  }

  /** The same about held-out ones. */
  get #held(): Pool<TaughtPicture> {
    return this.#asked ??= taughtPictures(this.#teaching, this.#validation);
  }

  get #validation() {
    return { ...this.#phantoms, split: "validate", count: heldOut } as const;
  }

  /** What the pretraining of towers needs. */
  get towers(): TowerRun {
    const { device, config, recipe: { seed } } = this.#run;
    return { device, config, seed, phantoms: this.#phantoms, validation: this.#validation };
  }

  language(parameters: Parameters): Promise<Learning<unknown>> {
    const { device, config, recipe } = this.#run;
    const dense = denseConfig(config);
    const pool = this.#lessons;
    const mix = { report: 2, caption: 1, closed: 2, open: 2, region: 1, request: 2 };
    return Promise.resolve({
      task: languageTask(
        parameters,
        dense.llama,
        feedForwardOf(dense, evaluationRouting(dense, device, recipe.seed)),
        {
          draw: (random) => {
            const [chosen] = drawLessons(pool, mix, { pictures: 1, each: 1 }, random);
            return chosen!.lessons[0]!.ids.filter((id) => id >= 0);
          },
          batch: recipe.language.batch,
          seed: recipe.seed,
        },
      ) as TrainingTask<unknown>,
      evaluate: () => Promise.resolve({}),
      [Symbol.dispose]: () => {},
    });
  }

  /** @param cycle Number of an equal part before it; its draws are its own. */
  async stage(
    stage: MedplibStage,
    { mix, batch, each = 1 }: StageRecipe,
    parameters: Parameters,
    cycle = 0,
  ): Promise<Learning<unknown>> {
    const { recipe, config: whole } = this.#run;
    const config = stage.experts ? whole : denseConfig(whole);
    const teaching = { ...this.#teaching, config };
    const pool = this.#lessons;
    const positions = await gridPositions(parameters.at(names.sam), config);
    const { adapters } = stage;
    // Every batch is new: there is nothing to overfit, and dropout would only slow learning down.
    const changed = adapters === undefined ? {} : { adapters: { ...adapters, dropout: 0 } };
    const training = new StageTraining(parameters, config, { ...stage, ...changed }, positions, {
      seed: recipe.seed,
    });
    const lessons = 0x6c65;
    return {
      task: training.task((step) =>
        Promise.resolve([
          lessonBatch(
            teaching,
            drawLessons(
              pool,
              mix,
              { pictures: batch, each },
              stepRandom(recipe.seed + cycle, step, lessons),
            ),
          ),
        ])
      ) as TrainingTask<unknown>,
      maxNorm: stage.maxNorm ?? 1,
      betas: stage.betas,
      evaluate: async () =>
        flatten(
          await probeMedplib(
            parameters,
            positions,
            teaching,
            this.#held,
            [...new Set(Object.keys(mix).flatMap((kind) => probed[kind as Lesson]))],
          ),
        ),
      finish: () => training.finish(),
      [Symbol.dispose]: () => {
        training[Symbol.dispose]();
        positions.dispose();
      },
    };
  }
}

/**
 * Trains a small MedPLIB from nothing. What is done already is not done again.
 *
 * @returns whether everything is done; false after an abort.
 */
export async function trainMedplib(run: MedplibRun): Promise<boolean> {
  const { config, recipe } = run;
  const companions = makeCompanions(config) as Map<string, Uint8Array<ArrayBuffer>>;
  const tokenizer = await loadLlamaTokenizer(memoryFolder("built-in tokenizer", companions), {
    behaviour: "4.31-legacy",
  });
  const teaching: Teaching = { config, tokenizer };
  const runner = new RecipeRunner(run, teaching);
  const learned = talkPart(recipe.conversations.length - 1);
  const parts: readonly (() => Promise<boolean>)[] = [
    () =>
      runner.part(
        "sam",
        recipe.sam,
        () => runner.dense(),
        (p) => learnMasks(p, recipe.sam, runner.towers),
      ),
    () =>
      runner.part(
        "concepts",
        recipe.concepts,
        () => runner.dense("sam"),
        (p) => learnMasks(p, recipe.concepts, runner.towers),
      ),
    () =>
      runner.part(
        "language",
        recipe.language,
        () => runner.dense("concepts"),
        (p) => runner.language(p),
      ),
    () =>
      runner.part(
        "clip",
        recipe.clip,
        () => runner.dense("language"),
        (p) => learnContrast(p, recipe.clip, runner.towers, teaching),
      ),
    ...recipe.patches.map((settings, cycle) => () =>
      runner.part(
        patchPart(cycle),
        settings,
        () => runner.dense(cycle === 0 ? "clip" : patchPart(cycle - 1)),
        (p) => Promise.resolve(learnPatches(p, settings, runner.towers, cycle)),
      )
    ),
    () =>
      runner.part(
        "words",
        recipe.words,
        () => runner.dense(patchPart(recipe.patches.length - 1)),
        (p) => learnWords(p, recipe.words, runner.towers, teaching),
      ),
    ...recipe.conversations.map((settings, round) => () =>
      runner.part(
        talkPart(round),
        settings,
        () => runner.dense(round === 0 ? "words" : talkPart(round - 1)),
        (p) => runner.stage(together, settings, p, round),
      )
    ),
    ...stages.map((stage) => () =>
      runner.part(
        stage.name,
        recipe.stages[stage.name]!,
        () =>
          stage.experts
            ? runner.experts()
            : runner.dense(stage.after === "base" ? learned : stage.after),
        (p) => runner.stage(stage, recipe.stages[stage.name]!, p),
      )
    ),
  ];
  for (const part of parts) {
    if (!await part()) return false;
  }
  return true;
}
