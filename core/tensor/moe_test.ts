import { assertEquals, assertThrows } from "@std/assert";
import { deviceTest, normals } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { multiply, scale } from "./elementwise.ts";
import { checkGradients } from "./gradient_testing.ts";
import { weightedSum } from "./loss_sum.ts";
import { combineExperts, dispatchTokens, routeTokens } from "./moe.ts";
import { concat } from "./movement.ts";
import { sumRows } from "./reduction.ts";
import { differentiate, isDifferentiated } from "./tape.ts";
import { type Tensor, tensor } from "./tensor.ts";

interface Shape {
  readonly tokens: number;
  readonly experts: number;
  readonly k: 1 | 2;
  readonly capacity: number;
  /** Random token selection. */
  readonly random?: boolean;
}

const shapes: readonly Shape[] = [
  { tokens: 1, experts: 2, k: 1, capacity: 1 },
  { tokens: 1, experts: 3, k: 2, capacity: 2 },
  { tokens: 7, experts: 2, k: 1, capacity: 7 },
  { tokens: 13, experts: 3, k: 1, capacity: 2, random: true },
  { tokens: 11, experts: 2, k: 2, capacity: 4 },
  { tokens: 17, experts: 5, k: 2, capacity: 3 },
  { tokens: 67, experts: 7, k: 2, capacity: 20 },
];

/** Logits whose order is clear, so that no difference of a small step changes a choice. */
function clearLogits({ tokens, experts }: Shape): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: tokens * experts },
    (_, i) => 0.7 * ((Math.floor(i / experts) * 5 + i % experts * 3) % experts) + 0.01 * (i % 7),
  );
}

interface Places {
  readonly expert: ArrayLike<number>;
  readonly slot: ArrayLike<number>;
}

/** Gates, combine weights and balance loss in double precision, with choices and drops as given. */
function route(logits: Float64Array, { tokens, experts, k }: Shape, { expert, slot }: Places) {
  const gates = new Float64Array(tokens * experts), weight = new Float64Array(tokens * k);
  const first = new Float64Array(experts), mean = new Float64Array(experts);
  for (let t = 0; t < tokens; t++) {
    const row = logits.subarray(t * experts, (t + 1) * experts);
    const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
    row.forEach((x, e) => {
      gates[t * experts + e] = Math.exp(x) / total;
      mean[e]! += Math.exp(x) / total / tokens;
    });
    first[expert[t * k]!]! += 1 / tokens;
    let kept = 0;
    for (let j = t * k; j < (t + 1) * k; j++) {
      kept += weight[j] = slot[j]! < 0 ? 0 : gates[t * experts + expert[j]!]!;
    }
    for (let j = t * k; k === 2 && kept > 0 && j < (t + 1) * k; j++) weight[j]! /= kept;
  }
  const loss = experts * first.reduce((sum, share, e) => sum + share * mean[e]!, 0);
  return { gates, weight, loss };
}

async function placesOf(logits: Tensor, options: Parameters<typeof routeTokens>[1]) {
  const { expert, slot } = routeTokens(logits, options);
  return { expert: await expert.read(), slot: await slot.read() };
}

function optionsOf(device: Tensor["device"], shape: Shape) {
  const { tokens, experts, k, capacity, random } = shape;
  const uniform = random && tensor(device, normals(tokens * experts, 5), [tokens, experts]);
  return { k, capacity, ...(uniform ? { uniform } : {}) };
}

deviceTest("gates, weights and balance loss carry gradients to the logits", async (device) => {
  for (const shape of shapes) {
    using _scope = device.scope();
    const { tokens, experts } = shape, values = clearLogits(shape);
    const options = optionsOf(device, shape);
    const places = await placesOf(tensor(device, values, [tokens, experts]), options);
    for (const what of ["weight", "loss", "all"] as const) {
      await checkGradients(device, {
        what: `${JSON.stringify(shape)} ${what}`,
        inputs: { logits: { shape: [tokens, experts], values } },
        operation({ logits }) {
          const { gates, weight, auxLoss } = routeTokens(logits, options);
          if (what === "weight") return weight;
          if (what === "loss") return auxLoss;
          return concat([gates.reshape(-1), weight.reshape(-1), auxLoss], 0);
        },
        reference({ logits }) {
          const { gates, weight, loss } = route(logits, shape, places);
          if (what === "weight") return weight;
          return what === "loss" ? [loss] : [...gates, ...weight, loss];
        },
        tolerance: 5e-5,
      });
    }
  }
});

