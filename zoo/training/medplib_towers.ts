/**
 * How MedPLIB's towers are pretrained, each by a published objective: masks from prompts and names, contrast of pictures and
 * reports, patches matched with names.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import { clipContrastParameters, initialParameters, type Parameters } from "@medvlm/core/nn";
import type { TrainingTask } from "@medvlm/core/train";
import {
  CLIP_STATISTICS,
  clipFeatures,
  type MedplibConfig,
  names,
  projectFeatures,
  SAM_STATISTICS,
} from "@medvlm/medplib/parts";
import { probeClip } from "./clip_probe.ts";
import { type ClipModel, clipTask } from "./clip_task.ts";
import { conceptEmbeddings } from "./concepts.ts";
import type { Teaching } from "./medplib_lessons.ts";
import type { MedplibRecipe } from "./medplib_recipe.ts";
import type { PartRecipe, PreparedPart } from "./part_runner.ts";
import { whitenMedplib } from "./medplib_whitening.ts";
import { pictureNames } from "./patch_names.ts";
import {
  freshNames,
  type PatchModel,
  type PatchRecipe,
  patchTask,
  probePatches,
  recipeNames,
} from "./patch_task.ts";
import { matchedWords } from "./patch_words.ts";
import type { PhantomSource } from "./pool.ts";
import { probeSam } from "./sam_probe.ts";
import { type SamModel, samPlaces, samTask } from "./sam_task.ts";

/** What is trained of parameters, how it is measured, and what happens to them at its end. */
export interface Learning<B>
  extends Disposable, Omit<PreparedPart<B>, "save" | keyof AsyncDisposable> {
  /** Called after the last step, before the parameters are written. */
  readonly finish?: () => void;
}

/** What the towers of a run have in common. */
export interface TowerRun {
  /** Device that trains. */
  readonly device: Device;
  /** Sizes of the model. */
  readonly config: MedplibConfig;
  /** Of weights and draws. */
  readonly seed: number;
  /** Phantoms to train on. */
  readonly phantoms: PhantomSource;
  /** Phantoms to look at while training. */
  readonly validation: PhantomSource;
}

/** Width of the text tower, which only the contrast needs. */
const textWidth = 64;

/** All numbers of nested records by path. */
export function flatten(value: object, prefix = ""): Record<string, number> {
  return Object.assign(
    {},
    ...Object.entries(value).map(([name, one]) =>
      typeof one === "number" ? { [prefix + name]: one } : flatten(one, `${prefix}${name}.`)
    ),
  );
}

/** CLIP's contrast; the vision tower is part of the model. */
export async function learnContrast(
  vision: Parameters,
  { batch }: PartRecipe,
  { device, config, seed, phantoms, validation }: TowerRun,
  { tokenizer }: Teaching,
): Promise<Learning<unknown>> {
  const text = {
    vocabulary: config.llama.vocabulary,
    hiddenSize: textWidth,
    intermediateSize: 4 * textWidth,
    layers: 2,
    heads: config.clip.heads,
    activation: config.clip.activation,
    epsilon: config.clip.epsilon,
    maxPositions: 256,
  };
  const contrastConfig = { text, projectionWidth: config.clip.hiddenSize };
  const contrast = await initialParameters(
    device,
    clipContrastParameters(contrastConfig, config.clip.hiddenSize, "", "F32"),
    seed,
  );
  const model: ClipModel = {
    vision,
    visionPrefix: names.clip,
    visionConfig: config.clip,
    contrast,
    contrastConfig,
    input: { side: config.clip.imageSize, statistics: CLIP_STATISTICS, scale: 1 / 255 },
    tokenise: (words) => [...tokenizer.encode(words), tokenizer.endId],
  };
  return {
    task: clipTask(model, { source: phantoms, batch, seed }) as TrainingTask<unknown>,
    betas: [0.9, 0.98],
    evaluate: async () => flatten(await probeClip(model, validation)),
    [Symbol.dispose]: () => contrast.dispose(),
  };
}

