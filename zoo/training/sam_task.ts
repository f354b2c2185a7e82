/**
 * Pretraining of SAM or SAM-Med2D by its published objective, promptable masks, on chest phantoms (Kirillov et al., "Segment
 * Anything", 2023; Cheng et al., "SAM-Med2D", 2023): one prompt of one form per mask, and the mask of the first token, which
 * is what a model that is asked for a single mask gives. Prompts are boxes, points or, as in SAM's text-to-mask experiment
 * (section 7.5 there), an embedding of what is meant; here a table has one row per name.
 *
 * @module
 */
import {
  addDensePrompt,
  densePositions,
  type Parameters,
  type PlacedPrompts,
  placePrompts,
  type SamDecoderConfig,
  type SamEncoderConfig,
  samGrid,
  samImageEncoder,
  samLoss,
  samMaskDecoder,
  type SamMasks,
  type SamPrompt,
  samPromptTokens,
} from "@medvlm/core/nn";
import { gatherRows, resizeBilinear, slice, type Tensor, tensor } from "@medvlm/core/tensor";
import {
  decayGroups,
  decaysLinearWeights,
  type ParameterGroup,
  type TrainedParameter,
  type TrainingTask,
} from "@medvlm/core/train";
import { type ChestPhantom, chestThings, type Thing } from "../phantoms/mod.ts";
import {
  conceptNames,
  conceptTable,
  isStructure,
  type NamedThings,
  namedThings,
} from "./concepts.ts";
import { greySquare, normalisedSquares, type SquareInput } from "./pictures.ts";
import { phantomPool, type PhantomSource, type Pool, stepRandom } from "./pool.ts";
import { drawForm, drawPrompt, drawThing } from "./sam_prompts.ts";

/** A promptable model on a device. */
export interface SamModel {
  /** Holds all parts, their names starting with `prefix` and then `image_encoder.`, `prompt_encoder.`, `mask_decoder.`. */
  readonly parameters: Parameters;
  /** Prefix of the parts. */
  readonly prefix: string;
  /** Sizes of the image encoder. */
  readonly encoder: SamEncoderConfig;
  /** Sizes of the mask decoder. */
  readonly decoder: SamDecoderConfig;
  /** How the image encoder wants its pictures. */
  readonly input: SquareInput;
  /** Embeddings of names as prompts; needed only where names are asked for. */
  readonly concepts?: Tensor;
}

/** What never changes while a model is trained: where its Fourier features lie. */
export interface SamPlaces {
  /** The model's own matrix [2, width / 2]. */
  readonly gaussian: Float32Array;
  /** Features of the image grid [grid * grid, width]. Belongs to whoever asked for it. */
  readonly grid: Tensor;
}

/** What is kept of a phantom: the picture and what it shows. */
export interface MaskedPicture {
  /** Grey, at the side of the encoder's input. */
  readonly picture: Uint8Array;
  /** Normal structures. */
  readonly structures: readonly Thing[];
  /** Findings, one by one. */
  readonly findings: readonly Thing[];
  /** Everything of one name together: structures, then findings. */
  readonly named: NamedThings;
}

/** Pictures, prompts and the masks they mean. */
export interface SamBatch {
  /** Normalised [P, 3, S, S]. */
  readonly pixels: Float32Array<ArrayBuffer>;
  /** Picture of each mask [M]. */
  readonly owners: Int32Array<ArrayBuffer>;
  /** One prompt per mask: places, or rows of the table of names [M]. */
  readonly prompts: PlacedPrompts | Int32Array<ArrayBuffer>;
  /** Masks at the size of the pictures [M, size, size], 0 or 1. */
  readonly targets: Float32Array<ArrayBuffer>;
  /** Side of the masks. */
  readonly size: number;
}

/** How a model is pretrained. */
export interface SamTaskOptions {
  /** Phantoms to draw from. */
  readonly source: PhantomSource;
  /** Pictures per step. */
  readonly pictures: number;
  /** Masks per picture: they share the work of the image encoder. */
  readonly masks: number;
  /** Of the draws of pictures, things and prompts. */
  readonly seed: number;
  /** How often a finding is asked for in a picture that has one. Default 0.75. */
  readonly findingShare?: number;
  /** Share of the steps that ask by name; the model must have the table then. Default 0. */
  readonly nameShare?: number;
  /** Share of the other steps whose prompts are boxes; those of the rest are points. Default 0.5. */
  readonly boxShare?: number;
  /** Decay of matrices. Default 0.1. */
  readonly weightDecay?: number;
}

/** Marks the draws of batches. */
const BATCH_DRAWS = 0x73616d62;

/** Reads the model's Fourier features back. */
export async function samPlaces(
  { parameters, prefix, encoder, decoder }: SamModel,
): Promise<SamPlaces> {
  const name = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix";
  const gaussian = await parameters.tensor(prefix + name).readFloats();
  const grid = samGrid(encoder);
  const rows = densePositions(gaussian, grid, grid);
  return { gaussian, grid: tensor(parameters.device, rows, [grid * grid, decoder.width]) };
}

/** What training keeps of a phantom. */
export function maskedPicture(phantom: ChestPhantom, { side }: SquareInput): MaskedPicture {
  const things = chestThings(phantom);
  return {
    picture: greySquare(phantom.image, side),
    structures: things.filter(isStructure),
    findings: things.filter((thing) => !isStructure(thing)),
    named: namedThings(things),
  };
}