deviceTest("tokens reach their experts and come back with gradients", async (device) => {
  for (const shape of shapes) {
    for (const width of [1, 5, 67]) {
      using _scope = device.scope();
      const { tokens, experts, k, capacity } = shape, values = clearLogits(shape);
      // Differences cost two references per value: the long rows only for few tokens.
      if (tokens * width > 600) continue;
      const options = optionsOf(device, shape);
      const { expert, slot } = await placesOf(tensor(device, values, [tokens, experts]), options);
      const rows = experts * capacity;
      const factors = normals(rows * width, 3).map((x) => 1 + 0.2 * x);
      await checkGradients(device, {
        what: `${JSON.stringify(shape)} ${width}`,
        inputs: {
          logits: { shape: [tokens, experts], values },
          x: { shape: [tokens, width] },
          scales: { shape: [rows, width], values: factors },
          residual: { shape: [tokens, width] },
        },
        operation({ logits, x, scales, residual }) {
          const routing = routeTokens(logits, options);
          const slots = dispatchTokens(routing, x);
          const outputs = weightedSum([
            { value: slots, weight: 2 },
            { value: scales, weight: 1 },
          ]);
          return combineExperts(routing, outputs, residual);
        },
        reference({ logits, x, scales, residual }) {
          const { weight } = route(logits, shape, { expert, slot });
          return Float64Array.from(residual, (added, i) => {
            const t = Math.floor(i / width), column = i % width;
            let sum = added;
            for (let j = t * k; j < (t + 1) * k; j++) {
              if (slot[j]! < 0) continue;
              const row = expert[j]! * capacity + slot[j]!;
              sum += weight[j]! * (2 * x[i]! + scales[row * width + column]!);
            }
            return sum;
          });
        },
        tolerance: 1e-4,
      });
    }
  }
});

deviceTest("every way to share rows gives the same combine weight gradients", async (device) => {
  const tokens = 9, experts = 3, capacity = 4, width = 1031;
  const shape: Shape = { tokens, experts, k: 2, capacity };
  const values = clearLogits(shape);
  const results: number[][] = [];
  for (const { device: variant } of variants(device)) {
    using _scope = variant.scope();
    const logits = tensor(variant, values, [tokens, experts]);
    const outputs = tensor(variant, normals(12 * width, 1), [12, width]);
    const weights = tensor(variant, normals(tokens * width, 2), [tokens, width]);
    const { gradients } = differentiate(variant, [logits], () => {
      const y = combineExperts(routeTokens(logits, { k: 2, capacity }), outputs);
      assertEquals(isDifferentiated(y), true);
      return sumRows(multiply(y, weights).reshape(-1, 1));
    });
    results.push([...await gradients[0]!.readFloats()]);
  }
  for (const result of results) {
    result.forEach((x, i) => assertEquals(Math.abs(x - results[0]![i]!) < 1e-3, true));
  }
  assertEquals(results[0]!.some((x) => Math.abs(x) > 1), true);
});

deviceTest("empty slots are zeros, and shapes that do not fit are refused", async (device) => {
  using _scope = device.scope();
  const logits = tensor(device, [0, 1, 0, 2, 0, 3], [3, 2]);
  const routing = routeTokens(logits, { k: 1, capacity: 2 });
  const x = tensor(device, [1, 2, 3, 4, 5, 6], [3, 2]);
  const slots = dispatchTokens(routing, x);
  assertEquals([...await slots.readFloats()], [0, 0, 0, 0, 1, 2, 3, 4]);
  assertThrows(() => dispatchTokens(routing, scale(x.reshape(2, 3), 1)), RangeError, "[3, H]");
});
