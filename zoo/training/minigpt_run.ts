/**
 * Carries the recipe of the MiniGPT-v2 family out in a folder: the base, then the stages of one system, each starting from the
 * model that the one before has written.
 *
 * @module
 */
import {
  openFolder,
  type Plugin,
  type PreparedStage,
  type StageRun,
  type StageStart,
} from "@medvlm/core";
import {
  madeFiles,
  type MinigptConfig,
  minigptParameters,
  names,
  openMinigpt,
  pictureFeatures,
  pictureStatistics,
  prepareMinigptStage,
  saveMinigpt,
} from "@medvlm/core/minigpt";
import { evaGrid, initialParameters } from "@medvlm/core/nn";
import type { Stage } from "@medvlm/core/train";
import { deepFolder } from "../deep_folder.ts";
import { conceptEmbeddings } from "./concepts.ts";
import { initialisedForWidth } from "./decoder_init.ts";
import {
  drawFamilyLessons,
  type FamilyLesson,
  type FamilyMix,
  type FamilyPicture,
  familyPictures,
  teachBase,
} from "./minigpt_lessons.ts";
import type { FamilyPart, MinigptRecipe } from "./minigpt_recipe.ts";
import { type PartRecipe, PartRunner, type PartsRun, type PreparedPart } from "./part_runner.ts";
import { type PatchModel, patchTask, probePatches } from "./patch_task.ts";
import { type Pool, stepRandom } from "./pool.ts";

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

/** Name of the part that trains the vision tower. */
export const patchPart = "patches";

/** Name of the part that both systems start from. */
export const basePart = "base";

/** Everything learns: vision tower, projection, language model. The adapters of the family are part of it. */
const base: Stage = {
  name: basePart,
  purpose: "the tasks of MiniGPT-v2, all of the model learning",
  source: "Chen et al., MiniGPT-v2 (2023), its three stages in one, on phantoms",
  after: "base",
  trains: ["visual_encoder.", "llama_proj", "model.", "lm_head"],
  losses: { ce: 1 },
  schedule: { kind: "cosine", rate: 1e-3 },
  betas: [0.9, 0.98],
  weightDecay: 0.05,
  batch: 24,
  epochs: 1,
  maxTokens: 1024,
  data: ["captions, reports, questions, boxes and regions of phantoms"],
};

/** Held-out pictures, and batches of each kind, that are looked at while training. */
const heldOut = 64, heldBatches = 3;
/** Marks the draws of lessons. */
const LESSON_DRAWS = 0x66616d;

class FamilyRunner {
  readonly parts: PartRunner;
  readonly #run: MinigptRun;
  #taught: Pool<FamilyPicture> | undefined;
  #asked: Pool<FamilyPicture> | undefined;

  constructor(run: MinigptRun) {
    const { recipe: { seed, phantoms }, config } = run;
    this.#run = run;
    this.parts = new PartRunner(run, { seed, phantoms, config });
  }

