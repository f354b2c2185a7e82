/**
 * Carries the recipe of the MiniGPT-v2 family out in a folder: the base, its last part for one system, then the
 * system's stages, each starting from the model that the one before has written.
 *
 * @module
 */
import {
  type Measured,
  openFolder,
  type Plugin,
  type PreparedStage,
  type StageStart,
  type TrainingExample,
} from "@medvlm/core";
import {
  ignoredNames,
  madeFiles,
  madeTokenizer,
  type MinigptConfig,
  minigptParameters,
  minigptSample,
  names,
  openMinigpt,
  pictureFeatures,
  pictureRows,
  pictureStatistics,
  saveMinigpt,
} from "@medvlm/core/minigpt";
import {
  denseFeedForward,
  evaGrid,
  initialParameters,
  loadParameters,
  type Parameters,
} from "@medvlm/core/nn";
import { deepFolder } from "../deep_folder.ts";
import type { Random } from "../phantoms/random.ts";
import { BaseTraining } from "./minigpt_base.ts";
import { languageTask } from "./language_task.ts";
import { initialisedForWidth, tieKeysToQueries } from "./decoder_init.ts";
import {
  drawFamilyLessons,
  type FamilyLesson,
  type FamilyMix,
  type FamilyPicture,
  familyPictures,
  teachBase,
} from "./minigpt_lessons.ts";
import type {
  BasePart,
  FamilyPart,
  MinigptRecipe,
  OwnPhantoms,
  TowerPart,
} from "./minigpt_recipe.ts";
import { type PartRecipe, PartRunner, type PartsRun, type PreparedPart } from "./part_runner.ts";
import { namesTogether, pictureNames, placeNames } from "./patch_names.ts";
import {
  freshNames,
  type MatchingRecipe,
  type PatchModel,
  patchPart,
  patchTask,
  probePatches,
  recipeNames,
} from "./patch_task.ts";
import { matchedWords } from "./patch_words.ts";
import { whitenMinigpt } from "./minigpt_whitening.ts";
import { type PhantomSource, type Pool, stepRandom } from "./pool.ts";

/** What a run is made with. */
export interface MinigptRun extends PartsRun {
  /** The system whose stages follow the base. */
  readonly plugin: Plugin<MinigptConfig>;
  /** Sizes of the model. */
  readonly config: MinigptConfig;
  /** What is done. */
  readonly recipe: MinigptRecipe;
}

/** Folder below a part's where its model is, in the official layout. */
export const partModel = "model";

/** Folder of the part that trains the language model alone. */
export const languagePart = "language";

/** Folder of the part that aligns the projection. */
export const wordPart = "words";

/** Folder of a cosine of the base. */
export const basePart = (cycle: number) => `base-${cycle + 1}`;

/** Folder of one of the base's last cosines, which are a system's own. */
export const ownBase = (system: string, cycle: number): string =>
  cycle === 0 ? `${system}-base` : `${system}-base-${cycle + 1}`;

/** Held-out pictures, and batches of each kind, that are looked at while training. */
const heldOut = 32, heldBatches = 2;
/** What the language model reads without pictures. */
const texts: FamilyMix = { report: 2, caption: 2, yesno: 2, open: 2, identify: 1, phrase: 2 };
/** Marks the draws of lessons. */
const LESSON_DRAWS = 0x66616d;

/** Patches, or rows of them, that are matched with names: after which part, with which draws, on pictures of which side. */
interface MatchingPart {
  readonly part: string;
  readonly after: string;
  readonly settings: MatchingRecipe & OwnPhantoms;
  readonly seed: number;
  readonly imageSize: number;
}

class FamilyRunner {
  readonly parts: PartRunner;
  readonly #run: MinigptRun;
  readonly #taught = new Map<string, Pool<FamilyPicture>>();
  #asked: Pool<FamilyPicture> | undefined;

  constructor(run: MinigptRun) {
    const { recipe: { seed, phantoms }, config } = run;
    this.#run = run;
    this.parts = new PartRunner(run, { seed, phantoms, config });
  }