/** Phantoms with everything that they show, for training and for {@linkcode probeSam}. */
export function maskedPictures(input: SquareInput, source: PhantomSource): Pool<MaskedPicture> {
  return phantomPool(source, (phantom) => maskedPicture(phantom, input));
}

/** Parameters that the single mask depends on; the Fourier features and what serves other masks stay as they are. */
export function samGroups(
  { parameters, prefix, concepts }: SamModel,
  weightDecay: number,
): ParameterGroup[] {
  const untouched = /^(prompt_encoder\.(pe_layer|mask_downscaling)|mask_decoder\.\w+_mlps\.[1-9])/;
  const trained = parameters.specs
    .filter(({ name }) => name.startsWith(prefix) && !untouched.test(name.slice(prefix.length)))
    .map(({ name }): TrainedParameter => ({ name, value: parameters.value(name) }));
  if (concepts !== undefined) trained.push({ name: conceptTable, value: concepts });
  return decayGroups(trained, decaysLinearWeights, weightDecay);
}

/** A thing of one of the pictures that is asked for. */
export interface AskedThing {
  /** Number of the picture. */
  readonly owner: number;
  /** What is asked for. */
  readonly thing: Thing;
  /** How; without it, by its name. All or none of a batch have one. */
  readonly prompt?: SamPrompt;
}

/** Puts pictures together with a prompt and the mask it means for some things of each. */
export function samBatch(
  input: SquareInput,
  gaussian: Float32Array,
  pictures: readonly MaskedPicture[],
  asked: readonly AskedThing[],
): SamBatch {
  const size = asked[0]!.thing.mask.width;
  const targets = new Float32Array(asked.length * size * size);
  asked.forEach(({ thing }, m) => targets.set(thing.mask.data, m * size * size));
  const prompts = asked.flatMap(({ prompt }) => prompt ?? []);
  return {
    pixels: normalisedSquares(pictures.map(({ picture }) => picture), input),
    owners: Int32Array.from(asked, ({ owner }) => owner),
    prompts: prompts.length === 0
      ? Int32Array.from(asked, ({ thing }) => conceptNames.indexOf(thing.name))
      : placePrompts(prompts, gaussian, input.side),
    targets,
    size,
  };
}

/** Masks of a batch at their low resolution, all of the decoder's, and the predicted IoUs. */
export function samMasks(model: SamModel, places: SamPlaces, batch: SamBatch): SamMasks {
  const { encoder, decoder, input: { side } } = model;
  const { device } = model.parameters;
  using scope = device.scope();
  const p = model.parameters.at(model.prefix);
  const count = batch.owners.length;
  const pixels = tensor(device, batch.pixels, [
    batch.pixels.length / (3 * side * side),
    3,
    side,
    side,
  ]);
  const images = addDensePrompt(
    p.at("prompt_encoder."),
    samImageEncoder(p.at("image_encoder."), pixels, encoder),
  );
  // Each image once per mask that is asked of it.
  const repeated = gatherRows(images.reshape(images.shape[0]!, -1), tensor(device, batch.owners));
  const tokens = batch.prompts instanceof Int32Array
    ? gatherRows(model.concepts!, tensor(device, batch.prompts)).reshape(count, 1, -1)
    : samPromptTokens(p.at("prompt_encoder."), batch.prompts);
  const { masks, iou } = samMaskDecoder(
    p.at("mask_decoder."),
    repeated.reshape(count, ...images.shape.slice(1)),
    places.grid,
    tokens,
    decoder,
  );
  return { masks: scope.keep(masks), iou: scope.keep(iou) };
}

/** The single mask of every prompt at the given size, f32 [M, size, size]. */
export function singleMasks({ masks }: SamMasks, size: number): Tensor {
  const low = slice(masks, 1, 0, 1);
  const resized = low.shape[2] === size && low.shape[3] === size
    ? low
    : resizeBilinear(low, size, size);
  return resized.reshape(-1, size, size);
}

/** Masks from prompts as a task for a trainer. @param places Must outlive the training. */
export function samTask(
  model: SamModel,
  places: SamPlaces,
  {
    source,
    pictures,
    masks,
    seed,
    findingShare = 0.75,
    nameShare = 0,
    boxShare = 0.5,
    weightDecay = 0.1,
  }: SamTaskOptions,
): TrainingTask<SamBatch> {
  const { input } = model;
  const pool = maskedPictures(input, source);
  return {
    parameters: samGroups(model, weightDecay),
    batches(step) {
      const random = stepRandom(seed, step, BATCH_DRAWS);
      const byName = nameShare > 0 && random.chance(nameShare);
      const form = byName ? undefined : drawForm(random, boxShare);
      const drawn = pool.draw(random, pictures);
      const asked = drawn.flatMap((picture, owner) => {
        const { structures, findings } = byName ? picture.named : picture;
        return Array.from({ length: masks }, (): AskedThing => {
          const thing = drawThing(structures, findings, findingShare, random);
          if (form === undefined) return { owner, thing };
          return { owner, thing, prompt: drawPrompt(thing, form, input.side, random) };
        });
      });
      return Promise.resolve([samBatch(input, places.gaussian, drawn, asked)]);
    },
    loss(batch) {
      const { device } = model.parameters;
      const decoded = samMasks(model, places, batch);
      const logits = singleMasks(decoded, batch.size);
      const targets = tensor(device, batch.targets, logits.shape);
      const { total, ...terms } = samLoss(logits, targets, slice(decoded.iou, 1, 0, 1));
      return { total, terms };
    },
    tokens: ({ owners }) => owners.length,
  };
}
