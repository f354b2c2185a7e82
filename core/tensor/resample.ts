/**
 * Resizing, pooling and cropping of images on the device.
 *
 * @module
 */
import { type ResampleMode, resampleProgram } from "../kernels/resample.ts";
import { resampleGradientProgram } from "../kernels/resample_gradient.ts";
import { note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** Options of the smooth resizing modes. */
export interface ResizeOptions {
  /** The corner pixels of input and output coincide; otherwise pixel areas do. Default false. */
  readonly alignCorners?: boolean;
}

/**
 * Bilinear resizing without antialiasing, as `torch.nn.functional.interpolate(mode="bilinear")`.
 *
 * @param x [B, C, H, W]
 * @returns [B, C, height, width]
 * @throws {RangeError} when `x` is not such a tensor or a size is not a positive integer.
 */
export function resizeBilinear(
  x: Tensor,
  height: number,
  width: number,
  { alignCorners = false }: ResizeOptions = {},
): Tensor {
  return resample("bilinear", x, height, width, alignCorners);
}

/**
 * Bicubic resizing (a = -0.75) without antialiasing, as `torch.nn.functional.interpolate(mode="bicubic")`. Values may
 * overshoot the input's range.
 *
 * @param x [B, C, H, W]
 * @returns [B, C, height, width]
 * @throws {RangeError} as {@linkcode resizeBilinear} does.
 */
export function resizeBicubic(
  x: Tensor,
  height: number,
  width: number,
  { alignCorners = false }: ResizeOptions = {},
): Tensor {
  return resample("bicubic", x, height, width, alignCorners);
}

/**
 * Nearest-neighbour resizing, as `torch.nn.functional.interpolate(mode="nearest")`: pixel i comes from floor(i * H / height).
 *
 * @param x [B, C, H, W]
 * @returns [B, C, height, width]
 * @throws {RangeError} as {@linkcode resizeBilinear} does.
 */
export function resizeNearest(x: Tensor, height: number, width: number): Tensor {
  return resample("nearest", x, height, width, false);
}

/**
 * Means over a grid of windows that cover the input, as `torch.nn.functional.adaptive_avg_pool2d`.
 *
 * @param x [B, C, H, W]
 * @returns [B, C, height, width]
 * @throws {RangeError} as {@linkcode resizeBilinear} does.
 */
export function adaptiveAvgPool2d(x: Tensor, height: number, width: number): Tensor {
  return resample("average", x, height, width, false);
}

/**
 * A window of every plane.
 *
 * @param x [B, C, H, W]
 * @param top First row of the window, from 0.
 * @param left First column of the window, from 0.
 * @returns [B, C, height, width]
 * @throws {RangeError} when the window leaves the input.
 */
export function crop2d(
  x: Tensor,
  top: number,
  left: number,
  height: number,
  width: number,
): Tensor {
  const [, , rows, columns] = x.shape as [number, number, number, number];
  const inside = Number.isInteger(top) && Number.isInteger(left) && top >= 0 && left >= 0 &&
    top + height <= rows && left + width <= columns;
  if (!inside) {
    throw new RangeError(
      `Cannot crop ${height} x ${width} pixels at (${top}, ${left}) from ${shapeText(x.shape)}`,
    );
  }
  return resample("crop", x, height, width, false, top, left);
}

function resample(
  mode: ResampleMode,
  x: Tensor,
  outHeight: number,
  outWidth: number,
  aligned: boolean,
  top = 0,
  left = 0,
): Tensor {
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  if (
    x.shape.length !== 4 || x.dtype !== "f32" || !(height > 0 && width > 0) ||
    !Number.isInteger(outHeight) || !Number.isInteger(outWidth) || outHeight < 1 || outWidth < 1
  ) {
    throw new RangeError(
      `Cannot resample ${
        shapeText(x.shape)
      } (${x.dtype}) to ${outHeight} x ${outWidth}: expected f32 [B, C, H, W] and positive sizes`,
    );
  }
  const y = empty(x.device, [batch, channels, outHeight, outWidth], "f32", mode);
  const scaleY = scaleOf(height, outHeight, aligned), scaleX = scaleOf(width, outWidth, aligned);
  x.device.dispatch(
    resampleProgram(mode, aligned),
    { input: x.range, output: y.range },
    { count: y.size, height, width, outHeight, outWidth, top, left, scaleY, scaleX },
    [Math.ceil(y.size / 64)],
    {
      flops: y.size * { crop: 0, nearest: 0, bilinear: 7, bicubic: 40, average: 1 }[mode],
      bytes: 4 * (x.size + y.size),
    },
  );
  note({
    name: mode,
    inputs: [x],
    outputs: [y],
    saved: [],
    backward([gradient]) {
      const planes = batch * channels;
      const rows = axisGradient(mode, aligned, gradient!, {
        outer: planes,
        length: height,
        outLength: outHeight,
        inner: outWidth,
        first: top,
      });
      return [
        axisGradient(mode, aligned, rows, {
          outer: planes * height,
          length: width,
          outLength: outWidth,
          inner: 1,
          first: left,
        }),
      ];
    },
  });
  return y;
}

/** Input positions per output position, rounded to float32. */
function scaleOf(input: number, output: number, aligned: boolean): number {
  return Math.fround(!aligned ? input / output : output > 1 ? (input - 1) / (output - 1) : 0);
}

/** Carries a gradient [outer, outLength, inner] back over one axis: [outer, length, inner]. */
function axisGradient(
  mode: ResampleMode,
  aligned: boolean,
  gradient: Tensor,
  { outer, length, outLength, inner, first }: {
    readonly outer: number;
    readonly length: number;
    readonly outLength: number;
    readonly inner: number;
    readonly first: number;
  },
): Tensor {
  // Equal lengths leave every value where it is, in every mode.
  if (length === outLength) return gradient;
  const dx = empty(gradient.device, [outer, length, inner], "f32", `${mode} gradient`);
  const scale = mode === "crop" ? 1 : scaleOf(length, outLength, aligned);
  gradient.device.dispatch(
    resampleGradientProgram(mode, aligned),
    { input: gradient.range, output: dx.range },
    {
      count: dx.size,
      length,
      outLength,
      inner,
      first,
      scale,
      inverse: scale === 0 ? 0 : 1 / scale,
      origin: first,
      shift: aligned || mode === "crop" ? 0 : 0.5,
    },
    [Math.ceil(dx.size / 64)],
    { flops: 12 * gradient.size, bytes: 4 * (gradient.size + dx.size) },
  );
  return dx;
}