  /** Lessons about the phantoms to train on; prepared once for all parts that have the same. */
  #lessons(own: OwnPhantoms = {}): Pool<FamilyPicture> {
    const source = this.#source(own);
    return this.#taught.getOrInsertComputed(JSON.stringify(source), () => familyPictures(source));
  }

  /** Phantoms to train on. */
  #source({ prevalence, count }: OwnPhantoms): PhantomSource {
    const { recipe: { phantoms, seed } } = this.#run;
    return {
      ...phantoms,
      seed,
      ...prevalence === undefined ? {} : { prevalence },
      ...count === undefined ? {} : { count },
    };
  }

  /** Means over held-out examples of each kind. */
  async #measure(
    mix: FamilyMix,
    measure: (examples: TrainingExample[]) => Promise<Record<string, Measured>>,
  ): Promise<Record<string, number>> {
    const { recipe: { phantoms, seed } } = this.#run;
    const pool = this.#asked ??= familyPictures({
      ...phantoms,
      seed,
      split: "validate",
      count: heldOut,
    });
    const metrics: Record<string, number> = {};
    for (const kind of Object.keys(mix) as FamilyLesson[]) {
      const sums = new Map<string, { sum: number; count: number }>();
      for (let n = 0; n < heldBatches; n++) {
        const size = { pictures: heldOut / heldBatches, each: 8 };
        const drawn = drawFamilyLessons(pool, { [kind]: 1 }, size, stepRandom(seed, n, 1));
        const found = await measure(drawn);
        for (const [name, { sum, count }] of Object.entries(found)) {
          const known = sums.get(name) ?? { sum: 0, count: 0 };
          sums.set(name, { sum: known.sum + sum, count: known.count + count });
        }
      }
      for (const [name, { sum, count }] of sums) metrics[`${name}.${kind}`] = sum / count;
    }
    return metrics;
  }

  /** The model of a part. */
  async #model(part: string): Promise<StageStart<MinigptConfig>> {
    const folder = await openFolder(`${this.parts.folderOf(part)}/${partModel}`);
    return { checkpoint: { folder, tensors: await openMinigpt(folder) } };
  }

  /** Fresh parameters, or those of a part. */
  async #parameters(after: string | undefined): Promise<Parameters> {
    const { config, device, recipe: { seed } } = this.#run;
    const specs = minigptParameters(config);
    if (after === undefined) {
      const fresh = await initialParameters(device, initialisedForWidth(specs), seed);
      await tieKeysToQueries(fresh, config.llama);
      return fresh;
    }
    const { checkpoint } = await this.#model(after);
    using tensors = checkpoint!.tensors;
    return await loadParameters(device, specs, tensors, { ignore: ignoredNames });
  }

  /** Trains the language model on texts alone. */
  language(settings: PartRecipe): Promise<boolean> {
    return this.parts.part(languagePart, settings, async () => {
      const { config, recipe: { seed } } = this.#run, pool = this.#lessons();
      const parameters = await this.#parameters(undefined);
      const tokenizer = await madeTokenizer(madeFiles(config)), none = new Float32Array();
      const draw = (random: Random) => {
        const [example] = drawFamilyLessons(pool, texts, { pictures: 1, each: 1 }, random);
        const { prompt, answer } = teachBase(example!);
        const sample = minigptSample(tokenizer, prompt, answer, none);
        return [tokenizer.beginId, ...sample.prompt.flat(), ...sample.answer];
      };
      const options = { draw, batch: settings.batch, seed };
      return {
        task: languageTask(parameters, config.llama, denseFeedForward, options),
        evaluate: () => Promise.resolve({}),
        save: (folder) => this.#save(folder, parameters),
        [Symbol.asyncDispose]() {
          parameters.dispose();
          return Promise.resolve();
        },
      };
    });
  }

  /** Trains the vision tower. @param cycle Number of the cosine; its draws are its own. */
  patches(settings: TowerPart, cycle: number): Promise<boolean> {
    const { config, device, recipe: { seed } } = this.#run;
    const { imageSize = config.vision.imageSize } = settings;
    const sized = { ...config, vision: { ...config.vision, imageSize } };
    const { hiddenSize } = config.vision, side = evaGrid(sized.vision);
    const after = cycle === 0 ? languagePart : patchPart(cycle - 1);
    const known = recipeNames(settings, side);
    return this.#matching(
      { part: patchPart(cycle), after, settings, seed: seed + cycle, imageSize },
      (parameters) =>
        Promise.resolve({
          trained: parameters.specs.map(({ name }) => name).filter((name) =>
            name.startsWith(names.vision)
          ),
          patches: (pixels) => pictureFeatures(parameters, pixels, sized).reshape(-1, hiddenSize),
          grid: [side, side],
          ...freshNames(device, known, hiddenSize, seed),
        }),
    );
  }

  /** The projection's rows, of several patches each, and the language model's words for what is on them. */
  words(settings: MatchingRecipe & OwnPhantoms, after: string): Promise<boolean> {
    const { config, recipe: { seed } } = this.#run, side = evaGrid(config.vision);
    const kept = namesTogether(pictureNames, placeNames(side, config.patchesPerRow));
    const { imageSize } = config.vision;
    return this.#matching(
      { part: wordPart, after, settings, seed, imageSize },
      async (parameters) => {
        await whitenMinigpt(parameters, config, this.#source(settings));
        return {
          trained: ["llama_proj.weight", "llama_proj.bias"],
          patches: (pixels) => pictureRows(parameters, pixels, config),
          grid: [side, side / config.patchesPerRow],
          ...matchedWords(parameters, await madeTokenizer(madeFiles(config)), kept, seed),
        };
      },
    );
  }

  #save(folder: string, parameters: Parameters): Promise<void> {
    const files = madeFiles(this.#run.config);
    return saveMinigpt(deepFolder(`${folder}/${partModel}`), parameters.entries(), files);
  }

  #matching(
    { part, after, settings, seed: drawSeed, imageSize }: MatchingPart,
    make: (parameters: Parameters) => Promise<Omit<PatchModel, "parameters" | "input">>,
  ): Promise<boolean> {
    return this.parts.part(part, settings, async () => {
      const parameters = await this.#parameters(after);
      const model: PatchModel = {
        parameters,
        input: { side: imageSize, statistics: pictureStatistics, scale: 1 / 255 },
        ...await make(parameters),
      };
      const source = { ...this.#source(settings), size: imageSize };
      return {
        task: patchTask(model, { ...settings, source, seed: drawSeed }),
        betas: [0.9, 0.98],
        evaluate: () => probePatches(model, { ...source, split: "validate", count: heldOut }),
        save: (folder) => this.#save(folder, parameters),
        [Symbol.asyncDispose]() {
          parameters.dispose();
          model.concepts.dispose();
          model.words?.dispose();
          return Promise.resolve();
        },
      };
    });
  }

  /** Runs a part of the base after an earlier part. */
  base(name: string, settings: BasePart, after: string): Promise<boolean> {
    return this.parts.part(name, settings, async () => {
      const { config, recipe: { seed } } = this.#run;
      const { mix, batch: pictures, each = 1, looking = 0, naming = 0 } = settings;
      const pool = this.#lessons(settings);
      const parameters = await this.#parameters(after);
      const base = new BaseTraining(parameters, config, await madeTokenizer(madeFiles(config)));
      const draw = (random: Random) => drawFamilyLessons(pool, mix, { pictures, each }, random);
      return {
        task: base.task({ draw, seed, pointing: 2, looking, naming }),
        betas: [0.9, 0.98],
        evaluate: () => this.#measure(mix, (examples) => base.measure(examples)),
        save: (folder) => this.#save(folder, parameters),
        [Symbol.asyncDispose]() {
          base[Symbol.dispose]();
          parameters.dispose();
          return Promise.resolve();
        },
      };
    });
  }

  /** Runs a stage of the system after an earlier part, under a name of its own. */
  stage({ part, stage, after }: Step, settings: FamilyPart): Promise<boolean> {
    return this.parts.part(part, settings, async () => {
      const { plugin, recipe: { seed } } = this.#run;
      const prepared = await plugin.prepareStage(await this.#model(after), stage, seed);
      return await this.#prepared(prepared, settings);
    });
  }

  async #prepared(prepared: PreparedStage, settings: FamilyPart): Promise<PreparedPart> {
    const { device, recipe: { seed } } = this.#run;
    const { mix, batch, each = 1 } = settings, pool = this.#lessons(settings);
    const size = { pictures: batch, each };
    const run = await prepared.open({ device, seed });
    return {
      task: {
        parameters: run.parameters,
        batches(step) {
          const drawn = drawFamilyLessons(pool, mix, size, stepRandom(seed, step, LESSON_DRAWS));
          return Promise.resolve([run.batch(drawn.map((one) => run.sample(one)))]);
        },
        loss: (batch, step, part) => run.loss(batch, step, part),
        tokens: (batch) => run.tokens(batch),
      },
      betas: prepared.stage.betas,
      evaluate: () =>
        this.#measure(
          mix,
          (examples) => run.measure(run.batch(examples.map((one) => run.sample(one)))),
        ),
      save: (folder) => run.save(deepFolder(`${folder}/${partModel}`)),
      async [Symbol.asyncDispose]() {
        await run[Symbol.asyncDispose]();
        prepared.tensors[Symbol.dispose]();
      },
    };
  }
}

