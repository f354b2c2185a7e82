/**
 * Instances and their labels: costs of giving predicted instances to labelled ones, and the matching that costs least.
 *
 * @module
 */
import type { BufferRange, Device } from "../device/mod.ts";
import {
  type ClassCost,
  instanceCostProgram,
  instanceMatchProgram,
  maskCostProgram,
} from "../kernels/matching_cost.ts";
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import { assign, type Assignments } from "./matching.ts";
import { elementCount, empty, shapeText, type Tensor, tensor } from "./tensor.ts";

export type { ClassCost } from "../kernels/matching_cost.ts";

/** Masks of the labels of a batch. */
export interface LabelMasks {
  /** 0 or 1, [N, voxels]. */
  readonly values: ArrayLike<number>;
  /** Extents of one mask, such as [D, H, W]. */
  readonly shape: readonly number[];
  /** Extents at which masks are compared for matching, those of the low-resolution logits. Default: `shape`. */
  readonly matchShape?: readonly number[];
}

/** Labelled instances of a batch. */
export interface LabelSetup {
  /** Centre and size of each label, [N, 4] or [N, 6]. */
  readonly boxes: ArrayLike<number>;
  /** Axes of the boxes. Default 3. */
  readonly dims?: 2 | 3;
  /** By image, and in it by target (a phrase): first label and the one after the last, as rows of `boxes`. */
  readonly images: readonly (readonly (readonly [number, number])[])[];
  /** Predicted instances per target. */
  readonly queries: number;
  /** Masks of the same labels, where there are any. */
  readonly masks?: LabelMasks;
}

/** Labels on the device, for T targets with Q queries each. */
export interface InstanceLabels {
  /** T, over all images. */
  readonly targets: number;
  /** Q. */
  readonly queries: number;
  /** Columns of the cost matrices: the most labels of a target, at least Q. */
  readonly columns: number;
  /** Matched pairs of the whole batch. */
  readonly hits: number;
  /** Queries left over in the whole batch. */
  readonly misses: number;
  /** f32 [N, 4 or 6], one row of zeros when there is no label. */
  readonly boxes: Tensor;
  /** First label and number of labels of each target: u32 [T, 2]. */
  readonly spans: Tensor;
  /** Rows and columns of each matrix: u32 [T, 2], zeros for targets without labels. */
  readonly counts: Tensor;
  /** Share of a hit and of a miss in the means over their images, and of the image in the batch: f32 [T, 2]. */
  readonly scales: Tensor;
  /** Share of each query in the mean over its image, and of the image in the batch: f32 [T, Q]. */
  readonly shares: Tensor;
  /** 0 or 1, f32 [N, voxels]. */
  readonly masks?: Tensor;
  /** The masks at the size of matching, f32 [N, voxels]. */
  readonly matchMasks?: Tensor;
}

/**
 * Puts labels on the device. All that depends on how many labels there are is computed here, so that the loss itself waits for
 * nothing.
 *
 * @throws {RangeError} when spans lie outside of the boxes, or masks have other sizes.
 */
export function instanceLabels(
  device: Device,
  { boxes, dims = 3, images, queries, masks }: LabelSetup,
): InstanceLabels {
  const labels = boxes.length / (2 * dims);
  const spans: number[] = [], counts: number[] = [], scales: number[] = [], shares: number[] = [];
  let most = queries, allHits = 0, allMisses = 0;
  for (const targets of images) {
    const known = targets.map(([first, end]) => end - first);
    const hits = known.reduce((sum, n) => sum + Math.min(n, queries), 0);
    const misses = queries * targets.length - hits;
    const share = (count: number) => count === 0 ? 0 : 1 / count / images.length;
    for (const [n, [first, end]] of targets.entries()) {
      if (!(first >= 0 && first <= end && end <= labels)) {
        throw new RangeError(
          `Cannot use the labels from ${first} to ${end} of a target: there are ${labels}`,
        );
      }
      spans.push(first, known[n]!);
      counts.push(...(known[n] === 0 ? [0, 0] : [queries, Math.max(queries, known[n]!)]));
      scales.push(share(hits), share(misses));
      for (let q = 0; q < queries; q++) shares.push(share(queries * targets.length));
      most = Math.max(most, known[n]!);
    }
    allHits += hits;
    allMisses += misses;
  }
  const targets = spans.length / 2;
  const rows = Math.max(1, labels);
  const boxValues = new Float32Array(rows * 2 * dims);
  boxValues.set(boxes);
  const placed = masks && placeMasks(device, masks, labels);
  return {
    targets,
    queries,
    columns: most,
    hits: allHits,
    misses: allMisses,
    boxes: tensor(device, boxValues, [rows, 2 * dims]),
    spans: tensor(device, Uint32Array.from(spans), [targets, 2]),
    counts: tensor(device, Uint32Array.from(counts), [targets, 2]),
    scales: tensor(device, Float32Array.from(scales), [targets, 2]),
    shares: tensor(device, Float32Array.from(shares), [targets, queries]),
    ...placed,
  };
}

