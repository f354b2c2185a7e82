/**
 * Where a language model should look when it answers: the state before an answer is matched with the rows of the picture that show
 * what it is about, that before each coordinate of a box with the rows that the edge runs through. Answers alone say it too, but a
 * small model takes long to find out what digits, or yes and no, have to do with the picture. Grounding by matching a state of the
 * language model with image features is that of LISA's and MedPLIB's `<SEG>` token (Lai et al., 2024), here for answers in text and
 * only while training.
 *
 * @module
 */
import type { Box, Raster } from "@medvlm/core";
import {
  imageRowCount,
  type MinigptBatch,
  type MinigptConfig,
  type MinigptSample,
} from "@medvlm/core/minigpt";
import { evaGrid, sampleOf } from "@medvlm/core/nn";
import {
  add,
  fill,
  gatherRows,
  matmul,
  multiply,
  pixelLoss,
  reduceMean,
  rowIndex,
  type Tensor,
  tensor,
} from "@medvlm/core/tensor";
import type { LlamaTokenizer } from "@medvlm/core/text";
import { edgesOf } from "./patch_names.ts";
import { cellsOfBox, type Grid, rareWeight } from "./patch_task.ts";

/** What states of a batch should point at. */
export interface Pointing {
  /** Rows of the batch whose states point [N]. */
  readonly rows: Int32Array<ArrayBuffer>;
  /** Which of all rows of its pictures each should point at [N, rows of pictures], 0 or 1. */
  readonly targets: Float32Array<ArrayBuffer>;
  /** Weights of the targets, in the mean 1: 0 for the rows of other pictures. */
  readonly weights: Float32Array<ArrayBuffer>;
}

/** A sample with what it is about. */
export interface PointingSample {
  /** The sample. */
  readonly sample: MinigptSample;
  /** Its picture. */
  readonly image: Raster;
  /** Number of the picture among those of the batch. */
  readonly picture: number;
  /** Boxes of what it is about, none where that is absent; undefined where it is about nothing in particular. */
  readonly shows: readonly Box[] | undefined;
  /** Whether the answer is the one box of these. */
  readonly boxed: boolean;
  /** Of every word of size in the answer, in their order: boxes of what it is said of. */
  readonly sizes?: readonly (readonly Box[])[];
}

/**
 * Which coordinate each token of an answer is part of: 0 to 3 for digits of x1, y1, x2, y2, undefined for all others.
 *
 * @param pieces The answer's tokens as text.
 */
export function coordinatesOf(pieces: readonly string[]): (number | undefined)[] {
  let opened = 0;
  return pieces.map((piece) => {
    const coordinate = /^\d/.test(piece) && opened >= 1 && opened <= 4 ? opened - 1 : undefined;
    opened += piece.split("<").length - 1;
    return coordinate;
  });
}

/** A state of a batch and the rows of a picture that show what comes next. */
export interface PointingState {
  /** Row of the batch. */
  readonly row: number;
  /** Number of the picture. */
  readonly picture: number;
  /** Which of the picture's rows; none where what is asked for is absent. */
  readonly at: readonly number[];
  /** Where the next token is read off an edge of a box: that of which coordinate, see {@linkcode coordinatesOf}. */
  readonly coordinate?: number;
}

/** Rows of a picture by what is on them. */
export interface RowsOf {
  /** Rows that boxes cover. */
  readonly covered: (boxes: readonly Box[]) => number[];
  /** Rows that the edges of boxes run through: by coordinate, x1, y1, x2, y2. */
  readonly edges: (boxes: readonly Box[]) => number[][];
}

/** Rows of a picture for a model. */
export function rowsOf(image: Raster, { vision, patchesPerRow }: MinigptConfig): RowsOf {
  const side = evaGrid(vision), grid: Grid = [side, side / patchesPerRow];
  const covered = (boxes: readonly Box[]) => [
    ...new Set(boxes.flatMap((box) => cellsOfBox(box, image, grid))),
  ];
  const order = ["left", "top", "right", "bottom"] as const;
  return {
    covered,
    edges(boxes) {
      const all = boxes.flatMap((box) => edgesOf(image, box, side));
      return order.map((one) =>
        covered(all.filter(({ side }) => side === one).map(({ box }) => box))
      );
    },
  };
}

