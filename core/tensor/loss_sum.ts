/**
 * Losses made of other losses.
 *
 * @module
 */
import type { BufferRange } from "../device/mod.ts";
import { mostTerms, weightedSumProgram } from "../kernels/loss_sum.ts";
import { scale } from "./elementwise.ts";
import { diceLoss, pixelLoss } from "./loss_masks.ts";
import { fill } from "./movement.ts";
import { reduceMean } from "./reduction.ts";
import { note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** A term of a {@linkcode weightedSum}. */
export interface LossTerm {
  /** f32. */
  readonly value: Tensor;
  /** Factor. A term with the factor 0 is left out: it adds nothing, NaN included, and gets no gradient. */
  readonly weight: number;
}

/**
 * The sum of weight * value over terms of one shape.
 *
 * @returns f32 in the shape of the values.
 * @throws {RangeError} when the shapes differ, or no term has a weight.
 */
export function weightedSum(terms: readonly LossTerm[]): Tensor {
  const kept = terms.filter(({ weight }) => weight !== 0);
  const first = kept[0]?.value;
  if (
    first === undefined ||
    kept.some(({ value }) =>
      value.dtype !== "f32" || shapeText(value.shape) !== shapeText(first.shape)
    )
  ) {
    throw new RangeError(
      `Cannot add ${
        terms.map(({ value, weight }) => `${weight} * ${value.dtype} ${shapeText(value.shape)}`)
          .join(" + ") || "no terms"
      }: expected f32 of one shape, at least one with a weight`,
    );
  }
  if (kept.length > mostTerms) {
    const head = weightedSum(kept.slice(0, mostTerms));
    return weightedSum([{ value: head, weight: 1 }, ...kept.slice(mostTerms)]);
  }
  const { device } = first;
  const output = empty(device, first.shape, "f32", "weighted sum");
  const ranges: Record<string, BufferRange> = {};
  const parameters: Record<string, number> = { count: first.size };
  for (const [n, { value, weight }] of kept.entries()) {
    ranges[`term${n}`] = value.range;
    parameters[`weight${n}`] = weight;
  }
  device.dispatch(
    weightedSumProgram(kept.length),
    { ...ranges, output: output.range },
    parameters,
    [Math.ceil(first.size / 64)],
    { flops: 2 * kept.length * first.size, bytes: 4 * (kept.length + 1) * first.size },
  );
  note({
    name: "weightedSum",
    inputs: kept.map(({ value }) => value),
    outputs: [output],
    saved: [],
    backward: ([gradient], wanted) =>
      kept.map(({ weight }, n) =>
        !wanted[n] ? undefined : weight === 1 ? gradient : scale(gradient!, weight)
      ),
  });
  return output;
}

/** Settings of {@linkcode diceFocalLoss}. */
export interface DiceFocalOptions {
  /** Weight of the Dice term. */
  readonly dice: number;
  /** Weight of the focal term. */
  readonly focal: number;
  /** Exponent of the focal loss; below 1e-8 the term is plain binary cross-entropy, without alpha. Default 2. */
  readonly gamma?: number;
  /** Weight of positive voxels, 1 - alpha of the others. Default: none. */
  readonly alpha?: number;
  /** Keeps the first axis instead of the mean over it. Default false. */
  readonly perSample?: boolean;
}

/** Terms of {@linkcode diceFocalLoss}: f32 [1], or [N] per sample. */
export interface DiceFocalLoss {
  /** Mean Dice loss. */
  readonly dice: Tensor;
  /** Mean focal loss or binary cross-entropy. */
  readonly focal: Tensor;
  /** The weighted sum. */
  readonly total: Tensor;
}

/**
 * VividMed's mask loss: Dice without smoothing, mean over samples and channels, and sigmoid focal loss, mean over all voxels.
 *
 * Source: VividMed `mmmm/models/loss.py` (`DiceFocalLoss`).
 *
 * @param logits f32 [N, C, voxels...].
 * @param targets f32 of the same shape; undefined: nothing to find, so that Dice is 1 and all voxels are background.
 * @throws {RangeError} when shapes do not fit.
 */
export function diceFocalLoss(
  logits: Tensor,
  targets: Tensor | undefined,
  { dice, focal, gamma = 2, alpha, perSample = false }: DiceFocalOptions,
): DiceFocalLoss {
  const [samples, channels] = logits.shape;
  if (logits.shape.length < 3) {
    throw new RangeError(
      `Cannot compute mask losses of ${shapeText(logits.shape)}: expected [N, C, voxels...]`,
    );
  }
  const voxels = logits.shape.length - 2;
  const plain = gamma < 1e-8;
  const overMasks = (losses: Tensor) =>
    reduceMean(losses.reshape(...(perSample ? [samples!, channels!] : [1, -1])), 1);
  const focalTerm = overMasks(pixelLoss(logits, targets, {
    form: plain ? "bce" : "focal",
    gamma,
    ...(plain || alpha === undefined ? {} : { alpha }),
    mean: voxels,
  }));
  const diceTerm = targets === undefined
    ? fill(logits.device, focalTerm.shape, 1)
    : overMasks(diceLoss(logits, targets, { form: "clamped", axes: voxels }));
  return {
    dice: diceTerm,
    focal: focalTerm,
    total: weightedSum([{ value: diceTerm, weight: dice }, { value: focalTerm, weight: focal }]),
  };
}