function placeMasks(
  device: Device,
  { values, shape, matchShape = shape }: LabelMasks,
  labels: number,
) {
  const voxels = elementCount(shape);
  if (values.length !== labels * voxels || matchShape.length !== shape.length) {
    throw new RangeError(
      `Cannot use masks of ${values.length} values for ${labels} labels of shape ${
        shapeText(shape)
      }, matched at ${shapeText(matchShape)}`,
    );
  }
  const rows = Math.max(1, labels);
  const whole = new Float32Array(rows * voxels);
  whole.set(values);
  const masks = tensor(device, whole, [rows, voxels]);
  if (shapeText(shape) === shapeText(matchShape)) return { masks, matchMasks: masks };
  const nearest = nearestIndices(shape, matchShape);
  const low = new Float32Array(rows * nearest.length);
  for (let row = 0, i = 0; row < rows; row++) {
    for (const index of nearest) low[i++] = whole[row * voxels + index]!;
  }
  return { masks, matchMasks: tensor(device, low, [rows, nearest.length]) };
}

/** Which values a mask keeps at another size: PyTorch's `nearest-exact`, which rounds to float32. */
function nearestIndices(shape: readonly number[], size: readonly number[]): number[] {
  let indices = [0];
  for (const [axis, extent] of shape.entries()) {
    const count = size[axis]!, step = Math.fround(extent / count);
    const kept = Array.from(
      { length: count },
      (_, i) => Math.min(extent - 1, Math.floor(Math.fround((i + 0.5) * step))),
    );
    indices = indices.flatMap((before) => kept.map((index) => before * extent + index));
  }
  return indices;
}

/** Weights of Dice and focal loss of masks. */
export interface MaskWeights {
  /** Of the Dice loss. */
  readonly dice: number;
  /** Of the mean focal loss. */
  readonly focal: number;
  /** Exponent of the focal loss; below 1e-8 it is binary cross-entropy without alpha. */
  readonly gamma: number;
  /** Weight of voxels inside, 1 - alpha of those outside. Default: none, both 1. */
  readonly alpha?: number;
}

/** Weights of the parts of a cost. */
export interface CostWeights {
  /** What the logit costs. Default `probability`. */
  readonly classCost?: ClassCost;
  /** Of the cost of the logit. */
  readonly classWeight: number;
  /** Exponent of the focal cost. Default 2. */
  readonly gamma?: number;
  /** Weight of instances in the focal cost, 1 - alpha of the rest. Default: none, both 1. */
  readonly alpha?: number;
  /** Of the mean absolute difference of centre and size. */
  readonly l1Weight: number;
  /** Of 1 - GIoU. */
  readonly giouWeight: number;
  /** Needed when masks are compared. */
  readonly mask?: MaskWeights;
  /** Whether queries left over pay for their masks, as if theirs were empty. Default false. */
  readonly emptyMasks?: boolean;
}

/** What is predicted for T targets of Q queries. Nothing here is differentiated. */
export interface InstancePredictions {
  /** Whether there is an instance: f32 [T, Q]. */
  readonly logits: Tensor;
  /** Centre and size, f32 [T, Q, 4 or 6]. */
  readonly boxes: Tensor;
  /** f32 [T, Q, voxels...] in the size of `matchMasks`; when given, masks are compared instead of boxes. */
  readonly masks?: Tensor;
}

/** The two weights of a focal loss. */
export const focalWeights = (alpha: number | undefined): { negative: number; positive: number } =>
  alpha === undefined ? { negative: 1, positive: 1 } : { negative: 1 - alpha, positive: alpha };

/**
 * The cost of giving every query to every label of its target, and of leaving it over in columns beyond the labels: f32 [T, Q, K].
 *
 * @throws {RangeError} when shapes do not fit.
 */
