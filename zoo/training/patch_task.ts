/**
 * Pretraining of a vision tower by matching its patches with names (the pixel-text matching of Rao et al., "DenseCLIP", 2022, and
 * Li et al., "LSeg", 2022, with a table in place of a text tower): contrast of whole pictures alone needs batches and steps that a
 * small machine does not have. Trained are the patches that the language model will see.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import type { Parameters } from "@medvlm/core/nn";
import {
  add,
  concat,
  diceLoss,
  fill,
  matmul,
  multiply,
  permute,
  pixelLoss,
  reduceMean,
  type Tensor,
  tensor,
  weightedSum,
} from "@medvlm/core/tensor";
import {
  type BatchLoss,
  decayGroups,
  decaysLinearWeights,
  type TrainingTask,
} from "@medvlm/core/train";
import type { Box, Mask } from "@medvlm/core";
import type { ChestPhantom } from "../phantoms/mod.ts";
import { conceptEmbeddings, conceptTable } from "./concepts.ts";
import type { PartRecipe } from "./part_runner.ts";
import {
  digitNames,
  edgeNames,
  namesTogether,
  type PatchNames,
  pictureNames,
  thingNames,
} from "./patch_names.ts";
import { greySquare, normalisedSquares, type SquareInput } from "./pictures.ts";
import { phantomPool, type PhantomSource, type Pool, stepRandom } from "./pool.ts";

/** A vision tower that is trained, and what it is matched with. */
export interface PatchModel {
  /** Holds the tower. */
  readonly parameters: Parameters;
  /** Names of the trained parameters: those that the patches depend on. */
  readonly trained: readonly string[];
  /** Patches of pictures [B, 3, S, S], row by row of the grid: [B * rows * columns, width]. */
  readonly patches: (pixels: Tensor) => Tensor;
  /** Rows and columns of the grid. */
  readonly grid: Grid;
  /** What patches are matched with. */
  readonly names: PatchNames;
  /** Embeddings of the names, trained along [names, width]; where there are `words`, of the names after theirs. */
  readonly concepts: Tensor;
  /** Embeddings of the first names that stay as they are [names, width]. */
  readonly words?: Tensor;
  /** How near a patch is to a name: `scale` times the product of the two, and `bias` more. */
  readonly nearness: { readonly scale: number; readonly bias: number };
  /** How the tower wants its pictures. */
  readonly input: SquareInput;
}

/** What a cosine matches patches with. @param side Patches along a side of the picture. */
export function recipeNames({ picture, edges, digits }: PatchRecipe, side: number) {
  return namesTogether(
    thingNames,
    ...picture ? [pictureNames] : [],
    ...edges ? [edgeNames(side)] : [],
    ...digits ? [digitNames] : [],
  );
}

/** What patches are matched with by name, and how. */
export type Matching = Pick<PatchModel, "names" | "concepts" | "words" | "nearness">;

/** Names whose embeddings are learned along with the patches, from a fresh table. */
export function freshNames(device: Device, names: PatchNames, width: number, seed: number) {
  return {
    names,
    concepts: conceptEmbeddings(device, width, seed, { count: names.names.length }),
    nearness: { scale: 1 / Math.sqrt(width), bias: 0 },
  } satisfies Matching;
}

/** Rows and columns. */
export type Grid = readonly [rows: number, columns: number];

/** How patches, or rows of them, are matched. */
export interface MatchingRecipe extends PartRecipe {
  /**
   * Whether a name's patches weigh the more, the rarer they are: by the square root of how many others there are to each. Without it
   * names of a few patches are learned only once everything else is.
   */
  readonly weighRare?: boolean;
}

/** A cosine of the matching. */
export interface PatchRecipe extends MatchingRecipe {
  /** Whether patches are matched with what is anywhere in the picture too. */
  readonly picture?: boolean;
  /** Whether they are matched with the edges of findings' boxes too. */
  readonly edges?: boolean;
  /** Whether they are matched with the digits that those edges are written with too. */
  readonly digits?: boolean;
}

/** Folder of a cosine. */
export const patchPart = (cycle: number) => `patches-${cycle + 1}`;

