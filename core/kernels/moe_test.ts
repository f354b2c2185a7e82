import { assertEquals, assertThrows } from "@std/assert";
import { combineExperts, moeCapacity, type RouteOptions, routeTokens } from "../tensor/moe.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";

interface Case {
  tokens: number;
  experts: number;
  k: 1 | 2;
  capacity: number;
  /** Random token selection (top-1) or noise on the second choice (top-2). */
  noise?: boolean;
  /** Added to the logits of expert 0, so that it runs over. */
  skew?: number;
  /** Logits and noise on a coarse grid, so that they tie. */
  ties?: boolean;
}

/** By sorting, one expert after the other: nothing in common with the counting kernels. */
function reference(logits: Float32Array, noise: Float32Array | undefined, one: Case) {
  const { tokens, experts, k, capacity } = one;
  const gates = new Float64Array(tokens * experts);
  const choices: number[][] = [];
  for (let t = 0; t < tokens; t++) {
    const row = Array.from(logits.subarray(t * experts, (t + 1) * experts));
    const top = Math.max(...row), total = row.reduce((sum, x) => sum + Math.exp(x - top), 0);
    row.forEach((x, e) => gates[t * experts + e] = Math.exp(x - top) / total);
    const first = row.indexOf(top);
    const noisy = row.map((x, e) =>
      e === first ? -Infinity : Math.fround(x + (noise?.[t * experts + e] ?? 0))
    );
    choices.push(k === 1 ? [first] : [first, noisy.indexOf(Math.max(...noisy))]);
  }
  const slot = new Array<number>(tokens * k).fill(-1);
  const tokenOf: number[][] = [];
  for (let e = 0; e < experts; e++) {
    const chose = (j: number) => choices.flatMap((picked, t) => picked[j] === e ? [t] : []);
    let queue = chose(0);
    if (k === 1 && noise !== undefined) {
      const value = (t: number) => noise[t * experts + e]!;
      queue = queue.toSorted((a, b) => value(b) - value(a) || a - b).slice(0, capacity)
        .toSorted((a, b) => a - b);
    }
    const entries = [
      ...queue.map((t) => [t, 0] as const),
      ...(k === 2 ? chose(1).map((t) => [t, 1] as const) : []),
    ].slice(0, capacity);
    entries.forEach(([t, j], s) => slot[t * k + j] = s);
    tokenOf.push(entries.map(([t]) => t));
  }
  const weight = choices.flatMap((picked, t) => {
    const kept = picked.map((e, j) => slot[t * k + j]! < 0 ? 0 : gates[t * experts + e]!);
    const total = k === 1 ? 1 : Math.max(2 ** -23, kept[0]! + kept[1]!);
    return kept.map((value) => value / total);
  });
  const counts = Array.from(
    { length: experts },
    (_, e) => choices.filter(([first]) => first === e).length,
  );
  const loss = counts.reduce((sum, count, e) => {
    let mean = 0;
    for (let t = 0; t < tokens; t++) mean += gates[t * experts + e]! / tokens;
    return sum + experts * mean * count / tokens;
  }, 0);
  return { gates, expert: choices.flat(), slot, tokenOf, weight, counts, loss };
}

const cases: Case[] = [
  { tokens: 1, experts: 2, k: 1, capacity: 1 },
  { tokens: 1, experts: 2, k: 1, capacity: 3, noise: true },
  { tokens: 1, experts: 2, k: 2, capacity: 1 },
  { tokens: 1, experts: 7, k: 2, capacity: 2, noise: true },
  { tokens: 1, experts: 64, k: 1, capacity: 1 },
  { tokens: 2, experts: 1, k: 1, capacity: 1 },
  { tokens: 5, experts: 2, k: 1, capacity: 5 },
  { tokens: 37, experts: 2, k: 1, capacity: 19, noise: true },
  { tokens: 37, experts: 2, k: 1, capacity: 28, noise: true, skew: 3 },
  { tokens: 38, experts: 2, k: 1, capacity: 29, skew: 9 },
  { tokens: 38, experts: 2, k: 1, capacity: 11, noise: true, skew: 1, ties: true },
  { tokens: 37, experts: 2, k: 2, capacity: 37, noise: true },
  { tokens: 21, experts: 2, k: 2, capacity: 11, noise: true },
  { tokens: 26, experts: 4, k: 2, capacity: 8, noise: true, skew: 1 },
  { tokens: 64, experts: 8, k: 1, capacity: 3, noise: true },
  { tokens: 65, experts: 8, k: 2, capacity: 5 },
  { tokens: 63, experts: 5, k: 2, capacity: 9, noise: true, ties: true },
  { tokens: 127, experts: 64, k: 1, capacity: 2 },
  { tokens: 255, experts: 3, k: 1, capacity: 128, noise: true },
  { tokens: 256, experts: 16, k: 2, capacity: 32, noise: true },
  { tokens: 257, experts: 2, k: 1, capacity: 1, noise: true },
  { tokens: 700, experts: 2, k: 1, capacity: 525, noise: true, skew: 2 },
  { tokens: 4096, experts: 64, k: 2, capacity: 70, noise: true },
];

