/**
 * Overlap of predicted masks and their targets, as a measurement.
 *
 * @module
 */
import { maskOverlapProgram } from "../kernels/mask_overlap.ts";
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/**
 * Intersection over union of each mask, the pixels with positive logits, and its target, the pixels above one half; 1 where
 * both are empty. A constant for every differentiation, as it has no useful gradient.
 *
 * @param logits f32 [N, pixels...].
 * @param targets f32 of the same shape.
 * @returns f32 [N].
 * @throws {RangeError} when the shapes do not fit.
 */
export function maskOverlap(logits: Tensor, targets: Tensor): Tensor {
  if (
    logits.dtype !== "f32" || targets.dtype !== "f32" || logits.shape.length < 1 ||
    shapeText(logits.shape) !== shapeText(targets.shape)
  ) {
    throw new RangeError(
      `Cannot compare masks ${logits.dtype} ${
        shapeText(logits.shape)
      } with targets ${targets.dtype} ${
        shapeText(targets.shape)
      }: expected f32 of one shape [N, ...]`,
    );
  }
  const { device } = logits;
  const rows = logits.shape[0]!;
  const output = empty(device, [rows], "f32", "mask overlap");
  if (rows === 0) return output;
  const length = logits.size / rows;
  const team = rowTeam(device.capabilities, length);
  device.dispatch(
    maskOverlapProgram(team),
    { input: logits.range, targets: targets.range, output: output.range },
    { rows, length },
    [teamGroups(team, rows)],
    { flops: 4 * logits.size, bytes: 8 * logits.size },
  );
  return output;
}
