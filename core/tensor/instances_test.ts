import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { giouMonai } from "../eval/boxes.ts";
import { assertCloseTo, deviceTest, normals, testDevices } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { checkGradients } from "./gradient_testing.ts";
import {
  type CostWeights,
  instanceCosts,
  instanceLabels,
  type LabelSetup,
  matchInstances,
} from "./instances.ts";
import { instanceLoss, type InstanceLossWeights, instanceMeasures } from "./loss_instances.ts";
import { assignment } from "./matching.ts";
import { differentiate } from "./tape.ts";
import { tensor } from "./tensor.ts";

/** Boxes of centre and size about the middle. */
function boxes(count: number, dims: number, seed: number): Float32Array<ArrayBuffer> {
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

const mean = (values: ArrayLike<number>) =>
  Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

function focal(x: number, target: number, gamma: number, alpha?: number): number {
  const right = sigmoid(target === 1 ? x : -x);
  const weight = alpha === undefined ? 1 : target === 1 ? alpha : 1 - alpha;
  return -weight * (1 - right) ** gamma * Math.log(right);
}

const l1Of = (a: Float64Array, b: Float64Array) => mean(a.map((x, i) => Math.abs(x - b[i]!)));
const giouOf = (a: Float64Array, b: Float64Array) => 1 - giouMonai(corners(a), corners(b));

/** Dice and mean focal loss of a mask. */
function maskTerms(x: Float64Array, y: ArrayLike<number>, gamma: number, alpha?: number) {
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
function costsByDefinition(
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

const rowsOf = (values: ArrayLike<number>, width: number): Float64Array[] =>
  Array.from(
    { length: values.length / width },
    (_, row) => Float64Array.from({ length: width }, (_, i) => values[row * width + i]!),
  );

interface Batch {
  readonly queries: number;
  readonly dims: 2 | 3;
  readonly images: LabelSetup["images"];
}

const batches: readonly Batch[] = [
  { queries: 1, dims: 2, images: [[[0, 1]]] },
  { queries: 6, dims: 3, images: [[[0, 2], [2, 2], [2, 5]], [[5, 6]]] },
  { queries: 4, dims: 3, images: [[[0, 7], [7, 7]]] },
  { queries: 13, dims: 2, images: [[[0, 3]], [[3, 3], [3, 12]], [[1, 5]]] },
];

const costKinds: readonly CostWeights[] = [
  { classWeight: 2, l1Weight: 5, giouWeight: 2 },
  { classWeight: 1, classCost: "focal", gamma: 1.5, alpha: 0.85, l1Weight: 1, giouWeight: 0.5 },
];
const mask = { dice: 5, focal: 3, gamma: 2, alpha: 0.8 };

function labelCount({ images }: Batch): number {
  return Math.max(0, ...images.flat().map(([, end]) => end));
}

async function compareCosts(device: Device, batch: Batch, weights: CostWeights, voxels?: number) {
  const { queries, dims, images } = batch;
  const targets = images.flat(), rows = targets.length * queries, count = labelCount(batch);
  const logits = normals(rows, 1), predicted = boxes(rows, dims, 2), known = boxes(count, dims, 3);
  const shape = [1, 1, voxels ?? 0];
  const labelMasks = normals(count * (voxels ?? 0), 4).map((value) => value > 0.5 ? 1 : 0);
  const masks = normals(rows * (voxels ?? 0), 5);
  const labels = instanceLabels(device, {
    boxes: known,
    dims,
    images,
    queries,
    ...(voxels === undefined ? {} : { masks: { values: labelMasks, shape } }),
  });
  const costs = instanceCosts(
    {
      logits: tensor(device, logits, [targets.length, queries]),
      boxes: tensor(device, predicted, [targets.length, queries, 2 * dims]),
      ...(voxels === undefined
        ? {}
        : { masks: tensor(device, masks, [targets.length, queries, ...shape]) }),
    },
    labels,
    weights,
  );
  const of = (values: ArrayLike<number>, width: number, from: number, end: number) =>
    rowsOf(values, width).slice(from, end);
  const expected = targets.flatMap(([first, end], t) =>
    costsByDefinition({
      logits: Float64Array.from(logits.subarray(t * queries, (t + 1) * queries)),
      predicted: of(predicted, 2 * dims, t * queries, (t + 1) * queries),
      labels: of(known, 2 * dims, first, end),
      columns: labels.columns,
      ...(voxels === undefined ? {} : {
        masks: of(masks, voxels, t * queries, (t + 1) * queries),
        labelMasks: of(labelMasks, voxels, first, end),
      }),
    }, weights)
  );
  assertCloseTo(await costs.readFloats(), expected, { atol: 2e-5, rtol: 2e-5 });
  const { chosen, hits, hitWeight, missWeight, status } = matchInstances(costs, labels);
  assertEquals([...await status.read()], targets.map(() => 0));
  const columns = labels.columns;
  const wanted = targets.flatMap(([first, end], t) => {
    const n = end - first, width = Math.max(queries, n);
    if (n === 0) return Array<number>(queries).fill(-1);
    const own = Array.from(
      { length: queries * width },
      (_, i) => expected[(t * queries + Math.floor(i / width)) * columns + i % width]!,
    );
    return [...assignment(own, queries, width).rowToColumn].map((k) => k < n ? first + k : -1);
  });
  assertEquals([...await chosen.read()], wanted);
  assertEquals([...await hits.read()], wanted.map((label) => label < 0 ? 0 : 1));
  const image = images.flatMap((one, n) => one.flatMap(() => Array<number>(queries).fill(n)));
  const share = (matched: boolean) =>
    wanted.map((label, i) =>
      label >= 0 === matched
        ? 1 / images.length /
          wanted.filter((other, j) => image[i] === image[j] && other >= 0 === matched).length
        : 0
    );
  assertCloseTo(await hitWeight.readFloats(), share(true));
  assertCloseTo(await missWeight.readFloats(), share(false));
}

deviceTest("costs of instances and their matching follow the definition", async (device) => {
  for (const { device: variant } of variants(device)) {
    for (const batch of batches) {
      for (const weights of costKinds) await compareCosts(variant, batch, weights);
    }
  }
});

deviceTest("costs of masks follow the definition at any size", async (device) => {
  for (const [order, { device: variant }] of variants(device).entries()) {
    for (const [n, voxels] of [1, 5, 64, 131, 1030].entries()) {
      if (order > 0 && n % 3 !== order - 1) continue;
      for (const emptyMasks of [false, true]) {
        const weights = { ...costKinds[n % 2]!, mask, emptyMasks };
        await compareCosts(variant, batches[1 + n % 2]!, weights, voxels);
      }
    }
  }
});

/** The loss of one image in double precision, its matching included. */
function lossByDefinition(
  { logits, predicted, masks }: Record<"logits" | "predicted" | "masks", Float64Array>,
  { queries, known, labelMasks, spans, voxels }: {
    queries: number;
    known: ArrayLike<number>;
    labelMasks: ArrayLike<number>;
    spans: readonly (readonly [number, number])[];
    voxels: number;
  },
  weights: InstanceLossWeights,
): number {
  const width = 6, rows = spans.length * queries;
  const ofBoxes = rowsOf(predicted, width), ofMasks = rowsOf(masks, voxels);
  const labels = rowsOf(known, width), wanted = rowsOf(labelMasks, voxels);
  const match = spans.flatMap(([first, end], t) => {
    const n = end - first, columns = Math.max(queries, n);
    if (n === 0) return Array<number>(queries).fill(-1);
    const costs = costsByDefinition({
      logits: logits.slice(t * queries, (t + 1) * queries),
      predicted: ofBoxes.slice(t * queries, (t + 1) * queries),
      labels: labels.slice(first, end),
      masks: ofMasks.slice(t * queries, (t + 1) * queries),
      labelMasks: wanted.slice(first, end),
      columns,
    }, {
      classWeight: weights.discrimination,
      l1Weight: weights.l1,
      giouWeight: weights.giou,
      mask: weights.mask!,
      emptyMasks: weights.emptyMasks ?? false,
    });
    return [...assignment(costs, queries, columns).rowToColumn].map((k) => k < n ? first + k : -1);
  });
  const hits = match.filter((label) => label >= 0).length;
  let loss = 0;
  match.forEach((label, i) => {
    const target = label < 0 ? 0 : 1;
    loss += weights.discrimination * focal(logits[i]!, target, weights.gamma, weights.alpha) / rows;
    const share = 1 / (label < 0 ? rows - hits : hits);
    const y = label < 0 ? new Float64Array(voxels) : wanted[label]!;
    const terms = maskTerms(ofMasks[i]!, y, weights.mask!.gamma, weights.mask!.alpha);
    if (label >= 0 || weights.emptyMasks) {
      loss += share * (weights.mask!.dice * terms.dice + weights.mask!.focal * terms.focal);
    }
    if (label < 0) return;
    loss += share * weights.l1 * l1Of(ofBoxes[i]!, labels[label]!);
    loss += share * weights.giou * giouOf(ofBoxes[i]!, labels[label]!);
  });
  return loss;
}

const lossWeights: InstanceLossWeights = {
  discrimination: 2,
  gamma: 2,
  alpha: 0.85,
  l1: 5,
  giou: 2,
  mask,
};

deviceTest("the instance loss and its gradients follow the definition", async (device) => {
  for (const emptyMasks of [false, true]) {
    for (const [queries, spans] of [[5, [[0, 2], [2, 2]]], [3, [[0, 4], [4, 5]]]] as const) {
      const count = spans.at(-1)![1], voxels = 7, rows = queries * spans.length;
      const weights = { ...lossWeights, emptyMasks };
      const known = boxes(count, 3, 3);
      const labelMasks = normals(count * voxels, 9).map((value) => value > 0 ? 1 : 0);
      const labels = instanceLabels(device, {
        boxes: known,
        images: [spans],
        queries,
        masks: { values: labelMasks, shape: [voxels] },
      });
      await checkGradients(device, {
        inputs: {
          logits: { shape: [spans.length, queries] },
          predicted: { shape: [rows, 6], values: boxes(rows, 3, 8) },
          masks: { shape: [rows, voxels] },
        },
        operation: ({ logits, predicted, masks }) =>
          instanceLoss({ logits, boxes: predicted, masks }, labels, weights).loss,
        reference: (inputs) => [
          lossByDefinition(inputs, { queries, known, labelMasks, spans, voxels }, weights),
        ],
        step: 1e-6,
        tolerance: 5e-4,
        what: `${queries} queries`,
      });
    }
  }
});

deviceTest("the loss of a batch is the mean over its images", async (device) => {
  const queries = 4, known = boxes(5, 3, 1);
  const images: [number, number][][] = [[[0, 1], [1, 3]], [[3, 3]], [[3, 5]]];
  const all = images.flat();
  const logits = normals(all.length * queries, 2), predicted = boxes(all.length * queries, 3, 3);
  const lossOf = async (chosen: typeof images, from: number) => {
    const targets = chosen.flat().length;
    const labels = instanceLabels(device, { boxes: known, images: chosen, queries });
    const part = (values: Float32Array<ArrayBuffer>, width: number) =>
      values.slice(from * width, (from + targets) * width);
    const { loss } = instanceLoss(
      {
        logits: tensor(device, part(logits, queries), [targets, queries]),
        boxes: tensor(device, part(predicted, 6 * queries), [targets, queries, 6]),
      },
      labels,
      lossWeights,
    );
    return (await loss.readFloats())[0]!;
  };
  const single = [
    await lossOf([images[0]!], 0),
    await lossOf([images[1]!], 2),
    await lossOf([images[2]!], 3),
  ];
  assertCloseTo([await lossOf(images, 0)], [mean(single)], { atol: 1e-6 });
});

deviceTest(
  "without labels all queries are left over, and boxes get no gradient",
  async (device) => {
    const labels = instanceLabels(device, { boxes: [], images: [[[0, 0], [0, 0]]], queries: 3 });
    const logits = tensor(device, normals(6, 1), [2, 3]);
    const predicted = tensor(device, boxes(6, 3, 2), [2, 3, 6]);
    const masks = tensor(device, normals(6 * 5, 4), [2, 3, 5]);
    const { value, gradients } = differentiate(
      device,
      [logits, predicted],
      () => {
        const result = instanceLoss({ logits, boxes: predicted }, labels, lossWeights);
        assertEquals([result.l1, result.giou], [undefined, undefined]);
        return result.loss;
      },
    );
    const values = normals(6, 1);
    const expected = 2 * mean(values.map((x) => focal(x, 0, 2, 0.85)));
    assertCloseTo(await value.readFloats(), [expected], { rtol: 1e-5 });
    assert(gradients[0] !== undefined);
    assertEquals(gradients[1], undefined);
    const costs = instanceCosts({ logits, boxes: predicted }, labels, costKinds[0]!);
    const match = matchInstances(costs, labels);
    assertEquals([...await match.chosen.read()], Array(6).fill(-1));
    const measures = instanceMeasures({ logits, masks }, labels, lossWeights, match);
    assertEquals(measures.matched, undefined);
    assertCloseTo(await measures.leftOver!.readFloats(), [mean(values.map((x) => focal(x, 0, 2)))]);
    assertCloseTo(await measures.emptyDice!.readFloats(), [1]);
  },
);

deviceTest("a prediction that is no number makes the loss none", async (device) => {
  const labels = instanceLabels(device, { boxes: boxes(1, 3, 1), images: [[[0, 1]]], queries: 2 });
  const predicted = boxes(2, 3, 2);
  predicted[3] = NaN;
  const { loss, match } = instanceLoss(
    {
      logits: tensor(device, Float32Array.of(0, 1), [1, 2]),
      boxes: tensor(device, predicted, [1, 2, 6]),
    },
    labels,
    lossWeights,
  );
  assertEquals([...await match.status.read()], [1]);
  assert(Number.isNaN((await loss.readFloats())[0]));
});

Deno.test("masks are compared at the size of matching by their nearest voxels", async () => {
  const [device] = await testDevices();
  const values = Float32Array.from({ length: 12 }, (_, i) => i);
  const { masks, matchMasks } = instanceLabels(device!, {
    boxes: boxes(1, 3, 1),
    images: [[[0, 1]]],
    queries: 2,
    masks: { values, shape: [1, 3, 4], matchShape: [1, 2, 3] },
  });
  assertEquals(masks!.shape, [1, 12]);
  // Rows 0 and 2; columns 0, 2 and 3: the voxels in which the centres of the larger ones lie.
  assertEquals([...await matchMasks!.read()], [0, 2, 3, 8, 10, 11]);
});

Deno.test("labels and predictions that do not fit are refused", async () => {
  const [device] = await testDevices();
  const setup = { boxes: boxes(1, 3, 1), images: [[[0, 1]]] as const, queries: 2 };
  assertThrows(
    () => instanceLabels(device!, { ...setup, images: [[[0, 2]]] }),
    RangeError,
    "there are 1",
  );
  const bad = { values: new Float32Array(3), shape: [2] };
  assertThrows(() => instanceLabels(device!, { ...setup, masks: bad }), RangeError, "3 values");
  const labels = instanceLabels(device!, setup);
  const logits = tensor(device!, new Float32Array(2), [1, 2]);
  const predicted = tensor(device!, new Float32Array(8), [1, 2, 4]);
  assertThrows(
    () => instanceCosts({ logits, boxes: predicted }, labels, costKinds[0]!),
    RangeError,
    "expected [1, 2] and [1, 2, 6]",
  );
  const none = instanceLabels(device!, { boxes: [], images: [], queries: 2 });
  const nothing = tensor(device!, new Float32Array(0), [0, 2]);
  assertThrows(
    () => instanceLoss({ logits: nothing, boxes: nothing }, none, lossWeights),
    RangeError,
    "no instances",
  );
});
