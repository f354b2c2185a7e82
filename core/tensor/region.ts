/**
 * Features of image regions.
 *
 * @module
 */
import type { BufferRange } from "../device/mod.ts";
import { planeTiling } from "../kernels/plane_norm.ts";
import {
  sampleGradientProgram,
  sampleMeanProgram,
  sampleWeightsProgram,
} from "../kernels/region.ts";
import { isDifferentiated, note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/**
 * Mean of bilinear samples of a feature grid, cells outside counting as zero: `grid_sample` with aligned corners on
 * positions already in cell units.
 *
 * @param features f32 [rows * columns, C], cells in raster order.
 * @param grid Rows and columns.
 * @param points f32 [n, 2]: (row, column) in cells, 0 being the centre of the first cell.
 * @param count How many of the points to use, from the first on; 0 gives zeros.
 * @returns [C].
 * @throws {RangeError} when the shapes do not fit.
 * @throws {TypeError} when the points depend on a leaf of a differentiation: they have no gradient.
 */
export function sampleGridMean(
  features: Tensor,
  grid: readonly [number, number],
  points: Tensor,
  count: number,
): Tensor {
  const [rows, columns] = grid, channels = features.shape[1];
  if (
    features.shape.length !== 2 || channels === undefined || features.dtype !== "f32" ||
    features.shape[0] !== rows * columns || points.dtype !== "f32" || points.shape.length !== 2 ||
    points.shape[1] !== 2 || !Number.isInteger(count) || count < 0 || count > points.shape[0]!
  ) {
    throw new RangeError(
      `Cannot sampleGridMean ${features.dtype} ${
        shapeText(features.shape)
      } as a grid of ${rows} x ${columns} at ${count} points of ${points.dtype} ${
        shapeText(points.shape)
      }: expected f32 [${rows * columns}, C] and at least ${count} points [n, 2]`,
    );
  }
  return sample(features.reshape(1, -1, channels), grid, points, undefined, count)
    .reshape(channels);
}

/**
 * {@linkcode sampleGridMean} of many regions of many images at once.
 *
 * @param features f32 [B, rows * columns, C], cells in raster order.
 * @param grid Rows and columns.
 * @param points f32 [n, 2], the points of all regions: (row, column) in cells.
 * @param regions u32 [R, 3], for every region its image, its first point and how many there are from that one on; 0 points give
 * zeros. What lies outside of `features` and `points` is undefined.
 * @returns [R, C].
 * @throws {RangeError} when the shapes do not fit.
 * @throws {TypeError} when the points depend on a leaf of a differentiation: they have no gradient.
 */
export function sampleGridMeans(
  features: Tensor,
  grid: readonly [number, number],
  points: Tensor,
  regions: Tensor,
): Tensor {
  const [rows, columns] = grid;
  if (
    features.shape.length !== 3 || features.dtype !== "f32" ||
    features.shape[1] !== rows * columns || points.dtype !== "f32" || points.shape.length !== 2 ||
    points.shape[1] !== 2 || regions.dtype !== "u32" || regions.shape.length !== 2 ||
    regions.shape[1] !== 3
  ) {
    throw new RangeError(
      `Cannot sampleGridMeans ${features.dtype} ${
        shapeText(features.shape)
      } as grids of ${rows} x ${columns} at ${points.dtype} ${
        shapeText(points.shape)
      } in regions ${regions.dtype} ${shapeText(regions.shape)}: expected f32 [B, ${
        rows * columns
      }, C], f32 [n, 2] and u32 [R, 3]`,
    );
  }
  return sample(features, grid, points, regions, 0);
}

function sample(
  features: Tensor,
  [rows, columns]: readonly [number, number],
  points: Tensor,
  regions: Tensor | undefined,
  count: number,
): Tensor {
  if (isDifferentiated(points)) {
    throw new TypeError("Cannot differentiate region features by their points");
  }
  const { device } = features;
  const [images, cells, channels] = features.shape as readonly [number, number, number];
  const regionCount = regions?.shape[0] ?? 1;
  const y = empty(device, [regionCount, channels], "f32", "region feature");
  const total = regions === undefined ? count : points.shape[0]!;
  const table: Record<string, BufferRange> = regions === undefined
    ? {}
    : { regions: regions.range };
  const sizes = { regionCount, rows, columns, channels, count };
  if (y.size > 0) {
    const tiling = planeTiling(device.capabilities, channels, Math.ceil(total / regionCount));
    device.dispatch(
      sampleMeanProgram(tiling, regions !== undefined),
      { input: features.range, points: points.range, ...table, output: y.range },
      sizes,
      [Math.ceil(y.size / tiling.width / tiling.columns)],
      { flops: 12 * total * channels, bytes: 4 * (4 * total * channels + 2 * total + y.size) },
    );
  }
  note({
    name: "sampleGridMean",
    inputs: [features],
    outputs: [y],
    saved: regions === undefined ? [points] : [points, regions],
    backward([gradient]) {
      const weights = empty(device, [regionCount, cells], "f32", "region weights");
      if (weights.size > 0) {
        device.dispatch(
          sampleWeightsProgram(regions !== undefined),
          { points: points.range, ...table, output: weights.range },
          sizes,
          [Math.ceil(weights.size / 64)],
          { flops: 6 * total * cells, bytes: 4 * weights.size },
        );
      }
      const dx = empty(device, features.shape, "f32", "region gradient");
      const width = channels % 4 === 0 ? 4 : 1;
      device.dispatch(
        sampleGradientProgram(regions !== undefined, width),
        { weights: weights.range, gradient: gradient!.range, ...table, output: dx.range },
        { regionCount, cells, channels, count: dx.size / width },
        [Math.ceil(dx.size / width / 64)],
        { flops: 2 * regionCount * dx.size / Math.max(1, images), bytes: 4 * dx.size },
      );
      return [dx];
    },
  });
  return y;
}
