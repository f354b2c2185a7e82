/**
 * The loss of a set of predicted instances: matched to the labels at the least cost, then compared pair by pair; queries left
 * over learn that there is nothing.
 *
 * The matching happens on the device and is never read back. How many pairs there will be follows from the numbers of labels, so
 * all means are known beforehand.
 *
 * Source: VividMed `mmmm/models/segvol/modeling/sam.py` (`InstanceSamLoss`).
 *
 * @module
 */
import { gatherRows } from "./gather.ts";
import {
  type CostWeights,
  instanceCosts,
  type InstanceLabels,
  type InstanceMatch,
  type InstancePredictions,
  type MaskWeights,
  matchInstances,
} from "./instances.ts";
import { boxLosses } from "./loss_boxes.ts";
import { fill } from "./movement.ts";
import { diceLoss, pixelLoss } from "./loss_masks.ts";
import { type LossTerm, weightedSum } from "./loss_sum.ts";
import { multiply } from "./elementwise.ts";
import { sumRows } from "./reduction.ts";
import { withoutGradients } from "./tape.ts";
import { shapeText, type Tensor } from "./tensor.ts";

/** Weights of the instance loss. */
export interface InstanceLossWeights {
  /** Of the focal loss of the logits. */
  readonly discrimination: number;
  /** Exponent of that focal loss. */
  readonly gamma: number;
  /** Weight of matched queries in it, 1 - alpha of the others. Default: none, both 1. */
  readonly alpha?: number;
  /** Of the mean absolute difference of centre and size. */
  readonly l1: number;
  /** Of 1 - GIoU. */
  readonly giou: number;
  /** Needed when the labels have masks. */
  readonly mask?: MaskWeights;
  /** Matching by the probability of an instance instead of the focal loss. Default true. */
  readonly matchByProbability?: boolean;
  /** Whether queries left over also learn empty masks, and pay for theirs in the matching. Default false. */
  readonly emptyMasks?: boolean;
}

/** VividMed's weights for training with phrases (`conf/phase-vg/model.yaml`). */
export const vividmedInstanceWeights: InstanceLossWeights = {
  discrimination: 2,
  gamma: 2,
  alpha: 0.85,
  l1: 5,
  giou: 2,
};

/** Predictions with the masks at the size of the labels, and smaller ones for matching. */
export interface InstanceOutputs extends InstancePredictions {
  /** Mask logits at the size of the labels' masks, f32 [T, Q, voxels...]. */
  readonly masks?: Tensor;
  /** Mask logits at the size of matching, f32 [T, Q, voxels...]. Default: `masks`. */
  readonly matchMasks?: Tensor;
}

/** The loss and what it is made of; terms are f32 [1], without their weights, absent where there is nothing to compare. */
export interface InstanceLoss {
  /** Differentiable by logits, boxes and masks: f32 [1]. */
  readonly loss: Tensor;
  /** What was matched. */
  readonly match: InstanceMatch;
  /** Focal loss of all logits. */
  readonly discrimination: Tensor;
  /** Mean absolute difference of the boxes of matched pairs. */
  readonly l1?: Tensor;
  /** 1 - GIoU of matched pairs. */
  readonly giou?: Tensor;
  /** Dice loss of the masks of matched pairs. */
  readonly dice?: Tensor;
  /** Focal loss of the masks of matched pairs. */
  readonly focal?: Tensor;
  /** Dice loss of queries left over, when they learn empty masks. */
  readonly emptyDice?: Tensor;
  /** Focal loss of queries left over, when they learn empty masks. */
  readonly emptyFocal?: Tensor;
}

/** Sum of values [T, Q] by their shares: f32 [1]. */
function shared(values: Tensor, shares: Tensor): Tensor {
  return sumRows(multiply(values.reshape(-1), shares.reshape(-1)).reshape(-1, 1));
}

/**
 * The instance loss of a batch: means are taken over each image, then over the images.
 *
 * @throws {RangeError} when shapes do not fit, or there is no target.
 */
