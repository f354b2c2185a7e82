/**
 * Surface distances weighted by surface area (Nikolov et al., "Clinically applicable segmentation of head and neck anatomy",
 * 2018; DeepMind's `surface-distance`), which the evaluation of SAT, the source of VividMed's pseudo labels, uses. Surface
 * elements lie between voxels, so these numbers differ from those of {@linkcode surfaceDistances}. Masks have three axes.
 *
 * @module
 */
import { squaredDistances } from "./distance_transform.ts";
import { cropPair, type ShapedMask } from "./mask_crop.ts";

/** Distances of the surface elements of one mask to the other's surface, ascending, with their areas. */
export interface SurfaceElements {
  /** In units of the spacing. */
  readonly distances: Float64Array;
  /** In squared units of the spacing. */
  readonly areas: Float64Array;
}

/** Surface elements of both masks; none for an empty mask. */
export interface SurfaceElementPair {
  /** Elements of the prediction's surface. */
  readonly prediction: SurfaceElements;
  /** Elements of the truth's surface. */
  readonly truth: SurfaceElements;
}

/**
 * The triangles that marching cubes puts between eight voxels: for every arrangement of corners up to rotation, reflection
 * and exchange of inside and outside, the area vectors in eighths of a voxel face. Corner (i, j, k) is the bit
 * 128 >> (4 i + 2 j + k).
 */
const triangles: readonly (readonly [corners: number, vectors: string])[] = [
  [0b00000000, ""],
  [0b00000001, "111"],
  [0b00000011, "220 220"],
  [0b00000110, "111 111"],
  [0b00000111, "111 222 400"],
  [0b00001111, "400 400"],
  [0b00010110, "111 111 111"],
  [0b00010111, "111 111 222 222"],
  [0b00011000, "111 111"],
  [0b00011001, "022 022 111"],
  [0b00011011, "022 111 202 333"],
  [0b00011110, "111 111 222 400"],
  [0b00111100, "220 220 220 220"],
  [0b01101001, "111 111 111 111"],
];

const axisOrders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] as const;

/** Where a corner goes when axes are exchanged and those of `flips` are reversed. */
function moveCorners(corners: number, order: readonly number[], flips: number): number {
  let moved = 0;
  for (let corner = 0; corner < 8; corner++) {
    if ((corners & (128 >> corner)) === 0) continue;
    const place = order.reduce(
      (sum, from, axis) => sum | (((corner >> (2 - from)) & 1) << (2 - axis)),
      0,
    );
    moved |= 128 >> (place ^ flips);
  }
  return moved;
}

/** Area of the surface between eight voxels, for all 256 arrangements. */
function elementAreas([a, b, c]: readonly number[]): Float64Array {
  const faces = [b * c, a * c, a * b];
  const areas = new Float64Array(256);
  for (const [corners, text] of triangles) {
    const vectors = text.split(" ").filter((one) => one !== "");
    for (const order of axisOrders) {
      const area = vectors.reduce((sum, vector) =>
        sum +
        Math.hypot(...order.map((from, axis) => Number(vector[from]) / 8 * faces[axis])), 0);
      for (let flips = 0; flips < 8; flips++) {
        const moved = moveCorners(corners, order, flips);
        areas[moved] = areas[255 - moved] = area;
      }
    }
  }
  return areas;
}

/** At every meeting point of eight voxels, which of them are inside; the shape has one point less per axis than voxels. */
function arrangements(mask: Uint8Array, [a, b, c]: readonly number[]): Uint8Array {
  const codes = new Uint8Array((a - 1) * (b - 1) * (c - 1));
  let at = 0;
  for (let i = 0; i + 1 < a; i++) {
    for (let j = 0; j + 1 < b; j++) {
      for (let k = 0; k + 1 < c; k++, at++) {
        for (let corner = 0; corner < 8; corner++) {
          const voxel = ((i + (corner >> 2)) * b + j + ((corner >> 1) & 1)) * c + k + (corner & 1);
          if (mask[voxel] === 1) codes[at] |= 128 >> corner;
        }
      }
    }
  }
  return codes;
}

function elements(codes: Uint8Array, squared: Float64Array, areas: Float64Array): SurfaceElements {
  const found: [distance: number, area: number][] = [];
  codes.forEach((code, i) => {
    if (code !== 0 && code !== 255) found.push([Math.sqrt(squared[i]), areas[code]]);
  });
  found.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return {
    distances: Float64Array.from(found, ([distance]) => distance),
    areas: Float64Array.from(found, ([, area]) => area),
  };
}

/**
 * The surface elements of two masks with three axes.
 *
 * @param spacing size of a voxel along every axis, in the order of the shape; SAT takes (1, 1, 3)
 * @throws {RangeError} for masks of different shapes or not three axes.
 */
export function surfaceElements(
  prediction: ShapedMask,
  truth: ShapedMask,
  spacing: readonly number[],
): SurfaceElementPair {
  if (truth.shape.length !== 3 || spacing.length !== 3 || !spacing.every((step) => step > 0)) {
    throw new RangeError(
      `Cannot measure surface areas of shape [${truth.shape}] with the spacing [${spacing}]: expected three axes and three positive numbers`,
    );
  }
  const cropped = cropPair(prediction, truth);
  if (cropped === undefined) {
    const none = { distances: new Float64Array(), areas: new Float64Array() };
    return { prediction: none, truth: none };
  }
  const areas = elementAreas(spacing);
  const points = cropped.shape.map((size) => size - 1);
  const predicted = arrangements(cropped.prediction, cropped.shape);
  const wanted = arrangements(cropped.truth, cropped.shape);
  const marks = (codes: Uint8Array) => codes.map((code) => code !== 0 && code !== 255 ? 1 : 0);
  return {
    prediction: elements(predicted, squaredDistances(marks(wanted), points, spacing), areas),
    truth: elements(wanted, squaredDistances(marks(predicted), points, spacing), areas),
  };
}

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);

/** Mean distance of a surface weighted by area; Infinity when the other mask is empty, NaN when this one is. */
export function areaWeightedDistance({ distances, areas }: SurfaceElements): number {
  return distances.reduce((before, distance, i) => before + distance * areas[i], 0) / sum(areas);
}

/** Distance within which `percentile` percent of the area lies; Infinity for an empty mask. */
function areaPercentile({ distances, areas }: SurfaceElements, percentile: number): number {
  if (distances.length === 0) return Infinity;
  const total = sum(areas);
  let below = 0;
  for (let i = 0; i < areas.length; i++) {
    below += areas[i];
    if (below / total >= percentile / 100) return distances[i];
  }
  return distances[distances.length - 1];
}

/** Hausdorff distance at a percentile of the area, the larger of both directions; Infinity when a mask is empty. */
export function areaHausdorffDistance(pair: SurfaceElementPair, percentile = 95): number {
  return Math.max(
    areaPercentile(pair.prediction, percentile),
    areaPercentile(pair.truth, percentile),
  );
}

/**
 * Surface Dice by area, 0 to 1, as SAT computes it: the share of both surfaces within `tolerance` of the other; 1 when both
 * masks are empty, 0 when one is.
 */
export function areaSurfaceDice(pair: SurfaceElementPair, tolerance: number): number {
  const total = sum(pair.prediction.areas) + sum(pair.truth.areas);
  if (total === 0) return 1;
  const near = ({ distances, areas }: SurfaceElements) =>
    areas.reduce((before, area, i) => distances[i] <= tolerance ? before + area : before, 0);
  return (near(pair.prediction) + near(pair.truth)) / total;
}
