/**
 * Normalisation of tensors.
 *
 * @module
 */
import type { BufferRange } from "../device/mod.ts";
import { normProgram, type NormVariant } from "../kernels/norm.ts";
import { planeNormProgram, planeTiling } from "../kernels/plane_norm.ts";
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import { add } from "./elementwise.ts";
import { planeNormGradients, rowNormGradients } from "./norm_gradient.ts";
import { isDifferentiated, note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** A sum of two tensors and its normalised rows. */
export interface SumAndNorm {
  /** x + residual. */
  readonly sum: Tensor;
  /** The norm of the sum. */
  readonly norm: Tensor;
}

function checkScale(
  operation: string,
  x: Tensor,
  channels: number,
  scales: Readonly<Record<string, Tensor | undefined>>,
): void {
  for (const [name, scale] of Object.entries(scales)) {
    if (scale !== undefined && (scale.shape.length !== 1 || scale.shape[0] !== channels)) {
      throw new RangeError(
        `Cannot ${operation} ${shapeText(x.shape)} with a ${name} of shape ${
          shapeText(scale.shape)
        }: expected [${channels}]`,
      );
    }
  }
}

function normaliseRows(
  kind: NormVariant["kind"],
  operation: string,
  x: Tensor,
  residual: Tensor | undefined,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  eps: number,
): { sum: Tensor | undefined; norm: Tensor } {
  const columns = x.shape.at(-1);
  if (columns === undefined || x.dtype !== "f32") {
    throw new RangeError(
      `Cannot ${operation} a ${x.dtype} tensor of shape ${
        shapeText(x.shape)
      }: expected f32 [..., C]`,
    );
  }
  checkScale(operation, x, columns, { weight, bias });
  if (residual !== undefined && shapeText(residual.shape) !== shapeText(x.shape)) {
    throw new RangeError(
      `Cannot ${operation} ${shapeText(x.shape)} and ${
        shapeText(residual.shape)
      }: expected equal shapes`,
    );
  }
  if (residual !== undefined && isDifferentiated(x, residual, weight, bias)) {
    const sum = add(x, residual);
    return { sum, norm: normaliseRows(kind, operation, sum, undefined, weight, bias, eps).norm };
  }
  const { device } = x;
  const norm = empty(device, x.shape, "f32", operation);
  const sum = residual === undefined ? undefined : empty(device, x.shape, "f32", operation);
  if (x.size === 0) return { sum, norm };
  const rows = x.size / columns;
  const team = rowTeam(device.capabilities, columns % 4 === 0 ? columns / 4 : columns);
  const ranges: Record<string, BufferRange> = { input: x.range, output: norm.range };
  if (weight !== undefined) ranges.weight = weight.range;
  if (bias !== undefined) ranges.bias = bias.range;
  if (residual !== undefined) ranges.residual = residual.range;
  if (sum !== undefined) ranges.sum = sum.range;
  device.dispatch(
    normProgram({
      kind,
      columns,
      weight: weight !== undefined,
      bias: bias !== undefined,
      residual: residual !== undefined,
      team,
    }),
    ranges,
    { rows, eps },
    [teamGroups(team, rows)],
    { flops: 8 * x.size, bytes: (residual === undefined ? 8 : 16) * x.size },
  );
  note({
    name: operation,
    inputs: [x, weight, bias],
    outputs: [norm],
    saved: weight === undefined ? [x] : [x, weight],
    backward: ([gradient], wanted) =>
      rowNormGradients(kind, { x, weight, eps, gradient: gradient! }, wanted),
  });
  return { sum, norm };
}

/**
 * Layer normalisation of the last axis: (x - mean) / sqrt(variance + eps) * weight + bias.
 *
 * @param x f32 [..., C].
 * @param weight f32 [C], ones when absent.
 * @param bias f32 [C], zeros when absent.
 * @param eps Added to the variance, such as 1e-5.
 * @returns Shape of `x`.
 * @throws {RangeError} when the shapes do not fit.
 */
export function layerNorm(
  x: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  eps: number,
): Tensor {
  return normaliseRows("layer", "layerNorm", x, undefined, weight, bias, eps).norm;
}

/**
 * Root-mean-square normalisation of the last axis: x / sqrt(mean(x^2) + eps) * weight.
 *
 * @param x f32 [..., C].
 * @param weight f32 [C], ones when absent.
 * @param eps Added to the mean square, such as 1e-6.
 * @returns Shape of `x`.
 * @throws {RangeError} when the shapes do not fit.
 */
export function rmsNorm(x: Tensor, weight: Tensor | undefined, eps: number): Tensor {
  return normaliseRows("rms", "rmsNorm", x, undefined, weight, undefined, eps).norm;
}

/**
 * {@linkcode rmsNorm} of x + residual in one pass over memory; the sum comes back too, as the next residual.
 *
 * @throws {RangeError} when the shapes do not fit.
 */
export function addRmsNorm(
  x: Tensor,
  residual: Tensor,
  weight: Tensor | undefined,
  eps: number,
): SumAndNorm {
  const { sum, norm } = normaliseRows("rms", "addRmsNorm", x, residual, weight, undefined, eps);
  return { sum: sum!, norm };
}

/**
 * {@linkcode layerNorm} of x + residual in one pass over memory; the sum comes back too, as the next residual.
 *
 * @throws {RangeError} when the shapes do not fit.
 */
export function addLayerNorm(
  x: Tensor,
  residual: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  eps: number,
): SumAndNorm {
  const { sum, norm } = normaliseRows("layer", "addLayerNorm", x, residual, weight, bias, eps);
  return { sum: sum!, norm };
}

/**
 * Layer normalisation over the channels of every pixel, as in the neck and decoder of Segment Anything.
 *
 * @param x f32 [B, C, H, W].
 * @param weight f32 [C], ones when absent.
 * @param bias f32 [C], zeros when absent.
 * @param eps Added to the variance, such as 1e-6.
 * @returns Shape of `x`.
 * @throws {RangeError} when the shapes do not fit.
 */
export function layerNorm2d(
  x: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  eps: number,
): Tensor {
  if (x.shape.length !== 4 || x.dtype !== "f32") {
    throw new RangeError(
      `Cannot layerNorm2d a ${x.dtype} tensor of shape ${
        shapeText(x.shape)
      }: expected f32 [B, C, H, W]`,
    );
  }
  const [images, channels, height, width] = x.shape as readonly [number, number, number, number];
  checkScale("layerNorm2d", x, channels, { weight, bias });
  const { device } = x;
  const y = empty(device, x.shape, "f32", "layerNorm2d");
  if (x.size === 0) return y;
  const pixels = height * width;
  const tiling = planeTiling(device.capabilities, pixels, channels);
  const ranges: Record<string, BufferRange> = { input: x.range, output: y.range };
  if (weight !== undefined) ranges.weight = weight.range;
  if (bias !== undefined) ranges.bias = bias.range;
  device.dispatch(
    planeNormProgram({
      channels,
      weight: weight !== undefined,
      bias: bias !== undefined,
      tiling,
    }),
    ranges,
    { images, pixels, eps },
    [Math.ceil(images * pixels / tiling.width / tiling.columns)],
    { flops: 8 * x.size, bytes: 8 * x.size },
  );
  note({
    name: "layerNorm2d",
    inputs: [x, weight, bias],
    outputs: [y],
    saved: weight === undefined ? [x] : [x, weight],
    backward: ([gradient], wanted) =>
      planeNormGradients({ x, weight, eps, gradient: gradient! }, wanted),
  });
  return y;
}