function make(one: Case, seed: number) {
  const { tokens, experts, skew = 0, ties = false } = one;
  const coarse = (x: number) => ties ? Math.round(2 * x) / 2 : x;
  const logits = normals(tokens * experts, seed).map((x, i) =>
    coarse(x) + (i % experts === 0 ? skew : 0)
  );
  return { logits, noise: one.noise ? normals(tokens * experts, seed + 1).map(coarse) : undefined };
}

function options({ k, capacity }: Case, noise: Tensor | undefined): RouteOptions {
  if (noise === undefined) return { k, capacity };
  return { k, capacity, ...(k === 1 ? { uniform: noise } : { gumbel: noise }) };
}

const numbers = async (x: Tensor): Promise<number[]> => [...await x.read()];

deviceTest("routing and combining equal sorting and summing", async (device) => {
  for (const [seed, one] of cases.entries()) {
    const { tokens, experts, k, capacity } = one, what = JSON.stringify(one);
    const { logits, noise } = make(one, seed);
    const shape = [tokens, experts];
    const expected = reference(logits, noise, one);
    const routing = routeTokens(
      tensor(device, logits, shape),
      options(one, noise && tensor(device, noise, shape)),
    );
    assertCloseTo(await routing.gates.readFloats(), expected.gates, { atol: 1e-6, what });
    assertEquals(await numbers(routing.expert), expected.expert, what);
    assertEquals(await numbers(routing.slot), expected.slot, what);
    assertEquals(await numbers(routing.expertCounts), expected.counts, what);
    assertEquals(
      await numbers(routing.used),
      expected.tokenOf.map(({ length }) => length),
      what,
    );
    const tokenOf = await numbers(routing.tokenOf);
    expected.tokenOf.forEach((list, e) =>
      assertEquals(tokenOf.slice(e * capacity, e * capacity + list.length), list, what)
    );
    assertCloseTo(await routing.weight.readFloats(), expected.weight, { atol: 1e-6, what });
    assertCloseTo(await routing.auxLoss.readFloats(), [expected.loss], { what });

    const width = 5;
    const outputs = normals(experts * capacity * width, seed + 2);
    const residual = normals(tokens * width, seed + 3);
    const sums = Float64Array.from(residual, (value, i) => {
      const t = Math.floor(i / width);
      for (let j = t * k; j < (t + 1) * k; j++) {
        if (expected.slot[j]! < 0) continue;
        const row = expected.expert[j]! * capacity + expected.slot[j]!;
        value += expected.weight[j]! * outputs[row * width + i % width]!;
      }
      return value;
    });
    const products = tensor(device, outputs, [experts * capacity, width]);
    const added = combineExperts(routing, products, tensor(device, residual, [tokens, width]));
    assertCloseTo(await added.readFloats(), sums, { what });
    assertCloseTo(
      await combineExperts(routing, products).readFloats(),
      sums.map((value, i) => value - residual[i]!),
      { what },
    );
  }
});

deviceTest("routing stays finite, reuses memory and replays", async (device) => {
  const logits = tensor(device, Float32Array.of(3e37, -3e37, 0, 0, -1e30, 1e30), [3, 2]);
  for (const k of [1, 2] as const) {
    const { gates, auxLoss, weight } = routeTokens(logits, { k, capacity: 2 });
    for (const x of [gates, auxLoss, weight]) {
      assertEquals((await x.readFloats()).every(Number.isFinite), true);
    }
  }
  const work = () => routeTokens(logits, { k: 1, capacity: 1 });
  for (let i = 0, created = 0; i < 2; i++) {
    using _scope = device.scope();
    work();
    if (i === 0) created = device.memory.created;
    assertEquals(device.memory.created, created);
  }
  let routing = work();
  using recording = device.record(() => {
    routing = work();
  });
  logits.write(Float32Array.of(0, 1, 1, 0, 0, 1));
  recording.replay();
  assertEquals(await numbers(routing.slot), [0, 0, -1]);
  assertEquals(await numbers(routing.expertCounts), [1, 2]);
});

deviceTest("shapes that do not fit are refused", (device) => {
  const logits = tensor(device, new Float32Array(6), [3, 2]);
  assertThrows(
    () => routeTokens(logits, { k: 1, capacity: 2, uniform: logits.reshape(2, 3) }),
    RangeError,
    "[2, 3]",
  );
  assertThrows(
    () => routeTokens(logits.reshape(6, 1), { k: 2, capacity: 2 }),
    RangeError,
    "E >= 2",
  );
  const routing = routeTokens(logits, { k: 1, capacity: 2 });
  assertThrows(() => combineExperts(routing, logits), RangeError, "[4, H]");
  return Promise.resolve();
});

Deno.test("capacity rounds up the float32 product, with a minimum", () => {
  assertEquals(moeCapacity(37, 2, 1.5, 0, 1), 28);
  assertEquals(moeCapacity(37, 2, 1, 0, 2), 37);
  assertEquals(moeCapacity(26, 4, 0.6, 0, 2), 8);
  assertEquals(moeCapacity(6, 2, 1, 4, 1), 4);
  assertEquals(moeCapacity(20, 2, 1.1, 0, 1), 11);
  assertEquals(moeCapacity(1, 64, 1, 0, 1), 1);
});