export function instanceLoss(
  { logits, boxes, masks, matchMasks = masks }: InstanceOutputs,
  labels: InstanceLabels,
  weights: InstanceLossWeights,
): InstanceLoss {
  const { targets, queries, hits, misses } = labels;
  if (targets * queries === 0) throw new RangeError("Cannot compute the loss of no instances");
  const byMask = labels.masks !== undefined && masks !== undefined && matchMasks !== undefined;
  const match = withoutGradients(() =>
    matchInstances(
      instanceCosts(
        { logits, boxes, ...(byMask ? { masks: matchMasks } : {}) },
        labels,
        costWeights(weights),
      ),
      labels,
    )
  );
  const terms: LossTerm[] = [];
  const add = (value: Tensor, weight: number) => {
    terms.push({ value, weight });
    return value;
  };
  const discrimination = add(
    shared(
      pixelLoss(logits.reshape(targets, queries), match.hits, {
        form: "focal",
        gamma: weights.gamma,
        ...(weights.alpha === undefined ? {} : { alpha: weights.alpha }),
      }),
      labels.shares,
    ),
    weights.discrimination,
  );
  const chosen = match.chosen.reshape(-1);
  const parts: { -readonly [K in keyof InstanceLoss]?: InstanceLoss[K] } = {};
  if (hits > 0) {
    const width = labels.boxes.shape[1]!;
    const { l1, giou } = boxLosses(boxes.reshape(-1, width), gatherRows(labels.boxes, chosen));
    parts.l1 = add(shared(l1, match.hitWeight), weights.l1);
    parts.giou = add(shared(giou, match.hitWeight), weights.giou);
  }
  const learnsEmpty = weights.emptyMasks === true && misses > 0;
  if (masks !== undefined && (byMask && hits > 0 || learnsEmpty)) {
    const { dice, focal, mask } = maskLosses(masks, labels, chosen, weights.mask);
    if (byMask && hits > 0) {
      parts.dice = add(shared(dice, match.hitWeight), mask.dice);
      parts.focal = add(shared(focal, match.hitWeight), mask.focal);
    }
    if (learnsEmpty) {
      parts.emptyDice = add(shared(dice, match.missWeight), mask.dice);
      parts.emptyFocal = add(shared(focal, match.missWeight), mask.focal);
    }
  }
  return { ...parts, loss: weightedSum(terms), match, discrimination };
}

function costWeights(weights: InstanceLossWeights): CostWeights {
  const { matchByProbability = true, alpha, mask, emptyMasks } = weights;
  return {
    classCost: matchByProbability ? "probability" : "focal",
    classWeight: weights.discrimination,
    gamma: weights.gamma,
    l1Weight: weights.l1,
    giouWeight: weights.giou,
    ...(alpha === undefined ? {} : { alpha }),
    ...(mask === undefined ? {} : { mask }),
    ...(emptyMasks === undefined ? {} : { emptyMasks }),
  };
}

/** Dice and focal loss of every query with its label's mask; where there is no label, with an empty one. */
function maskLosses(
  masks: Tensor,
  labels: InstanceLabels,
  chosen: Tensor | undefined,
  mask: MaskWeights | undefined,
): { dice: Tensor; focal: Tensor; mask: MaskWeights } {
  const rows = labels.targets * labels.queries;
  const voxels = labels.masks?.shape[1] ?? masks.size / rows;
  if (mask === undefined || masks.size !== rows * voxels) {
    throw new RangeError(
      `Cannot compare masks ${
        shapeText(masks.shape)
      } with their labels: expected [${labels.targets}, ${labels.queries}, ${voxels}] and weights`,
    );
  }
  const flat = masks.reshape(rows, voxels);
  const wanted = chosen && labels.masks && gatherRows(labels.masks, chosen);
  const plain = mask.gamma < 1e-8;
  return {
    mask,
    // A mask that should be empty costs 1 whatever is predicted.
    dice: wanted === undefined
      ? fill(masks.device, [rows], 1)
      : diceLoss(flat, wanted, { form: "clamped", axes: 1 }),
    focal: pixelLoss(flat, wanted, {
      form: plain ? "bce" : "focal",
      gamma: mask.gamma,
      ...(plain || mask.alpha === undefined ? {} : { alpha: mask.alpha }),
      mean: 1,
    }),
  };
}

/** Measures of an instance loss for the log: f32 [1] each, absent where there is nothing to measure. */
export interface InstanceMeasures {
  /** Mean focal loss without alpha of the matched queries, as instances. */
  readonly matched?: Tensor;
  /** The same of the queries left over, as none. */
  readonly leftOver?: Tensor;
  /** Mean Dice loss of the queries left over, as if their masks should be empty. */
  readonly emptyDice?: Tensor;
  /** Mean focal loss of the same. */
  readonly emptyFocal?: Tensor;
}

/** Measures what the loss does not weigh. Not differentiated. */
export function instanceMeasures(
  { logits, masks }: Pick<InstanceOutputs, "logits" | "masks">,
  labels: InstanceLabels,
  { gamma, mask }: InstanceLossWeights,
  match: InstanceMatch,
): InstanceMeasures {
  return withoutGradients(() => {
    const focal = pixelLoss(logits.reshape(-1), match.hits.reshape(-1), { form: "focal", gamma });
    const empty = labels.misses > 0 && masks !== undefined && mask !== undefined
      ? maskLosses(masks, labels, undefined, mask)
      : undefined;
    return {
      ...(labels.hits > 0 ? { matched: shared(focal, match.hitWeight) } : {}),
      ...(labels.misses > 0 ? { leftOver: shared(focal, match.missWeight) } : {}),
      ...(empty === undefined ? {} : {
        emptyDice: shared(empty.dice, match.missWeight),
        emptyFocal: shared(empty.focal, match.missWeight),
      }),
    };
  });
}
