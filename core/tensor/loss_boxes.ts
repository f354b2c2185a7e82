/**
 * Losses of boxes in 2D and 3D: absolute differences and generalised IoU, of matched pairs or of all pairs.
 *
 * @module
 */
import type { BoxDims } from "../kernels/boxes.ts";
import { boxLossGradientProgram, boxLossProgram } from "../kernels/loss_boxes.ts";
import { isDifferentiated, note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** What boxes are and which of them meet. */
export interface BoxPairs {
  /** `centre-size`: centre, then sizes. `corners`: all smallest coordinates, then all largest. Default `centre-size`. */
  readonly format?: "centre-size" | "corners";
  /** `matched`: prediction n with target n. `all`: every prediction with every target. Default `matched`. */
  readonly pairs?: "matched" | "all";
}

/** Weights of {@linkcode boxLoss}. */
export interface BoxLossOptions extends BoxPairs {
  /** Weight of the mean absolute difference of the 2 * dims numbers as they are given. Default 5, as in VividMed. */
  readonly l1?: number;
  /** Weight of 1 - GIoU. Default 2, as in VividMed. */
  readonly giou?: number;
}

/**
 * l1 * mean |a - b| + giou * (1 - GIoU(a, b)) of pairs of boxes. The mean over matched pairs is the loss; over all pairs it is
 * what a matching weighs.
 *
 * The derivative of the absolute value at 0 is 0; at equal corners GIoU's is the mean of both sides.
 *
 * @param predicted f32 [N, 4] or [N, 6].
 * @param target f32 [M, 4] or [M, 6]; M = N where matched.
 * @returns f32 [N], or [N, M] for all pairs.
 * @throws {RangeError} when the shapes do not fit.
 * @throws {TypeError} when the targets are differentiated: they are data.
 */
export function boxLoss(
  predicted: Tensor,
  target: Tensor,
  { l1 = 5, giou = 2, ...pairs }: BoxLossOptions = {},
): Tensor {
  return pairValues("box loss", predicted, target, { l1, giou: -giou, offset: giou }, pairs);
}

/** Both terms of {@linkcode boxLoss} apart, each f32 [N] or [N, M]. */
export interface BoxLosses {
  /** Mean absolute difference of the numbers of a pair. */
  readonly l1: Tensor;
  /** 1 - GIoU of a pair, 0 to 2. */
  readonly giou: Tensor;
}

/** The terms of {@linkcode boxLoss} without weights, for means and weights of their own. */
export function boxLosses(predicted: Tensor, target: Tensor, pairs: BoxPairs = {}): BoxLosses {
  return {
    l1: boxLoss(predicted, target, { l1: 1, giou: 0, ...pairs }),
    giou: boxLoss(predicted, target, { l1: 0, giou: 1, ...pairs }),
  };
}

/**
 * Generalised IoU of pairs of boxes, -1 to 1; like {@linkcode boxLoss} otherwise.
 *
 * @returns f32 [N], or [N, M] for all pairs.
 */
export function boxGiou(predicted: Tensor, target: Tensor, pairs: BoxPairs = {}): Tensor {
  return pairValues("GIoU", predicted, target, { l1: 0, giou: 1, offset: 0 }, pairs);
}

function pairValues(
  name: string,
  predicted: Tensor,
  target: Tensor,
  factors: { readonly l1: number; readonly giou: number; readonly offset: number },
  { format = "centre-size", pairs = "matched" }: BoxPairs,
): Tensor {
  const { device } = predicted;
  const [rows = 0, width] = predicted.shape, [others = 0, otherWidth] = target.shape;
  const matched = pairs === "matched";
  if (
    predicted.dtype !== "f32" || target.dtype !== "f32" || predicted.shape.length !== 2 ||
    target.shape.length !== 2 || width !== otherWidth || (width !== 4 && width !== 6) ||
    matched && rows !== others
  ) {
    throw new RangeError(
      `Cannot compute the ${name} of ${predicted.dtype} ${
        shapeText(predicted.shape)
      } and ${target.dtype} ${shapeText(target.shape)}: expected f32 [N, 4] or [N, 6]${
        matched ? ", as many of either" : ""
      }`,
    );
  }
  if (isDifferentiated(target)) {
    throw new TypeError(`Cannot differentiate the ${name} by its targets: they are data`);
  }
  const variant = { dims: width / 2 as BoxDims, centred: format === "centre-size", matched };
  const targets = matched ? 1 : others;
  const parameters = { rows, targets, ...factors };
  const ranges = { predicted: predicted.range, wanted: target.range };
  const output = empty(device, matched ? [rows] : [rows, others], "f32", name);
  device.dispatch(
    boxLossProgram(variant),
    { ...ranges, output: output.range },
    parameters,
    [Math.ceil(output.size / 64)],
    { flops: 60 * output.size, bytes: 12 * width * output.size },
  );
  note({
    name,
    inputs: [predicted],
    outputs: [output],
    saved: [predicted, target],
    backward([gradient]) {
      const result = empty(device, predicted.shape, "f32", `${name} gradient`);
      device.dispatch(
        boxLossGradientProgram(variant),
        { ...ranges, gradient: gradient!.range, output: result.range },
        parameters,
        [Math.ceil(rows / 64)],
        { flops: 120 * output.size, bytes: 12 * width * output.size },
      );
      return [result];
    },
  });
  return output;
}
