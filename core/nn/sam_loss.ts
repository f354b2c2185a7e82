/**
 * The objective of promptable masks.
 *
 * @module
 */
import { binary, multiply } from "../tensor/elementwise.ts";
import { diceLoss, pixelLoss } from "../tensor/loss_masks.ts";
import { weightedSum } from "../tensor/loss_sum.ts";
import { maskOverlap } from "../tensor/mask_overlap.ts";
import { reduceMean } from "../tensor/reduction.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** A loss and its parts, each f32 [1] on the device. */
export interface SamLoss {
  /** 20 focal + dice + iou. */
  readonly total: Tensor;
  /** Mean sigmoid focal loss of all pixels (alpha 0.25, gamma 2). */
  readonly focal: Tensor;
  /** Mean soft Dice loss of the masks. */
  readonly dice: Tensor;
  /** Mean squared error of the predicted IoU. */
  readonly iou: Tensor;
}

const weights = { focal: 20, dice: 1, iou: 1 };

/**
 * Loss of predicted masks: focal and Dice loss at 20 to 1, and the error of the predicted IoU against that of the mask as it
 * is, which is a constant (Kirillov et al., "Segment Anything", appendix A; the same weights in SAM-Med2D `utils.py`, whose
 * Dice and IoU are those of the whole batch as one mask: here each mask counts by itself, so that small ones matter).
 *
 * @param logits f32 [N, h, w], at the size of the targets.
 * @param targets f32 [N, h, w], 0 or 1.
 * @param predicted IoU that the decoder predicts for each mask, f32 [N] or [N, 1].
 * @throws {RangeError} when the shapes do not fit.
 */
export function samLoss(logits: Tensor, targets: Tensor, predicted: Tensor): SamLoss {
  const masks = logits.shape[0]!;
  const mean = (values: Tensor) => reduceMean(values.reshape(1, -1), 1);
  const focal = mean(pixelLoss(logits, targets, { form: "focal", alpha: 0.25, mean: 2 }));
  const dice = mean(diceLoss(logits, targets, { form: "smooth" }));
  const error = binary("subtract", predicted.reshape(masks), maskOverlap(logits, targets));
  const iou = mean(multiply(error, error));
  const total = weightedSum([
    { value: focal, weight: weights.focal },
    { value: dice, weight: weights.dice },
    { value: iou, weight: weights.iou },
  ]);
  return { total, focal, dice, iou };
}
