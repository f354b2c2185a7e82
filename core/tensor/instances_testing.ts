/**
 * The definitions of matching costs and instance losses in double precision, for tests.
 *
 * @module
 */
import { giouMonai } from "../eval/boxes.ts";
import { normals } from "../kernels/kernel_testing.ts";
import type { CostWeights } from "./instances.ts";

/** Boxes of centre and size about the middle. */
export function boxes(count: number, dims: number, seed: number): Float32Array<ArrayBuffer> {
  return normals(2 * dims * count, seed).map((value, i) =>
    i % (2 * dims) < dims ? 0.5 + 0.1 * value : 0.2 + Math.abs(value) / 4
  );
}

const corners = (box: ArrayLike<number>) =>
  Array.from(
    { length: box.length },
    (_, i) =>
      i < box.length / 2
        ? box[i]! - box[box.length / 2 + i]! / 2
        : box[i - box.length / 2]! + box[i]! / 2,
  );

/** Mean of some numbers. */
export const mean = (values: ArrayLike<number>) =>
  Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
/** The logistic function. */
export const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Sigmoid focal loss of a logit and a target of 0 or 1. */
export function focal(x: number, target: number, gamma: number, alpha?: number): number {
  const right = sigmoid(target === 1 ? x : -x);
  const weight = alpha === undefined ? 1 : target === 1 ? alpha : 1 - alpha;
  return -weight * (1 - right) ** gamma * Math.log(right);
}

/** Mean absolute difference. */
export const l1Of = (a: Float64Array, b: Float64Array) =>
  mean(a.map((x, i) => Math.abs(x - b[i]!)));
/** 1 - GIoU of boxes of centre and size. */
export const giouOf = (a: Float64Array, b: Float64Array) => 1 - giouMonai(corners(a), corners(b));

/** Dice and mean focal loss of a mask. */
export function maskTerms(x: Float64Array, y: ArrayLike<number>, gamma: number, alpha?: number) {
  let both = 0, sum = 0;
  x.forEach((logit, i) => {
    both += sigmoid(logit) * y[i]!;
    sum += sigmoid(logit) + y[i]!;
  });
  return {
    dice: 1 - 2 * both / Math.max(sum, 1e-8),
    focal: mean(x.map((logit, i) => focal(logit, y[i]!, gamma, alpha))),
  };
}

/** The definition of the cost of every query and column of one target, in double precision. */
export function costsByDefinition(
  { logits, predicted, labels, masks, labelMasks, columns }: {
    logits: Float64Array;
    predicted: readonly Float64Array[];
    labels: readonly Float64Array[];
    masks?: readonly Float64Array[];
    labelMasks?: readonly Float64Array[];
    columns: number;
  },
  weights: CostWeights,
): number[] {
  const { gamma = 2, alpha, mask } = weights;
  const ofMask = (q: number, y: ArrayLike<number>) => {
    const { dice, focal } = maskTerms(masks![q]!, y, mask!.gamma, mask!.alpha);
    return mask!.dice * dice + mask!.focal * focal;
  };
  return [...logits].flatMap((logit, q) =>
    Array.from({ length: columns }, (_, k) => {
      const wanted = k < labels.length;
      if (!wanted && k >= logits.length) return 0;
      const ofClass = weights.classCost === "focal"
        ? focal(logit, wanted ? 1 : 0, gamma, alpha)
        : sigmoid(wanted ? -logit : logit);
      let cost = weights.classWeight * ofClass;
      if (masks !== undefined) {
        if (wanted) cost += ofMask(q, labelMasks![k]!);
        else if (weights.emptyMasks) cost += ofMask(q, new Float64Array(masks[q]!.length));
      } else if (wanted) {
        cost += weights.l1Weight * l1Of(predicted[q]!, labels[k]!) +
          weights.giouWeight * giouOf(predicted[q]!, labels[k]!);
      }
      return cost;
    })
  );
}

/** Rows of a flat array. */
export const rowsOf = (values: ArrayLike<number>, width: number): Float64Array[] =>
  Array.from(
    { length: values.length / width },
    (_, row) => Float64Array.from({ length: width }, (_, i) => values[row * width + i]!),
  );
