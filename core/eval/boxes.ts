/**
 * Overlap of axis-aligned boxes in any number of dimensions, in the conventions that the papers use.
 *
 * @module
 */

/**
 * A box: the smallest corner, then the largest, so (x1, y1, x2, y2) in 2D and (x1, y1, z1, x2, y2, z2) in 3D. Any unit.
 */
export type Box = readonly number[];

interface Overlap {
  readonly intersection: number;
  readonly sizeA: number;
  readonly sizeB: number;
}

/** Sizes with `extra` added to every side: 0 for continuous coordinates, 1 for inclusive pixels. */
function overlap(a: Box, b: Box, extra: number): Overlap {
  const dims = a.length / 2;
  if (a.length !== b.length || !Number.isInteger(dims) || dims < 1) {
    throw new RangeError(
      `Cannot compare boxes of ${a.length} and ${b.length} numbers: expected the same even number of both`,
    );
  }
  let intersection = 1, sizeA = 1, sizeB = 1;
  for (let i = 0; i < dims; i++) {
    const low = Math.max(a[i], b[i]), high = Math.min(a[dims + i], b[dims + i]);
    intersection *= Math.max(0, high - low + extra);
    sizeA *= a[dims + i] - a[i] + extra;
    sizeB *= b[dims + i] - b[i] + extra;
  }
  return { intersection, sizeA, sizeB };
}

/** A ratio whose denominator may be 0: then 0. */
const ratio = (part: number, whole: number): number => whole === 0 ? 0 : part / whole;

/**
 * Intersection over union of continuous boxes, 0 to 1; 0 when both are empty.
 *
 * @throws {RangeError} for boxes of different or odd lengths, as all functions here.
 */
export function iou(a: Box, b: Box): number {
  const { intersection, sizeA, sizeB } = overlap(a, b, 0);
  return ratio(intersection, sizeA + sizeB - intersection);
}

/** Dice coefficient 2 |A ∩ B| / (|A| + |B|) of continuous boxes, 0 to 1; 0 when both are empty. */
export function dice(a: Box, b: Box): number {
  const { intersection, sizeA, sizeB } = overlap(a, b, 0);
  return ratio(2 * intersection, sizeA + sizeB);
}

/**
 * IoU with inclusive pixels: one is added to every width and height (MiniGPT-4 and PeFoMed `computeIoU`, LiteGPT
 * `compute_accuracy`). Corners are neither sorted nor clipped, so reversed boxes give values outside 0 to 1.
 */
export function iouInclusive(a: Box, b: Box): number {
  const { intersection, sizeA, sizeB } = overlap(a, b, 1);
  return ratio(intersection, sizeA + sizeB - intersection);
}

/** The union behind {@linkcode iouInclusive}; 0 or less only for reversed corners. */
export function unionInclusive(a: Box, b: Box): number {
  const { intersection, sizeA, sizeB } = overlap(a, b, 1);
  return sizeA + sizeB - intersection;
}

/** Dice with inclusive pixels (PeFoMed `computeDice`); see {@linkcode iouInclusive}. */
export function diceInclusive(a: Box, b: Box): number {
  const { intersection, sizeA, sizeB } = overlap(a, b, 1);
  return ratio(2 * intersection, sizeA + sizeB);
}

/** The smallest step of float32 at 1: what MONAI adds to denominators. */
const float32Epsilon = 2 ** -23;

/** Size of the smallest box around both. */
function hull(a: Box, b: Box): number {
  const dims = a.length / 2;
  let size = 1;
  for (let i = 0; i < dims; i++) {
    size *= Math.max(a[dims + i], b[dims + i]) - Math.min(a[i], b[i]);
  }
  return size;
}

/**
 * Generalised IoU (Rezatofighi et al., CVPR 2019): IoU minus the share of the hull that neither box covers; -1 to 1. Two
 * empty boxes at one place give 0. The loss of VividMed is 1 - GIoU, which is what its printed "mean GIoU" of 1.43 must be.
 */
export function giou(a: Box, b: Box): number {
  const { intersection, sizeA, sizeB } = overlap(a, b, 0);
  const union = sizeA + sizeB - intersection, around = hull(a, b);
  return ratio(intersection, union) - ratio(around - union, around);
}

/** IoU as MONAI computes it: the smallest float32 step is added to the union (`monai/data/box_utils.py box_iou`). */
export function iouMonai(a: Box, b: Box): number {
  const { intersection, sizeA, sizeB } = overlap(a, b, 0);
  return intersection / (sizeA + sizeB - intersection + float32Epsilon);
}

/** GIoU as MONAI computes it: the smallest float32 step is added to both denominators (`box_giou`). */
export function giouMonai(a: Box, b: Box): number {
  const { intersection, sizeA, sizeB } = overlap(a, b, 0);
  const union = sizeA + sizeB - intersection, around = hull(a, b);
  return intersection / (union + float32Epsilon) - (around - union) / (around + float32Epsilon);
}

/** A measure of every box of one list with every box of another: rows for `a`, columns for `b`. */
export function pairwise(
  measure: (a: Box, b: Box) => number,
  a: readonly Box[],
  b: readonly Box[],
): number[][] {
  return a.map((one) => b.map((other) => measure(one, other)));
}

/** Corners to centre and size: (x1, y1, x2, y2) to (cx, cy, w, h), likewise in 3D. */
export function centreSize(box: Box): number[] {
  const dims = box.length / 2;
  return [
    ...Array.from({ length: dims }, (_, i) => (box[i] + box[dims + i]) / 2),
    ...Array.from({ length: dims }, (_, i) => box[dims + i] - box[i]),
  ];
}

/** Centre and size to corners; the inverse of {@linkcode centreSize}. */
export function cornersOf(box: Box): number[] {
  const dims = box.length / 2;
  return [
    ...Array.from({ length: dims }, (_, i) => box[i] - box[dims + i] / 2),
    ...Array.from({ length: dims }, (_, i) => box[i] + box[dims + i] / 2),
  ];
}

/** Mean absolute difference of the centre-and-size numbers of two boxes (the L1 distance of VividMed). */
export function boxL1(a: Box, b: Box): number {
  const [one, other] = [centreSize(a), centreSize(b)];
  return one.reduce((sum, value, i) => sum + Math.abs(value - other[i]), 0) / one.length;
}