/** Of every sample the rows of its batch whose states the tokens of its answer come from. */
export type AnswerRows = readonly (readonly number[])[];

/** Rows of the answers in a batch. @param samples Those of the batch, in its order. */
export function answerRows(
  samples: readonly PointingSample[],
  batch: MinigptBatch,
): AnswerRows {
  const rows = Map.groupBy(batch.targetRows, (row) => sampleOf(batch, row));
  return samples.map(({ sample: { answer } }, s) => {
    const own = rows.get(s)!;
    if (own.length !== answer.length) {
      throw new TypeError("The samples of a batch are not in its order");
    }
    return own;
  });
}

/**
 * States that know where to look: those before an answer look at all rows of what it is about, those before the digits of a box at the
 * rows of the edge.
 *
 * @param samples Those of a batch.
 * @param answers Rows of the answers, as {@linkcode answerRows} has them.
 */
export function pointingStates(
  samples: readonly PointingSample[],
  answers: AnswerRows,
  tokenizer: LlamaTokenizer,
  config: MinigptConfig,
): PointingState[] {
  return samples.flatMap(({ sample: { answer }, image, picture, shows, boxed }, s) => {
    if (shows === undefined) return [];
    const rows = answers[s]!, { covered, edges: edgesAt } = rowsOf(image, config);
    const whole = { row: rows[0]!, picture, at: covered(shows) };
    if (!boxed) return [whole];
    const edges = edgesAt(shows);
    const digits = coordinatesOf(answer.map((id) => tokenizer.idToToken(id)))
      .flatMap((coordinate, t) =>
        coordinate === undefined
          ? []
          : { row: rows[t]!, picture, at: edges[coordinate]!, coordinate }
      );
    return [whole, ...digits];
  });
}

/** Where states should point, over the rows of all pictures; undefined where there are no such states. */
export function pointingOf(
  states: readonly PointingState[],
  config: MinigptConfig,
): Pointing | undefined {
  if (states.length === 0) return undefined;
  const perPicture = imageRowCount(config);
  const all = perPicture * (1 + Math.max(...states.map(({ picture }) => picture)));
  const targets = new Float32Array(states.length * all), weights = new Float32Array(targets.length);
  states.forEach(({ picture, at }, n) => {
    const { there, elsewhere } = rareWeight(at.length, perPicture);
    // Over the rows of all pictures the mean is 1, too.
    const pictures = all / perPicture, start = n * all + picture * perPicture;
    weights.fill(pictures * elsewhere, start, start + perPicture);
    for (const row of at) {
      targets[start + row] = 1;
      weights[start + row] = pictures * there;
    }
  });
  return { rows: Int32Array.from(states, ({ row }) => row), targets, weights };
}

/** Logit of a row that has nothing of the state: most rows are not pointed at. */
const nothing = -2;

/**
 * How far states are from pointing where they should: cross-entropy of every row, f32 [1].
 *
 * @param hidden States of the batch [rows, H].
 * @param pictures Rows of its pictures [rows of pictures, H].
 * @param pointer From states to what they point at [H, H], trained along.
 */
export function pointingLoss(
  { rows, targets, weights }: Pointing,
  hidden: Tensor,
  pictures: Tensor,
  pointer: Tensor,
): Tensor {
  const { device } = hidden;
  const states = matmul(gatherRows(hidden, rowIndex(device, rows)), pointer);
  const products = matmul(states, pictures, { transposeB: true });
  const logits = add(products, fill(device, products.shape, nothing));
  const each = pixelLoss(logits, tensor(device, targets, logits.shape), { form: "bce" });
  const weighted = multiply(each, tensor(device, weights, logits.shape));
  return reduceMean(weighted.reshape(1, -1), 1);
}