  /** Lessons about the phantoms to train on; prepared once for all parts. */
  get #lessons(): Pool<FamilyPicture> {
    const { recipe: { phantoms, seed } } = this.#run;
    return this.#taught ??= familyPictures({ ...phantoms, seed });
  }

  /** Means over held-out examples of each kind. */
  async #measure(run: StageRun, mix: FamilyMix, batch: number): Promise<Record<string, number>> {
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
        const drawn = drawFamilyLessons(pool, { [kind]: 1 }, batch, stepRandom(seed, n, 1));
        const found = await run.measure(run.batch(drawn.map((one) => run.sample(one))));
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

  /** Trains the vision tower of a fresh model. */
  patches(settings: PartRecipe): Promise<boolean> {
    return this.parts.part(patchPart, settings, async () => {
      const { config, device, recipe: { seed, phantoms } } = this.#run;
      const { vision } = config;
      const parameters = await initialParameters(
        device,
        initialisedForWidth(minigptParameters(config)),
        seed,
      );
      const model: PatchModel = {
        parameters,
        trained: parameters.specs.map(({ name }) => name).filter((name) =>
          name.startsWith(names.vision)
        ),
        patches: (pixels) =>
          pictureFeatures(parameters, pixels, config).reshape(-1, vision.hiddenSize),
        grid: evaGrid(vision),
        concepts: conceptEmbeddings(device, vision.hiddenSize, seed),
        input: { side: vision.imageSize, statistics: pictureStatistics, scale: 1 / 255 },
      };
      const source = { ...phantoms, seed };
      return {
        task: patchTask(model, { source, batch: settings.batch, seed }),
        betas: [0.9, 0.98],
        evaluate: () => probePatches(model, { ...source, split: "validate", count: heldOut }),
        save: (folder) =>
          saveMinigpt(
            deepFolder(`${folder}/${partModel}`),
            parameters.entries(),
            madeFiles(config),
          ),
        [Symbol.asyncDispose]() {
          parameters.dispose();
          model.concepts.dispose();
          return Promise.resolve();
        },
      };
    });
  }

  /** Runs the base, or a stage of the system, after an earlier part, under a name of its own. */
  part(name: string, settings: FamilyPart, after: string, stage?: string): Promise<boolean> {
    return this.parts.part(name, settings, async () => {
      const { plugin, recipe: { seed } } = this.#run;
      const start = await this.#model(after);
      const prepared = stage === undefined
        ? await prepareMinigptStage(start, base, teachBase, seed)
        : await plugin.prepareStage(start, stage, seed);
      return await this.#prepared(prepared, settings);
    });
  }

  async #prepared(prepared: PreparedStage, settings: FamilyPart): Promise<PreparedPart> {
    const { device, recipe: { seed } } = this.#run;
    const { mix, batch } = settings, pool = this.#lessons;
    const run = await prepared.open({ device, seed });
    return {
      task: {
        parameters: run.parameters,
        batches(step) {
          const drawn = drawFamilyLessons(pool, mix, batch, stepRandom(seed, step, LESSON_DRAWS));
          return Promise.resolve([run.batch(drawn.map((one) => run.sample(one)))]);
        },
        loss: (batch, step, part) => run.loss(batch, step, part),
        tokens: (batch) => run.tokens(batch),
      },
      betas: prepared.stage.betas,
      evaluate: () => this.#measure(run, mix, batch),
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

/** The stages of the papers, and for PFMVG the ablation's row without the first stage (tables 3 and 4). */
const steps: Readonly<Record<"pfmvg" | "pefomed", readonly Step[]>> = {
  pfmvg: [
    { part: "pfmvg-captioning", stage: "captioning", after: basePart },
    { part: "pfmvg-grounding", stage: "grounding", after: "pfmvg-captioning" },
    { part: "pfmvg-grounding-alone", stage: "grounding", after: basePart },
  ],
  pefomed: [
    { part: "pefomed-captioning", stage: "captioning", after: basePart },
    { part: "pefomed-vqa-rad", stage: "vqa-rad", after: "pefomed-captioning" },
    { part: "pefomed-report", stage: "report", after: "pefomed-captioning" },
  ],
};

/**
 * Trains a small model of the family from nothing. What is done already is not done again; the base of one system's folder is
 * good for the other.
 *
 * @returns whether everything is done; false after an abort.
 */
export async function trainMinigpt(run: MinigptRun): Promise<boolean> {
  const { recipe, plugin } = run;
  const runner = new FamilyRunner(run);
  if (!await runner.patches(recipe.patches)) return false;
  if (!await runner.part(basePart, recipe.base, patchPart)) return false;
  const system = plugin.name as "pfmvg" | "pefomed";
  for (const { part, stage, after } of steps[system]) {
    const settings = recipe.stages[system][stage]!;
    if (!await runner.part(part, settings, after, stage)) return false;
  }
  return true;
}