/** What is kept of a phantom. */
export interface MarkedPicture {
  /** Grey, at the side of the tower's input. */
  readonly picture: Uint8Array;
  /** Which patches show what [rows * columns, names], 0 or 1. */
  readonly marks: Uint8Array;
}

/** Pictures and what their patches show. */
export interface PatchBatch {
  /** Normalised [B, 3, S, S]. */
  readonly pixels: Float32Array<ArrayBuffer>;
  /** [B * rows * columns, names], 0 or 1. */
  readonly targets: Float32Array<ArrayBuffer>;
}

/** How a tower is pretrained. */
export interface PatchTaskOptions extends Pick<MatchingRecipe, "weighRare"> {
  /** Phantoms to draw from. */
  readonly source: PhantomSource;
  /** Pictures per step. */
  readonly batch: number;
  /** Of the draws. */
  readonly seed: number;
  /** Decay of matrices. Default 0.1. */
  readonly weightDecay?: number;
}

/** Marks the draws of batches. */
const BATCH_DRAWS = 0x70617463;

/** Cells of a grid that hold a pixel of the mask. */
function cellsOf({ width, height, data }: Mask, [rows, columns]: Grid): Set<number> {
  const cells = new Set<number>();
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] === 0) continue;
      cells.add(Math.floor(y * rows / height) * columns + Math.floor(x * columns / width));
    }
  }
  return cells;
}

/** Cells of a grid that a box covers in part. @param size Of the picture. */
export function cellsOfBox(
  [left, top, right, bottom]: Box,
  { width, height }: Pick<Mask, "width" | "height">,
  [rows, columns]: Grid,
): number[] {
  const cells: number[] = [];
  const cell = (at: number, parts: number, length: number) => Math.floor(at * parts / length);
  for (let y = cell(top, rows, height); y <= cell(bottom - 1, rows, height); y++) {
    for (let x = cell(left, columns, width); x <= cell(right - 1, columns, width); x++) {
      cells.push(y * columns + x);
    }
  }
  return cells;
}

/** What training keeps of a phantom. */
export function markedPicture(
  phantom: ChestPhantom,
  { input, grid, names: { names, of } }: Pick<PatchModel, "input" | "grid" | "names">,
): MarkedPicture {
  const count = names.length, marks = new Uint8Array(grid[0] * grid[1] * count);
  for (const { name, mask } of of(phantom)) {
    for (const cell of cellsOf(mask, grid)) marks[cell * count + names.indexOf(name)] = 1;
  }
  return { picture: greySquare(phantom.image, input.side), marks };
}

/** Phantoms with what their patches show, for training and for {@linkcode probePatches}. */
export function markedPictures(
  model: Pick<PatchModel, "input" | "grid" | "names">,
  source: PhantomSource,
): Pool<MarkedPicture> {
  return phantomPool(source, (phantom) => markedPicture(phantom, model));
}

/** A batch of pictures. */
export function patchBatch(
  { input }: Pick<PatchModel, "input">,
  pictures: readonly MarkedPicture[],
): PatchBatch {
  return {
    pixels: normalisedSquares(pictures.map(({ picture }) => picture), input),
    targets: Float32Array.from(pictures.flatMap(({ marks }) => [...marks])),
  };
}

/**
 * Weights of a name's patches where it is and elsewhere: by the square root of how many others there are to each, in the mean 1.
 *
 * @param count Patches where it is.
 * @param all All patches.
 */
export function rareWeight(count: number, all: number): { there: number; elsewhere: number } {
  if (count === 0 || count === all) return { there: 1, elsewhere: 1 };
  const ratio = Math.sqrt((all - count) / count);
  const elsewhere = all / (count * ratio + all - count);
  return { there: elsewhere * ratio, elsewhere };
}

/** Weights of targets [patches, names] by how rare each is among those of its name. */
export function rareWeights(targets: Float32Array, names: number): Float32Array<ArrayBuffer> {
  const counts = new Float64Array(names);
  targets.forEach((target, i) => counts[i % names]! += target);
  const weights = Array.from(counts, (count) => rareWeight(count, targets.length / names));
  return Float32Array.from(targets, (target, i) => {
    const { there, elsewhere } = weights[i % names]!;
    return target === 0 ? elsewhere : there;
  });
}

