/**
 * Features of image regions.
 *
 * @module
 */
import { planeTiling } from "../kernels/plane_norm.ts";
import { sampleMeanProgram } from "../kernels/region.ts";
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
  const { device } = features;
  const y = empty(device, [channels], "f32", "region feature");
  const tiling = planeTiling(device.capabilities, channels, count);
  device.dispatch(
    sampleMeanProgram(tiling),
    { input: features.range, points: points.range, output: y.range },
    { rows, columns, channels, count },
    [Math.ceil(channels / tiling.width / tiling.columns)],
    { flops: 12 * count * channels, bytes: 4 * (4 * count * channels + 2 * count + channels) },
  );
  return y;
}
