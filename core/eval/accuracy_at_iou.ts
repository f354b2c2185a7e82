/**
 * Share of boxes that are found at a threshold of the overlap.
 *
 * @module
 */
import { type Box, iou, iouInclusive, unionInclusive } from "./boxes.ts";
import { type LabelledBox, parseLabelledBoxes } from "./box_answers.ts";
import { StreamingMetric } from "./streaming.ts";

/** One image: what the system named and what there is. */
export interface LabelledImage {
  /** Boxes that the system named. */
  readonly predictions: readonly LabelledBox[];
  /** Boxes that there are. */
  readonly truths: readonly LabelledBox[];
}

/** How many ground-truth boxes an image has and how many were found, per class. */
export type FoundBoxes = Readonly<
  Record<string, { readonly found: number; readonly total: number }>
>;

/** Accuracy at a threshold, in total and per class. */
export interface AccuracyAtIou {
  /** Found boxes over all ground-truth boxes, 0 to 1; NaN without any. */
  readonly accuracy: number;
  /** Number of ground-truth boxes. */
  readonly total: number;
  /** Accuracy and number of boxes per class. */
  readonly classes: Readonly<Record<string, { readonly accuracy: number; readonly total: number }>>;
}

/** Which overlap counts as found. */
export interface AccuracyAtIouOptions {
  /** The overlap must be larger than this, or at least this with `strict: false`. */
  readonly threshold: number;
  /** The overlap of two boxes; {@linkcode iou} by default. */
  readonly measure?: (a: Box, b: Box) => number;
  /** Whether an overlap equal to the threshold is too small; true by default. */
  readonly strict?: boolean;
}

function foundBoxes(
  { predictions, truths }: LabelledImage,
  { threshold, measure = iou, strict = true }: AccuracyAtIouOptions,
): FoundBoxes {
  const found: Record<string, { found: number; total: number }> = Object.create(null);
  for (const { label, box } of truths) {
    const place = found[label] ??= { found: 0, total: 0 };
    place.total++;
    const hit = predictions.some((one) => {
      if (one.label !== label) return false;
      const value = measure(one.box, box);
      return strict ? value > threshold : value >= threshold;
    });
    if (hit) place.found++;
  }
  return found;
}

function summarise(images: readonly FoundBoxes[]): AccuracyAtIou {
  const sums = new Map<string, { found: number; total: number }>();
  let found = 0, total = 0;
  for (const image of images) {
    for (const [label, one] of Object.entries(image)) {
      const sum = sums.get(label) ?? { found: 0, total: 0 };
      sum.found += one.found;
      sum.total += one.total;
      found += one.found;
      total += one.total;
      sums.set(label, sum);
    }
  }
  const classes = Object.fromEntries(
    Array.from(sums, ([label, one]) => [
      label,
      { accuracy: one.found / one.total, total: one.total },
    ]),
  );
  return { accuracy: found / total, total, classes };
}

/**
 * Accuracy@IoU: a ground-truth box is found when any predicted box of its class overlaps it enough; a prediction may serve
 * several, and needless ones cost nothing. The denominator is every ground-truth box.
 */
export function accuracyAtIouMetric(
  options: AccuracyAtIouOptions,
): StreamingMetric<LabelledImage, FoundBoxes, AccuracyAtIou> {
  return new StreamingMetric((image) => foundBoxes(image, options), summarise);
}

/** An answer and the expected answer of one image, as text. */
export interface AnswerPair {
  /** The system's text. */
  readonly prediction: string;
  /** The expected text. */
  readonly reference: string;
}

/**
 * Accuracy@IoU as LiteGPT computes it (tables 3 and 6, `compute_accuracy`): boxes read from the texts, inclusive pixels on
 * the 0 to 100 grid, strictly larger than the threshold. An overlap with an empty union (reversed corners) ends its class
 * in that image, because the division error of the script is swallowed there. Fractions; the paper prints percent.
 */
export function accuracyAtIouLitegpt(
  threshold: number,
): StreamingMetric<AnswerPair, FoundBoxes, AccuracyAtIou> {
  return new StreamingMetric(({ prediction, reference }) => {
    const predictions = parseLabelledBoxes(prediction), truths = parseLabelledBoxes(reference);
    const found: Record<string, { found: number; total: number }> = Object.create(null);
    for (const label of new Set(truths.map((one) => one.label))) {
      const boxes = predictions.filter((one) => one.label === label).map(({ box }) => box);
      const wanted = truths.filter((one) => one.label === label).map(({ box }) => box);
      found[label] = { found: countFound(boxes, wanted, threshold), total: wanted.length };
    }
    return found;
  }, summarise);
}

function countFound(boxes: readonly Box[], wanted: readonly Box[], threshold: number): number {
  let found = 0;
  for (const truth of wanted) {
    for (const box of boxes) {
      if (unionInclusive(box, truth) === 0) return found;
      if (iouInclusive(box, truth) > threshold) {
        found++;
        break;
      }
    }
  }
  return found;
}
