/**
 * Overlap of masks, in any number of dimensions: the textbook ratios, MONAI's rules for empty masks (VividMed), and
 * MedPLIB's validation.
 *
 * @module
 */
import { mean } from "./means.ts";
import { StreamingMetric } from "./streaming.ts";

/** A mask: zero is background. Any shape, laid out alike in both masks of a pair. */
export type MaskData = ArrayLike<number>;

/** Sizes of two masks, in voxels. */
export interface MaskCounts {
  /** Voxels in both masks. */
  readonly intersection: number;
  /** Voxels in either mask. */
  readonly union: number;
  /** Voxels of the prediction. */
  readonly predicted: number;
  /** Voxels of the ground truth. */
  readonly wanted: number;
  /** All voxels. */
  readonly total: number;
}

/** Counts the voxels of two masks. @throws {RangeError} when their lengths differ. */
export function maskCounts(prediction: MaskData, truth: MaskData): MaskCounts {
  if (prediction.length !== truth.length) {
    throw new RangeError(
      `Cannot compare masks of ${prediction.length} and ${truth.length} voxels: expected the same shape`,
    );
  }
  let intersection = 0, predicted = 0, wanted = 0;
  for (let i = 0; i < truth.length; i++) {
    if (prediction[i] !== 0) predicted++;
    if (truth[i] === 0) continue;
    wanted++;
    if (prediction[i] !== 0) intersection++;
  }
  return {
    intersection,
    union: predicted + wanted - intersection,
    predicted,
    wanted,
    total: truth.length,
  };
}

/**
 * What an empty ground truth scores: `undefined` gives NaN, to be left out of means (MONAI's default, VividMed); `compare`
 * gives 1 when the prediction is empty too and 0 otherwise (MONAI with `ignore_empty=False`).
 */
export type EmptyRule = "undefined" | "compare";

function unlessEmpty(
  { wanted, predicted }: MaskCounts,
  rule: EmptyRule,
  score: () => number,
): number {
  if (wanted > 0) return score();
  if (rule === "undefined") return NaN;
  return predicted === 0 ? 1 : 0;
}

/** Dice 2 |A ∩ B| / (|A| + |B|), 0 to 1, as MONAI's `compute_dice` treats empty ground truths. */
export function maskDice(counts: MaskCounts, empty: EmptyRule = "undefined"): number {
  return unlessEmpty(
    counts,
    empty,
    () => 2 * counts.intersection / (counts.predicted + counts.wanted),
  );
}

/** IoU |A ∩ B| / |A ∪ B|, 0 to 1, as MONAI's `compute_iou` treats empty ground truths. */
export function maskIou(counts: MaskCounts, empty: EmptyRule = "undefined"): number {
  return unlessEmpty(counts, empty, () => counts.intersection / counts.union);
}

/** IoU as MedPLIB scores a sample: 0 when both masks are empty, where the published function fails. */
export function maskIouMedplib({ intersection, union }: MaskCounts): number {
  return union === 0 ? 0 : intersection / union;
}

/** Dice as MedPLIB computes it, from the IoU of the sample: 2 IoU / (1 + IoU). */
export function maskDiceMedplib(counts: MaskCounts): number {
  const value = maskIouMedplib(counts);
  return 2 * value / (1 + value);
}

/** Intersection and union of background and foreground, as `intersectionAndUnion` of the LISA family returns them. */
export function backgroundForeground(
  { intersection, union, total }: MaskCounts,
): { intersection: [number, number]; union: [number, number] } {
  // Background: everything outside either mask.
  return {
    intersection: [total - union, intersection],
    union: [total - intersection, union],
  };
}

/** What a sample adds to gIoU: I / (U + 1e-5), or 1 for an empty union, for background and foreground. */
export function giouTerms(counts: MaskCounts): [background: number, foreground: number] {
  const { intersection, union } = backgroundForeground(counts);
  const term = (i: 0 | 1) => intersection[i] / (union[i] + 1e-5) + (union[i] === 0 ? 1 : 0);
  return [term(0), term(1)];
}

/** What MedPLIB's training prints while validating, for the foreground. */
export interface ValidationIou {
  /** Mean over samples of {@linkcode giouTerms}: "gIoU" in the LISA family, not the generalised IoU of boxes. */
  readonly gIou: number;
  /** Sum of intersections over sum of unions. */
  readonly cIou: number;
  /** Mean of {@linkcode maskIouMedplib}. */
  readonly iou: number;
  /** Mean of {@linkcode maskDiceMedplib}: mDice. */
  readonly dice: number;
}

/**
 * gIoU, cIoU, mean IoU and mDice over samples (`train_ds_medplib.py validate`, `vqa_infer.py validate_seg`). Masks are the
 * caller's: MedPLIB cuts the sigmoid at 0.1, VividMed at 0.5.
 */
export function validationIouMetric(): StreamingMetric<
  { readonly prediction: MaskData; readonly truth: MaskData },
  MaskCounts,
  ValidationIou
> {
  return new StreamingMetric(
    ({ prediction, truth }) => maskCounts(prediction, truth),
    (samples) => {
      const sum = (of: (one: MaskCounts) => number) =>
        samples.reduce((before, one) => before + of(one), 0);
      return {
        gIou: sum((one) => giouTerms(one)[1]) / (samples.length + 1e-5),
        cIou: sum((one) => one.intersection) / (sum((one) => one.union) + 1e-10),
        iou: mean(samples.map(maskIouMedplib)),
        dice: mean(samples.map(maskDiceMedplib)),
      };
    },
  );
}

/** Mean of the numbers among the values, leaving out NaN as MONAI's metrics do; NaN when there is none. */
export function meanOfDefined(values: readonly number[]): number {
  return mean(values.filter((value) => !Number.isNaN(value)));
}
