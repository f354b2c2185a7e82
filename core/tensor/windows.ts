/**
 * Square windows of rasters.
 *
 * @module
 */
import { windowPartitionProgram, windowUnpartitionProgram } from "../kernels/windows.ts";
import { note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** Extents of the raster that windows came from. */
export interface RasterShape {
  /** Number of rasters. */
  readonly batch: number;
  /** Rows of tokens, before padding. */
  readonly height: number;
  /** Tokens in a row, before padding. */
  readonly width: number;
}

/**
 * Cuts a raster into windows, row by row of windows, with zeros right of and below it where the last ones stick out.
 *
 * @param x f32 [batch, height, width, channels].
 * @param size Side of a window in tokens.
 * @returns [batch * ceil(height / size) * ceil(width / size), size, size, channels].
 * @throws {RangeError} when `x` has other than four axes or `size` is not a positive integer.
 */
export function windowPartition(x: Tensor, size: number): Tensor {
  const [batch = 0, height = 0, width = 0, channels = 0] = x.shape;
  if (x.shape.length !== 4 || x.dtype !== "f32" || !Number.isInteger(size) || size < 1) {
    throw new RangeError(
      `Cannot cut ${x.dtype} ${
        shapeText(x.shape)
      } into windows of ${size}: expected f32 [batch, height, width, channels] and a positive size`,
    );
  }
  const windows = batch * Math.ceil(height / size) * Math.ceil(width / size);
  const output = empty(x.device, [windows, size, size, channels], "f32", "windows");
  const lanes = channels % 4 === 0 ? 4 : 1;
  x.device.dispatch(
    windowPartitionProgram(lanes),
    { input: x.range, output: output.range },
    { batch, height, width, columns: channels / lanes, size },
    [Math.ceil(output.size / lanes / 64)],
    { bytes: 4 * (x.size + output.size) },
  );
  note({
    name: "windowPartition",
    inputs: [x],
    outputs: [output],
    saved: [],
    // What sticks out was zero whatever the raster held.
    backward: ([gradient]) => [windowUnpartition(gradient!, size, { batch, height, width })],
  });
  return output;
}

/**
 * Puts windows back together and crops their padding: the inverse of {@linkcode windowPartition}.
 *
 * @param x f32 [windows, size, size, channels].
 * @returns [batch, height, width, channels].
 * @throws {RangeError} when the windows do not cover such a raster.
 */
export function windowUnpartition(
  x: Tensor,
  size: number,
  { batch, height, width }: RasterShape,
): Tensor {
  const windows = batch * Math.ceil(height / size) * Math.ceil(width / size);
  const [count, down, across, channels = 0] = x.shape;
  if (
    x.shape.length !== 4 || x.dtype !== "f32" || count !== windows || down !== size ||
    across !== size
  ) {
    throw new RangeError(
      `Cannot put windows ${x.dtype} ${
        shapeText(x.shape)
      } together to [${batch}, ${height}, ${width}, channels]: expected f32 [${windows}, ${size}, ${size}, channels]`,
    );
  }
  const output = empty(x.device, [batch, height, width, channels], "f32", "raster");
  const lanes = channels % 4 === 0 ? 4 : 1;
  x.device.dispatch(
    windowUnpartitionProgram(lanes),
    { input: x.range, output: output.range },
    { batch, height, width, columns: channels / lanes, size },
    [Math.ceil(output.size / lanes / 64)],
    { bytes: 8 * output.size },
  );
  note({
    name: "windowUnpartition",
    inputs: [x],
    outputs: [output],
    saved: [],
    // What was cropped has no influence.
    backward: ([gradient]) => [windowPartition(gradient!, size)],
  });
  return output;
}
