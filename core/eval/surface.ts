/**
 * Distances between the borders of two masks, as MONAI measures them: a border voxel belongs to the mask and touches, by a
 * face, a voxel outside it or the end of the image.
 *
 * @module
 */
import { quantile } from "./bootstrap.ts";
import { squaredDistances } from "./distance_transform.ts";
import { cropPair, type ShapedMask } from "./mask_crop.ts";
import { mean } from "./means.ts";

/** How far every border voxel of one mask is from the border of the other; Infinity when the other is empty. */
export interface SurfaceDistances {
  /** From the prediction's border, in the order of its voxels. */
  readonly predictionToTruth: Float64Array;
  /** From the truth's border, in the order of its voxels. */
  readonly truthToPrediction: Float64Array;
}

/** The border voxels of a mask that does not touch the end of its image. */
function border(mask: Uint8Array, shape: readonly number[]): Uint8Array {
  const edge = new Uint8Array(mask.length);
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] === 1 && strides.some((step) => mask[i - step] === 0 || mask[i + step] === 0)) {
      edge[i] = 1;
    }
  }
  return edge;
}

function distancesAt(places: Uint8Array, squared: Float64Array): Float64Array {
  const found: number[] = [];
  for (let i = 0; i < places.length; i++) if (places[i] === 1) found.push(Math.sqrt(squared[i]));
  return Float64Array.from(found);
}

/**
 * The distances of every border voxel to the other mask's border.
 *
 * @param spacing size of a voxel along every axis, in the order of the shape; 1 by default
 * @throws {RangeError} for masks of different shapes, or a spacing of another length.
 */
export function surfaceDistances(
  prediction: ShapedMask,
  truth: ShapedMask,
  spacing: readonly number[] = truth.shape.map(() => 1),
): SurfaceDistances {
  if (spacing.length !== truth.shape.length || !spacing.every((step) => step > 0)) {
    throw new RangeError(
      `Cannot measure surfaces with the spacing [${spacing}]: expected ${truth.shape.length} positive numbers`,
    );
  }
  const cropped = cropPair(prediction, truth);
  if (cropped === undefined) {
    return { predictionToTruth: new Float64Array(), truthToPrediction: new Float64Array() };
  }
  const { shape } = cropped;
  const predicted = border(cropped.prediction, shape), wanted = border(cropped.truth, shape);
  return {
    predictionToTruth: distancesAt(predicted, squaredDistances(wanted, shape, spacing)),
    truthToPrediction: distancesAt(wanted, squaredDistances(predicted, shape, spacing)),
  };
}

/** Infinity when one mask alone is empty, NaN when both are, else the value. */
function unlessEmpty(
  { predictionToTruth, truthToPrediction }: SurfaceDistances,
  value: () => number,
): number {
  if (predictionToTruth.length > 0 && truthToPrediction.length > 0) return value();
  return predictionToTruth.length + truthToPrediction.length === 0 ? NaN : Infinity;
}

/** Average surface distance from the prediction to the truth, in units of the spacing (MONAI `compute_average_surface_distance`). */
export function averageSurfaceDistance(distances: SurfaceDistances): number {
  return unlessEmpty(distances, () => mean(distances.predictionToTruth));
}

/** Average symmetric surface distance: the mean over both borders together (the same with `symmetric=True`). */
export function averageSymmetricSurfaceDistance(distances: SurfaceDistances): number {
  const { predictionToTruth, truthToPrediction } = distances;
  return unlessEmpty(
    distances,
    () =>
      (mean(predictionToTruth) * predictionToTruth.length +
        mean(truthToPrediction) * truthToPrediction.length) /
      (predictionToTruth.length + truthToPrediction.length),
  );
}

/**
 * Hausdorff distance, the larger of the two directions, in units of the spacing. With a percentile (95 for HD95) every
 * direction's quantile is taken, interpolated linearly; MONAI's is NaN when either mask is empty, and so is this.
 */
export function hausdorffDistance(distances: SurfaceDistances, percentile = 100): number {
  if (!(percentile > 0 && percentile <= 100)) {
    throw new RangeError(
      `Cannot take the percentile ${percentile}: expected more than 0, at most 100`,
    );
  }
  const value = unlessEmpty(distances, () =>
    Math.max(
      ...[distances.predictionToTruth, distances.truthToPrediction].map((one) =>
        quantile(one.toSorted(), percentile / 100)
      ),
    ));
  return percentile < 100 && value === Infinity ? NaN : value;
}

/**
 * Normalised surface distance (surface Dice): the share of border voxels of both masks within `tolerance` of the other
 * border, 0 to 1 (MONAI `compute_surface_dice`); NaN when both masks are empty.
 */
export function normalisedSurfaceDistance(
  { predictionToTruth, truthToPrediction }: SurfaceDistances,
  tolerance: number,
): number {
  const near = (distances: Float64Array) =>
    distances.reduce((count, distance) => distance <= tolerance ? count + 1 : count, 0);
  return (near(predictionToTruth) + near(truthToPrediction)) /
    (predictionToTruth.length + truthToPrediction.length);
}