/** How well each patch goes with each name, logits [B * rows * columns, names]. */
export function patchLogits(
  { patches, concepts, words, input: { side }, nearness: { scale, bias } }: PatchModel,
  pixels: Tensor,
): Tensor {
  using scope = pixels.device.scope();
  const rows = patches(pixels.reshape(-1, 3, side, side));
  const table = words === undefined ? concepts : concat([words, concepts], 0);
  const products = matmul(rows, table, { transposeB: true, scale });
  return scope.keep(add(products, fill(pixels.device, products.shape, bias)));
}

/** How far patches are from their names: cross-entropy of each and Dice. @param targets As the logits, 0 or 1. */
export function matchingLoss(
  logits: Tensor,
  targets: Float32Array<ArrayBuffer>,
  weighRare: boolean,
): BatchLoss {
  const { device, shape } = logits, wanted = tensor(device, targets, shape);
  const mean = (values: Tensor) => reduceMean(values.reshape(1, -1), 1);
  const each = pixelLoss(logits, wanted, { form: "bce" });
  const weights = weighRare ? rareWeights(targets, shape[1]!) : undefined;
  const pixel = mean(weights ? multiply(each, tensor(device, weights, each.shape)) : each);
  // Rare findings cover few patches of a batch; each name counts alike here.
  const dice = mean(
    diceLoss(permute(logits, [1, 0]), permute(wanted, [1, 0]), { form: "smooth", axes: 1 }),
  );
  const total = weightedSum([{ value: pixel, weight: 5 }, { value: dice, weight: 1 }]);
  return { total, terms: { pixel, dice } };
}

/** Matching of patches and names as a task for a trainer. */
export function patchTask(
  model: PatchModel,
  { source, batch, seed, weightDecay = 0.1, weighRare = false }: PatchTaskOptions,
): TrainingTask<PatchBatch> {
  const pool = markedPictures(model, source);
  const { parameters, trained, concepts } = model;
  const named = trained.map((name) => ({ name, value: parameters.value(name) }));
  return {
    parameters: [
      ...decayGroups(named, decaysLinearWeights, weightDecay),
      { parameters: [{ name: conceptTable, value: concepts }] },
    ],
    batches(step) {
      const pictures = pool.draw(stepRandom(seed, step, BATCH_DRAWS), batch);
      return Promise.resolve([patchBatch(model, pictures)]);
    },
    loss({ pixels, targets }) {
      const { device } = parameters;
      const logits = patchLogits(model, tensor(device, pixels));
      return matchingLoss(logits, targets, weighRare);
    },
    tokens: ({ targets }) => targets.length / model.names.names.length,
  };
}

/** Dice of the patches that are thought to show each name, over all held-out pictures together; `mean` over the names. */
export async function probePatches(
  model: PatchModel,
  source: PhantomSource,
): Promise<Readonly<Record<string, number>>> {
  const pool = markedPictures(model, source);
  const pictures = Array.from({ length: source.count }, (_, n) => pool.at(n));
  const { pixels, targets } = patchBatch(model, pictures);
  const { device } = model.parameters;
  let reading: Promise<Float32Array>;
  {
    using _scope = device.scope();
    reading = patchLogits(model, tensor(device, pixels)).readFloats();
  }
  const logits = await reading, names = model.names.names.length;
  const both = new Float64Array(names), either = new Float64Array(names);
  logits.forEach((logit, i) => {
    const found = logit > 0 ? 1 : 0, name = i % names;
    both[name]! += 2 * found * targets[i]!;
    either[name]! += found + targets[i]!;
  });
  // What no picture has, and nobody thinks it has, says nothing.
  const dice = model.names.names.map((name, n) => [name, both[n]! / either[n]!] as const)
    .filter(([, value]) => !Number.isNaN(value));
  const mean = dice.reduce((sum, [, value]) => sum + value, 0) / dice.length;
  return { mean, ...Object.fromEntries(dice) };
}
