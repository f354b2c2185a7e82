/**
 * Cross-entropy between logits and token labels, as language models are trained with.
 *
 * @module
 */
import type { BufferRange } from "../device/mod.ts";
import {
  nanBits,
  tokenLossGradientProgram,
  tokenLossProgram,
  tokenMeanProgram,
} from "../kernels/loss_tokens.ts";
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import { isDifferentiated, note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** Variations of {@linkcode crossEntropy}. */
export interface CrossEntropyOptions {
  /**
   * Whether the logits at a position are meant for the label at the next one (Hugging Face's causal models). Then the last
   * position of every sequence is not used, and neither is the first label. Default false: label i belongs to logits i.
   */
  readonly shift?: boolean;
  /**
   * `mean`: sum over the kept labels of the whole batch / their number. `sequence`: of every sequence the sum over its kept
   * labels / the number of all its positions, less one with `shift`. Default `mean`.
   */
  readonly reduction?: "mean" | "sequence";
  /** f32 [..., S], beside the labels: multiplies the loss of each; what the sum is divided by stays the same. */
  readonly weights?: Tensor;
  /** Label that does not count. Default -100. */
  readonly ignore?: number;
}

/**
 * Mean of -log softmax(logits)[label] over the labels that count.
 *
 * NaN when no label counts (`mean`), when a label that counts is not in 0 <= label < V, and when the logits of a position that
 * counts hold a NaN or a positive infinity. The gradient by the logits of ignored positions is 0.
 *
 * Source: `torch.nn.CrossEntropyLoss` as the Hugging Face LLaMA calls it; with weights `_sample_weighted_ce` of VividMed's
 * `modeling_cogvlm.py`.
 *
 * @param logits f32 [..., S, V].
 * @param labels i32 [..., S].
 * @returns f32 [1], or [B] with `sequence`, where B is the product of the leading axes.
 * @throws {RangeError} when shapes or dtypes do not fit, or there are no positions.
 * @throws {TypeError} when the weights are differentiated: they are data.
 */
export function crossEntropy(
  logits: Tensor,
  labels: Tensor,
  { shift = false, reduction = "mean", weights, ignore = -100 }: CrossEntropyOptions = {},
): Tensor {
  const { device } = logits;
  const columns = logits.shape.at(-1) ?? 0, positions = logits.shape.at(-2) ?? 0;
  const rows = columns === 0 ? 0 : logits.size / columns;
  const besides = shapeText(logits.shape.slice(0, -1));
  if (
    logits.dtype !== "f32" || labels.dtype !== "i32" || shapeText(labels.shape) !== besides ||
    rows === 0
  ) {
    throw new RangeError(
      `Cannot compute the cross-entropy of ${logits.dtype} ${
        shapeText(logits.shape)
      } with ${labels.dtype} labels ${
        shapeText(labels.shape)
      }: expected f32 [..., S, V] and i32 [..., S] with at least one position`,
    );
  }
  if (weights !== undefined && (weights.dtype !== "f32" || shapeText(weights.shape) !== besides)) {
    throw new RangeError(
      `Cannot weight labels ${shapeText(labels.shape)} with ${weights.dtype} ${
        shapeText(weights.shape)
      }: expected f32 of the same shape`,
    );
  }
  if (isDifferentiated(weights)) {
    throw new TypeError("Cannot differentiate cross-entropy by its token weights: they are data");
  }
  const perSequence = reduction === "sequence";
  const groups = perSequence ? rows / positions : 1, length = rows / groups;
  const width = columns % 4 === 0 ? 4 : 1;
  const labelled = { rows, columns, positions, shift: shift ? 1 : 0, ignore };
  const weighting: Record<string, BufferRange> = weights === undefined
    ? {}
    : { weights: weights.range };
  const output = empty(device, [groups], "f32", "cross-entropy");
  using _temporaries = device.scope();
  const losses = empty(device, [rows, 2], "f32", "token losses");
  const stats = empty(device, [rows, 2], "f32", "token statistics");
  const factors = empty(device, [groups], "f32", "token factors");
  const team = rowTeam(device.capabilities, columns / width);
  device.dispatch(
    tokenLossProgram(team, width, weights !== undefined),
    {
      input: logits.range,
      labels: labels.range,
      ...weighting,
      losses: losses.range,
      stats: stats.range,
    },
    { ...labelled, nan: nanBits },
    [teamGroups(team, rows)],
    { flops: 5 * logits.size, bytes: 8 * logits.size },
  );
  const meanTeam = rowTeam(device.capabilities, length);
  device.dispatch(
    tokenMeanProgram(meanTeam),
    { losses: losses.range, output: output.range, factors: factors.range },
    {
      rows: groups,
      length,
      divisor: perSequence ? positions - (shift ? 1 : 0) : 0,
      nan: nanBits,
    },
    [teamGroups(meanTeam, groups)],
    { flops: 2 * rows, bytes: 8 * rows },
  );
  note({
    name: "crossEntropy",
    inputs: [logits],
    outputs: [output],
    saved: [logits, labels, stats, factors, ...(weights === undefined ? [] : [weights])],
    backward([gradient]) {
      const result = empty(device, logits.shape, "f32", "cross-entropy gradient");
      device.dispatch(
        tokenLossGradientProgram(width, weights !== undefined),
        {
          input: logits.range,
          labels: labels.range,
          stats: stats.range,
          factors: factors.range,
          gradient: gradient!.range,
          ...weighting,
          output: result.range,
        },
        { ...labelled, length },
        [Math.ceil(logits.size / width / 64)],
        { flops: 5 * logits.size, bytes: 8 * logits.size },
      );
      return [result];
    },
  });
  return output;
}