/** A part after the base: its name in the folder, the system's stage, and what it starts from. */
interface Step {
  readonly part: string;
  readonly stage: string;
  readonly after: string;
}

/**
 * The stages of the papers, and for PFMVG the ablation's row without the first stage (tables 3 and 4).
 *
 * @param start The part that they start from.
 */
const stepsFrom = (start: string): Readonly<Record<"pfmvg" | "pefomed", readonly Step[]>> => ({
  pfmvg: [
    { part: "pfmvg-captioning", stage: "captioning", after: start },
    { part: "pfmvg-grounding", stage: "grounding", after: "pfmvg-captioning" },
    { part: "pfmvg-grounding-alone", stage: "grounding", after: start },
  ],
  pefomed: [
    { part: "pefomed-captioning", stage: "captioning", after: start },
    { part: "pefomed-vqa-rad", stage: "vqa-rad", after: "pefomed-captioning" },
    { part: "pefomed-report", stage: "report", after: "pefomed-captioning" },
  ],
});

/**
 * Trains a small model of the family from nothing. What is done already is not done again; the base of one system's folder is
 * good for the other.
 *
 * @returns whether everything is done; false after an abort.
 */
export async function trainMinigpt(run: MinigptRun): Promise<boolean> {
  const { recipe, plugin } = run;
  const runner = new FamilyRunner(run);
  if (!await runner.language(recipe.language)) return false;
  for (const [cycle, settings] of recipe.patches.entries()) {
    if (!await runner.patches(settings, cycle)) return false;
  }
  if (!await runner.words(recipe.words, patchPart(recipe.patches.length - 1))) return false;
  let after = wordPart;
  for (const [cycle, settings] of recipe.base.entries()) {
    if (!await runner.base(basePart(cycle), settings, after)) return false;
    after = basePart(cycle);
  }
  const system = plugin.name as "pfmvg" | "pefomed";
  for (const [cycle, settings] of recipe.own[system].entries()) {
    if (!await runner.base(ownBase(system, cycle), settings, after)) return false;
    after = ownBase(system, cycle);
  }
  for (const step of stepsFrom(after)[system]) {
    if (!await runner.stage(step, recipe.stages[system][step.stage]!)) return false;
  }
  return true;
}
