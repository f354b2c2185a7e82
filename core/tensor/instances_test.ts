import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { assertCloseTo, deviceTest, normals, testDevices } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import {
  type CostWeights,
  instanceCosts,
  instanceLabels,
  type LabelSetup,
  matchInstances,
} from "./instances.ts";
import { boxes, costsByDefinition, rowsOf } from "./instances_testing.ts";
import { assignment } from "./matching.ts";
import { tensor } from "./tensor.ts";

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
});