export function instanceCosts(
  { logits, boxes, masks }: InstancePredictions,
  labels: InstanceLabels,
  weights: CostWeights,
): Tensor {
  const { device } = logits;
  const { targets, queries, columns, spans } = labels;
  const width = labels.boxes.shape[1]!;
  if (logits.size !== targets * queries || boxes.size !== targets * queries * width) {
    throw new RangeError(
      `Cannot match instances with logits ${shapeText(logits.shape)} and boxes ${
        shapeText(boxes.shape)
      }: expected [${targets}, ${queries}] and [${targets}, ${queries}, ${width}]`,
    );
  }
  const costs = empty(device, [targets, queries, columns], "f32", "instance costs");
  using _temporaries = device.scope();
  const shapeOnly: Record<string, BufferRange> = masks === undefined
    ? { boxes: boxes.range, labels: labels.boxes.range }
    : { masks: maskCosts(masks, labels, weights).range };
  const count = costs.size;
  device.dispatch(
    instanceCostProgram({
      class: weights.classCost ?? "probability",
      masks: masks !== undefined,
      ...(masks === undefined ? { boxes: width === 4 ? 2 : 3 } as const : {}),
    }),
    { logits: logits.range, spans: spans.range, costs: costs.range, ...shapeOnly },
    {
      targets,
      queries,
      columns,
      classWeight: weights.classWeight,
      gamma: weights.gamma ?? 2,
      ...focalWeights(weights.alpha),
      l1Weight: weights.l1Weight,
      giouWeight: weights.giouWeight,
    },
    [Math.ceil(count / 64)],
    { flops: 60 * count, bytes: 64 * count },
  );
  return costs;
}

function maskCosts(masks: Tensor, labels: InstanceLabels, weights: CostWeights): Tensor {
  const { device } = masks;
  const { targets, queries, columns, spans, matchMasks } = labels;
  const { mask } = weights;
  const length = matchMasks?.shape[1] ?? 0;
  if (mask === undefined || matchMasks === undefined || masks.size !== targets * queries * length) {
    throw new RangeError(
      `Cannot match instances by masks ${
        shapeText(masks.shape)
      }: expected weights, labels with masks, and [${targets}, ${queries}, ${length}]`,
    );
  }
  const rows = targets * queries * columns;
  const costs = empty(device, [targets, queries, columns], "f32", "mask costs");
  const team = rowTeam(device.capabilities, length);
  const plain = mask.gamma < 1e-8;
  device.dispatch(
    maskCostProgram(team),
    { logits: masks.range, labels: matchMasks.range, spans: spans.range, costs: costs.range },
    {
      rows,
      queries,
      columns,
      length,
      empty: weights.emptyMasks ? 1 : 0,
      gamma: plain ? 0 : mask.gamma,
      ...focalWeights(plain ? undefined : mask.alpha),
      diceWeight: mask.dice,
      focalWeight: mask.focal,
    },
    [teamGroups(team, rows)],
    { flops: 40 * rows * length, bytes: 8 * rows * length },
  );
  return costs;
}

/** Which label every query got, on the device. */
export interface InstanceMatch {
  /** Row of the label, -1 for none: i32 [T, Q]. */
  readonly chosen: Tensor;
  /** 1 where there is one, else 0: f32 [T, Q]. */
  readonly hits: Tensor;
  /** Share of a query in the mean over matched pairs, 0 where it has no label: f32 [T, Q]. NaN where costs were. */
  readonly hitWeight: Tensor;
  /** Share of a query in the mean over queries left over, 0 where it has a label: f32 [T, Q]. */
  readonly missWeight: Tensor;
  /** How each matching ended, see `assignmentStatus`: u32 [T]. */
  readonly status: Tensor;
}

/** Matches queries and labels at the least cost (see {@linkcode instanceCosts}), without reading anything back. */
export function matchInstances(costs: Tensor, labels: InstanceLabels): InstanceMatch {
  const { device } = costs;
  const { targets, queries, counts, spans, scales } = labels;
  const shape = [targets, queries];
  const chosen = empty(device, shape, "i32", "matched labels");
  const hits = empty(device, shape, "f32", "matched queries");
  const hitWeight = empty(device, shape, "f32", "weights of matched queries");
  const missWeight = empty(device, shape, "f32", "weights of other queries");
  using scope = device.scope();
  const { rowToColumn, status }: Assignments = assign(costs, { counts });
  device.dispatch(
    instanceMatchProgram(),
    {
      rowToColumn: rowToColumn.range,
      status: status.range,
      spans: spans.range,
      scales: scales.range,
      chosen: chosen.range,
      hits: hits.range,
      hitWeight: hitWeight.range,
      missWeight: missWeight.range,
    },
    { targets, queries, nan: 0x7fc00000 },
    [Math.ceil(targets * queries / 64)],
    { bytes: 32 * targets * queries },
  );
  return { chosen, hits, hitWeight, missWeight, status: scope.keep(status) };
}
