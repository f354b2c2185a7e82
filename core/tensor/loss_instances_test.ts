import { assert, assertEquals, assertThrows } from "@std/assert";
import { assertCloseTo, deviceTest, normals, testDevices } from "../kernels/kernel_testing.ts";
import { checkGradients } from "./gradient_testing.ts";
import { instanceCosts, instanceLabels, matchInstances } from "./instances.ts";
import {
  boxes,
  costsByDefinition,
  focal,
  giouOf,
  l1Of,
  maskTerms,
  mean,
  rowsOf,
} from "./instances_testing.ts";
import {
  type InstanceLoss,
  instanceLoss,
  type InstanceLossWeights,
  instanceMeasures,
} from "./loss_instances.ts";
import { assignment } from "./matching.ts";
import { differentiate } from "./tape.ts";
import { tensor } from "./tensor.ts";

const mask = { dice: 5, focal: 3, gamma: 2, alpha: 0.8 };

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
    const costs = instanceCosts({ logits, boxes: predicted }, labels, {
      classWeight: 2,
      l1Weight: 5,
      giouWeight: 2,
    });
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

deviceTest("a recorded loss replays with new predictions and allocates nothing", async (device) => {
  const queries = 5;
  const labels = instanceLabels(device, {
    boxes: boxes(3, 3, 1),
    images: [[[0, 1], [1, 3]]],
    queries,
  });
  const logits = tensor(device, normals(10, 1), [2, queries]);
  const predicted = tensor(device, boxes(10, 3, 2), [2, queries, 6]);
  const run = () => instanceLoss({ logits, boxes: predicted }, labels, lossWeights);
  let result: InstanceLoss;
  using recording = device.record(() => {
    result = run();
  });
  for (const seed of [3, 4]) {
    logits.write(normals(10, seed));
    predicted.write(boxes(10, 3, seed + 5));
    const expected = await run().loss.readFloats();
    const { created } = device.memory;
    recording.replay();
    assertEquals(await result!.loss.readFloats(), expected);
    assertEquals(device.memory.created, created);
  }
});

Deno.test("the loss of no instances is refused", async () => {
  const [device] = await testDevices();
  const none = instanceLabels(device!, { boxes: [], images: [], queries: 2 });
  const nothing = tensor(device!, new Float32Array(0), [0, 2]);
  assertThrows(
    () => instanceLoss({ logits: nothing, boxes: nothing }, none, lossWeights),
    RangeError,
    "no instances",
  );
});