/** SAM's masks from places, and by names where `nameShare` says so. */
export async function learnMasks(
  parameters: Parameters,
  { batch, masks, nameShare = 0 }: MedplibRecipe["sam"] & { readonly nameShare?: number },
  { device, config, seed, phantoms, validation }: TowerRun,
): Promise<Learning<unknown>> {
  const concepts = nameShare === 0
    ? undefined
    : conceptEmbeddings(device, config.samDecoder.width, seed);
  const model: SamModel = {
    parameters,
    prefix: names.sam,
    encoder: config.sam,
    decoder: config.samDecoder,
    input: { side: config.sam.imageSize, statistics: SAM_STATISTICS, scale: 1 },
    ...(concepts === undefined ? {} : { concepts }),
  };
  const places = await samPlaces(model);
  return {
    task: samTask(model, places, {
      source: phantoms,
      pictures: batch,
      masks,
      nameShare,
      // The draws of the two parts differ.
      seed: seed + (nameShare === 0 ? 0 : 1),
    }) as TrainingTask<unknown>,
    betas: [0.9, 0.999],
    evaluate: async () =>
      flatten({
        ...await probeSam(model, places, validation),
        ...(nameShare === 0 ? {} : { byName: await probeSam(model, places, validation, "name") }),
      }),
    [Symbol.dispose]: () => {
      places.grid.dispose();
      concepts?.dispose();
    },
  };
}

/** Patches of the vision tower and names. @param cycle Number of the cosine; its draws are its own. */
export function learnPatches(
  parameters: Parameters,
  settings: PatchRecipe,
  { device, config, seed, phantoms, validation }: TowerRun,
  cycle: number,
): Learning<unknown> {
  const { clip, visionLayer } = config;
  const known = recipeNames(settings, clip.imageSize / clip.patchSize);
  const unused = new RegExp(
    `post_layernorm|layers\\.(${
      Array.from({ length: -1 - visionLayer }, (_, n) => clip.layers - 1 - n).join("|")
    })\\.`,
  );
  const model: PatchModel = {
    parameters,
    trained: parameters.specs.map(({ name }) => name).filter((name) =>
      name.startsWith(names.clip) && !unused.test(name)
    ),
    patches: (pixels) => clipFeatures(parameters, pixels, config),
    ...patchInput(config),
    ...freshNames(device, known, clip.hiddenSize, seed),
  };
  return learnMatching(model, settings.batch, seed + cycle, { phantoms, validation });
}

/** The projector's rows and the language model's words for what is on the patches; the layers around it begin whitened. */
export async function learnWords(
  parameters: Parameters,
  { batch }: PartRecipe,
  { config, seed, phantoms, validation }: TowerRun,
  { tokenizer }: Teaching,
): Promise<Learning<unknown>> {
  await whitenMedplib(parameters, config, phantoms);
  const model: PatchModel = {
    parameters,
    trained: parameters.specs.map(({ name }) => name).filter((name) =>
      name.startsWith(names.projector)
    ),
    patches: (pixels) => projectFeatures(parameters, clipFeatures(parameters, pixels, config)),
    ...patchInput(config),
    ...matchedWords(parameters, tokenizer, pictureNames, seed),
  };
  return learnMatching(model, batch, seed, { phantoms, validation });
}

const patchInput = ({ clip }: MedplibConfig): Pick<PatchModel, "grid" | "input"> => {
  const side = clip.imageSize / clip.patchSize;
  return {
    grid: [side, side],
    input: { side: clip.imageSize, statistics: CLIP_STATISTICS, scale: 1 / 255 },
  };
};

function learnMatching(
  model: PatchModel,
  batch: number,
  seed: number,
  { phantoms, validation }: Pick<TowerRun, "phantoms" | "validation">,
): Learning<unknown> {
  return {
    task: patchTask(model, { source: phantoms, batch, seed }) as TrainingTask<unknown>,
    betas: [0.9, 0.98],
    evaluate: () => probePatches(model, validation),
    [Symbol.dispose]() {
      model.concepts.dispose();
      model.words?.dispose();
    },
  };
}
