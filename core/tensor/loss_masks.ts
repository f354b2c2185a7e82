/**
 * Losses of masks, and of any other yes/no predictions, from logits: binary cross-entropy, focal loss, soft Dice, and the error of
 * predicted IoUs, each in the forms of the official codes. Targets are data and get no gradient.
 *
 * @module
 */
import type { BufferRange } from "../device/mod.ts";
import {
  diceProgram,
  iouErrorGradientProgram,
  iouErrorProgram,
  overlapGradientProgram,
  overlapProgram,
} from "../kernels/loss_overlap.ts";
import {
  type PixelLoss,
  pixelLossGradientProgram,
  pixelLossMeanProgram,
  pixelLossProgram,
} from "../kernels/loss_pixels.ts";
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import { isDifferentiated, note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** Which loss of a single prediction. */
export interface PixelLossOptions {
  /**
   * `bce`: binary cross-entropy. `focal`: sigmoid focal loss by log-sigmoid (MONAI, VividMed). `probabilityFocal`: by
   * log(p + 1e-12) of the rounded probability (MedPLIB): saturated logits cost log(1e-12) and have no gradient.
   */
  readonly form: PixelLoss;
  /** Exponent of the focal forms. Default 2. */
  readonly gamma?: number;
  /** Weight of positive targets, 1 - alpha of negative ones, in 0 to 1. Default: none, both 1. */
  readonly alpha?: number;
  /** Mean over the last axes, so many of them. Default 0: the loss of every prediction. */
  readonly mean?: number;
}

/**
 * The loss of every logit with its target, or means of it.
 *
 * @param logits f32 [..., pixels...].
 * @param targets f32 of the same shape, 0 to 1; undefined: all 0.
 * @returns f32 of the shape of the logits, less the axes of the mean.
 * @throws {RangeError} when the shapes do not fit, or gamma is negative, or alpha outside 0 to 1.
 * @throws {TypeError} when the targets are differentiated.
 */
export function pixelLoss(
  logits: Tensor,
  targets: Tensor | undefined,
  { form, gamma = 2, alpha, mean = 0 }: PixelLossOptions,
): Tensor {
  const { device } = logits;
  checkTargets(form, logits, targets);
  if (!(gamma >= 0) || alpha !== undefined && !(alpha >= 0 && alpha <= 1)) {
    throw new RangeError(
      `Cannot compute the loss ${form} with gamma ${gamma} and alpha ${alpha}: expected gamma >= 0 and alpha in 0 to 1`,
    );
  }
  const { shape, length, rows } = lastAxes(form, logits, mean);
  const output = empty(device, shape, "f32", form);
  const weighting = { gamma, negative: alpha === undefined ? 1 : 1 - alpha, positive: alpha ?? 1 };
  const ranges: Record<string, BufferRange> = {
    input: logits.range,
    ...(targets === undefined ? {} : { targets: targets.range }),
  };
  const known = targets !== undefined;
  const count = logits.size;
  if (mean === 0) {
    device.dispatch(
      pixelLossProgram(form, known),
      { ...ranges, output: output.range },
      { count, ...weighting },
      [Math.ceil(count / 64)],
      { flops: 30 * count, bytes: 12 * count },
    );
  } else {
    const team = rowTeam(device.capabilities, length);
    device.dispatch(
      pixelLossMeanProgram(team, form, known),
      { ...ranges, output: output.range },
      { rows, length, ...weighting },
      [teamGroups(team, rows)],
      { flops: 30 * count, bytes: 8 * count },
    );
  }
  note({
    name: form,
    inputs: [logits],
    outputs: [output],
    saved: targets === undefined ? [logits] : [logits, targets],
    backward([gradient]) {
      const result = empty(device, logits.shape, "f32", `${form} gradient`);
      device.dispatch(
        pixelLossGradientProgram(form, known),
        { ...ranges, gradient: gradient!.range, output: result.range },
        { count, length, scale: 1 / length, ...weighting },
        [Math.ceil(count / 64)],
        { flops: 30 * count, bytes: 12 * count },
      );
      return [result];
    },
  });
  return output;
}

/** What a mask without any pixel costs, and how small sums are kept from dividing by zero. */
export interface DiceOptions {
  /**
   * `smooth`: 1 - (2 sum(p t) + 1e-6) / (sum(p) + sum(t) + 1e-6), as MedPLIB has it. `clamped`:
   * 1 - 2 sum(p t) / max(sum(p) + sum(t), 1e-8), as VividMed has it: an empty target costs exactly 1.
   */
  readonly form: "smooth" | "clamped";
  /** How many of the last axes are one mask. Default 2. */
  readonly axes?: number;
}

/**
 * Soft Dice loss of every mask.
 *
 * @param logits f32 [..., pixels...].
 * @param targets f32 of the same shape.
 * @returns f32 of the leading axes.
 * @throws {RangeError} when the shapes do not fit.
 * @throws {TypeError} when the targets are differentiated.
 */
export function diceLoss(
  logits: Tensor,
  targets: Tensor,
  { form, axes = 2 }: DiceOptions,
): Tensor {
  const { device } = logits;
  checkTargets("dice", logits, targets);
  const { shape, length, rows } = lastAxes("dice", logits, axes);
  const output = empty(device, shape, "f32", "dice");
  using _temporaries = device.scope();
  const slopes = empty(device, [rows, 2], "f32", "dice slopes");
  const team = rowTeam(device.capabilities, length);
  device.dispatch(
    diceProgram(team),
    {
      input: logits.range,
      targets: targets.range,
      output: output.range,
      slopes: slopes.range,
    },
    {
      rows,
      length,
      added: form === "smooth" ? 1e-6 : 0,
      least: form === "smooth" ? 0 : 1e-8,
    },
    [teamGroups(team, rows)],
    { flops: 8 * logits.size, bytes: 8 * logits.size },
  );
  note({
    name: "dice",
    inputs: [logits],
    outputs: [output],
    saved: [logits, targets, slopes],
    backward: ([gradient]) => [overlapGradient(logits, targets, slopes, gradient!, length)],
  });
  return output;
}

/**
 * Mean over masks of (IoU - predicted IoU)^2, where the IoU is one soft quotient over the pixels of all masks together:
 * (sum(p t) + 1e-7) / (sum(p) + sum(t) - sum(p t) + 1e-7). Both the logits and the predictions get gradients, as in MedPLIB.
 *
 * @param logits f32 [N, pixels...].
 * @param targets f32 of the same shape.
 * @param predicted f32, N values.
 * @returns f32 [1].
 * @throws {RangeError} when the shapes do not fit, or there is no mask.
 * @throws {TypeError} when the targets are differentiated.
 */
export function iouLoss(logits: Tensor, targets: Tensor, predicted: Tensor): Tensor {
  const { device } = logits;
  checkTargets("IoU error", logits, targets);
  const masks = logits.shape[0] ?? 0;
  if (predicted.dtype !== "f32" || predicted.size !== masks || masks === 0) {
    throw new RangeError(
      `Cannot compute the IoU error of masks ${
        shapeText(logits.shape)
      } with ${predicted.dtype} predictions ${
        shapeText(predicted.shape)
      }: expected f32, one for each of at least one mask`,
    );
  }
  const length = logits.size / masks;
  const output = empty(device, [1], "f32", "iou error");
  using _temporaries = device.scope();
  const overlaps = empty(device, [masks, 4], "f32", "overlap sums");
  const slopes = empty(device, [1, 2], "f32", "iou slopes");
  const iou = empty(device, [1], "f32", "iou");
  const team = rowTeam(device.capabilities, length);
  device.dispatch(
    overlapProgram(team),
    { input: logits.range, targets: targets.range, overlaps: overlaps.range },
    { rows: masks, length },
    [teamGroups(team, masks)],
    { flops: 8 * logits.size, bytes: 8 * logits.size },
  );
  const errorTeam = rowTeam(device.capabilities, masks);
  device.dispatch(
    iouErrorProgram(errorTeam),
    {
      overlaps: overlaps.range,
      predicted: predicted.range,
      output: output.range,
      slopes: slopes.range,
      iou: iou.range,
    },
    { rows: 1, length: masks },
    [teamGroups(errorTeam, 1)],
  );
  note({
    name: "iouLoss",
    inputs: [logits, predicted],
    outputs: [output],
    saved: [logits, targets, predicted, slopes, iou],
    backward([gradient], [wantsLogits, wantsPredicted]) {
      const byLogits = wantsLogits
        ? overlapGradient(logits, targets, slopes, gradient!, logits.size)
        : undefined;
      if (!wantsPredicted) return [byLogits, undefined];
      const byPredicted = empty(device, predicted.shape, "f32", "iou error gradient");
      device.dispatch(
        iouErrorGradientProgram(),
        {
          predicted: predicted.range,
          iou: iou.range,
          gradient: gradient!.range,
          output: byPredicted.range,
        },
        { count: masks },
        [Math.ceil(masks / 64)],
      );
      return [byLogits, byPredicted];
    },
  });
  return output;
}

/** Gradient of a value whose derivative by a probability is slopes[row] . (1, t), in rows of `length`. */
function overlapGradient(
  logits: Tensor,
  targets: Tensor,
  slopes: Tensor,
  gradient: Tensor,
  length: number,
): Tensor {
  const result = empty(logits.device, logits.shape, "f32", "overlap gradient");
  logits.device.dispatch(
    overlapGradientProgram(),
    {
      input: logits.range,
      targets: targets.range,
      slopes: slopes.range,
      gradient: gradient.range,
      output: result.range,
    },
    { count: logits.size, length },
    [Math.ceil(logits.size / 64)],
    { flops: 10 * logits.size, bytes: 12 * logits.size },
  );
  return result;
}

function checkTargets(what: string, logits: Tensor, targets: Tensor | undefined): void {
  const fits = targets === undefined ||
    targets.dtype === "f32" && shapeText(targets.shape) === shapeText(logits.shape);
  if (logits.dtype !== "f32" || !fits) {
    throw new RangeError(
      `Cannot compute the loss ${what} of ${logits.dtype} ${shapeText(logits.shape)} with ${
        targets?.dtype ?? "no"
      } targets ${shapeText(targets?.shape ?? [])}: expected f32 of one shape`,
    );
  }
  if (isDifferentiated(targets)) {
    throw new TypeError(`Cannot differentiate the loss ${what} by its targets: they are data`);
  }
}

/** The axes before the last `axes`, and how many values those hold. */
function lastAxes(
  what: string,
  { shape, size }: Tensor,
  axes: number,
): { shape: readonly number[]; length: number; rows: number } {
  const leading = shape.length - axes;
  const length = shape.slice(leading).reduce((product, extent) => product * extent, 1);
  if (leading < 0 || length === 0) {
    throw new RangeError(
      `Cannot compute the loss ${what} over ${axes} axes of ${
        shapeText(shape)
      }: expected so many, and none of them empty`,
    );
  }
  return { shape: shape.slice(0, leading), length, rows: size / length };
}
