/**
 * Gradients of normalisation: what `norm.ts` notes on the tape.
 *
 * @module
 */
import type { BufferRange } from "../device/mod.ts";
import {
  normGradientProgram,
  type NormGradientVariant,
  normScaleGradientProgram,
} from "../kernels/norm_gradient.ts";
import {
  planeNormGradientProgram,
  planeScaleGradientProgram,
} from "../kernels/plane_norm_gradient.ts";
import { planeTiling } from "../kernels/plane_norm.ts";
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import { reduceSum, sumRows } from "./reduction.ts";
import { empty, type Tensor } from "./tensor.ts";

/** A norm and the gradient that arrived at its result. */
export interface NormBackward {
  /** Input of the norm. */
  readonly x: Tensor;
  /** [C] or absent. */
  readonly weight: Tensor | undefined;
  /** Added to the variance. */
  readonly eps: number;
  /** Of the result, in the shape of `x`. */
  readonly gradient: Tensor;
}

/** Gradients of x, weight and bias, in this order; those not wanted are undefined. */
export type NormGradients = readonly [Tensor?, Tensor?, Tensor?];

type Wanted = readonly boolean[];

/** Gradients of a norm of the rows of x [..., C]. */
export function rowNormGradients(
  kind: NormGradientVariant["kind"],
  { x, weight, eps, gradient }: NormBackward,
  [wantsX = false, wantsWeight = false, wantsBias = false]: Wanted,
): NormGradients {
  const { device } = x;
  const columns = x.shape.at(-1)!, rows = x.size / columns;
  const width = columns % 4 === 0 ? 4 : 1, loads = columns / width;
  const team = rowTeam(device.capabilities, loads);
  const dx = wantsX ? empty(device, x.shape, "f32", "norm gradient") : undefined;
  const statistics = wantsWeight ? empty(device, [rows, 4], "f32", "norm statistics") : undefined;
  if (dx !== undefined || statistics !== undefined) {
    const variant = {
      kind,
      columns,
      weight: weight !== undefined,
      input: dx !== undefined,
      statistics: statistics !== undefined,
      team,
    };
    device.dispatch(
      normGradientProgram(variant),
      present({
        input: x,
        gradient: dx && gradient,
        weight: dx && weight,
        output: dx,
        statistics,
      }),
      { rows, eps },
      [teamGroups(team, rows)],
      { flops: 14 * x.size, bytes: 12 * x.size },
    );
  }
  if (!wantsWeight && !wantsBias) return [dx];

  // As many blocks as rows in a block: both steps of the sum are short.
  const block = Math.ceil(Math.sqrt(rows)), blocks = Math.ceil(rows / block);
  const parts = () => empty(device, [blocks, columns], "f32", "norm gradient parts");
  const weightParts = wantsWeight ? parts() : undefined;
  const biasParts = wantsBias ? parts() : undefined;
  device.dispatch(
    normScaleGradientProgram({ weight: wantsWeight, bias: wantsBias, width }),
    present({ gradient, input: wantsWeight ? x : undefined, statistics, weightParts, biasParts }),
    { rows, columns: loads, block, blocks },
    [Math.ceil(blocks * loads / 64)],
    { flops: 5 * x.size, bytes: 8 * x.size },
  );
  return [dx, weightParts && sumRows(weightParts), biasParts && sumRows(biasParts)];
}

/** Gradients of a norm over the channels of x [B, C, H, W]. */
export function planeNormGradients(
  { x, weight, eps, gradient }: NormBackward,
  [wantsX = false, wantsWeight = false, wantsBias = false]: Wanted,
): NormGradients {
  const { device } = x;
  const [images, channels, height, columns] = x.shape as readonly [number, number, number, number];
  const pixels = height * columns;
  const dx = wantsX ? empty(device, x.shape, "f32", "layerNorm2d gradient") : undefined;
  const statistics = wantsWeight
    ? empty(device, [3, images, pixels], "f32", "layerNorm2d statistics")
    : undefined;
  if (dx !== undefined || statistics !== undefined) {
    const tiling = planeTiling(device.capabilities, pixels, channels);
    const variant = {
      channels,
      weight: weight !== undefined,
      input: dx !== undefined,
      statistics: statistics !== undefined,
      tiling,
    };
    device.dispatch(
      planeNormGradientProgram(variant),
      present({
        input: x,
        gradient: dx && gradient,
        weight: dx && weight,
        output: dx,
        statistics,
      }),
      { images, pixels, eps },
      [Math.ceil(images * pixels / tiling.width / tiling.columns)],
      { flops: 14 * x.size, bytes: 12 * x.size },
    );
  }
  if (statistics === undefined) return [dx, undefined, wantsBias ? sumPlanes(gradient) : undefined];

  const width = pixels % 4 === 0 ? 4 : 1, rows = images * channels;
  const team = rowTeam(device.capabilities, pixels / width);
  const weightParts = empty(device, [images, channels], "f32", "norm gradient parts");
  const biasParts = empty(device, [images, channels], "f32", "norm gradient parts");
  device.dispatch(
    planeScaleGradientProgram(team, width),
    present({ input: x, gradient, statistics, weightParts, biasParts }),
    { rows, channels, pixels },
    [teamGroups(team, rows)],
    { flops: 5 * x.size, bytes: 8 * x.size },
  );
  return [dx, sumRows(weightParts), wantsBias ? sumRows(biasParts) : undefined];
}

/** Sum of x [B, C, H, W] over everything but the channels, plane by plane, then over the images. */
export function sumPlanes(x: Tensor): Tensor {
  const [images, channels] = x.shape as readonly [number, number];
  const planes = reduceSum(x.reshape(images, channels, -1), 2);
  return images === 1 ? planes.reshape(channels) : sumRows(planes);
}

function present(
  tensors: Readonly<Record<string, Tensor | undefined>>,
): Record<string, BufferRange> {
  const ranges: Record<string, BufferRange> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    if (tensor !== undefined) ranges[name] = tensor.range;
  }
  return ranges;
}
