import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { Device } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import { assign, assignment, pairedCosts, readAssignments } from "../tensor/matching.ts";
import { tensor } from "../tensor/tensor.ts";
import { deviceTest, normals, testDevices } from "./kernel_testing.ts";
import { matchingSteps } from "./matching.ts";
import { leastTotal } from "./matching_testing.ts";
import { variants } from "./variant_testing.ts";

interface Problem {
  readonly rows: number;
  readonly columns: number;
  readonly costs: ArrayLike<number>;
}

/** Solves problems of any sizes in one batch; total of each, with both matchings checked against each other. */
async function totals(device: Device, problems: readonly Problem[]): Promise<number[]> {
  const rows = Math.max(0, ...problems.map((one) => one.rows));
  const columns = Math.max(0, ...problems.map((one) => one.columns));
  // What lies outside a problem must not be read.
  const costs = new Float32Array(problems.length * rows * columns).fill(NaN);
  problems.forEach((one, b) => {
    for (let r = 0; r < one.rows; r++) {
      for (let c = 0; c < one.columns; c++) {
        costs[(b * rows + r) * columns + c] = one.costs[r * one.columns + c]!;
      }
    }
  });
  const sizes = problems.flatMap((one) => [one.rows, one.columns]);
  const counts = tensor(device, Uint32Array.from(sizes), [problems.length, 2]);
  const input = tensor(device, costs, [problems.length, rows, columns]);
  const found = assign(input, { counts });
  const columnOf = await readAssignments(found, sizes), rowOf = await found.columnToRow.read();
  for (const one of [counts, input, ...Object.values(found)]) one.dispose();
  return problems.map((one, b) => {
    let total = 0, matched = 0;
    for (let r = 0; r < rows; r++) {
      const c = columnOf[b * rows + r]!;
      if (c < 0) continue;
      matched++;
      assert(r < one.rows && c < one.columns);
      assertEquals(rowOf[b * columns + c], r);
      total += one.costs[r * one.columns + c]!;
    }
    assertEquals(matched, Math.min(one.rows, one.columns));
    const others = rowOf.subarray(b * columns, (b + 1) * columns);
    assertEquals(others.filter((row) => row >= 0).length, matched);
    return total;
  });
}

const costKinds = {
  integers: fc.integer({ min: -3, max: 3 }),
  floats: fc.float({ min: -1000, max: 1000, noNaN: true }),
  "large and small": fc.oneof(
    fc.constantFrom(2 ** 27, Math.fround(1e30), 0),
    fc.float({ min: 0, max: 1, noNaN: true }),
  ),
};

for (const [kind, cost] of Object.entries(costKinds)) {
  deviceTest(`batches of small problems have the least total of all: ${kind}`, async (device) => {
    const problem = fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 6 }))
      .chain(([rows, columns]) =>
        fc.array(cost, { minLength: rows * columns, maxLength: rows * columns })
          .map((costs): Problem => ({ rows, columns, costs }))
      );
    await fc.assert(
      fc.asyncProperty(fc.array(problem, { minLength: 1, maxLength: 20 }), async (problems) => {
        const found = await totals(device, problems);
        problems.forEach(({ costs, rows, columns }, b) => {
          const least = leastTotal(costs, rows, columns);
          const error = Math.abs(found[b]! - least);
          assert(error <= 1e-9 * Math.abs(least), `${found[b]}, the least is ${least}`);
        });
      }),
      { numRuns: 25 },
    );
  });
}

const sizes = [
  [1, 1],
  [1, 9],
  [9, 1],
  [7, 8],
  [16, 17],
  [33, 31],
  [64, 64],
  [65, 129],
  [127, 60],
  [1, 300],
  [5, 1000],
  [200, 100],
  [100, 200],
  [257, 256],
  [300, 300],
] as const;

/** Costs of which many are nearly equal: their sums differ by less than a float would tell. */
const nearTies = (count: number, seed: number) =>
  normals(count, seed).map((value) => 1 + value * 2 ** -20);

deviceTest("larger problems have the total that double precision finds", async (device) => {
  for (const [order, { device: variant }] of variants(device).entries()) {
    for (const [index, [rows, columns]] of sizes.entries()) {
      if (order > 0 && index % 3 !== order - 1) continue;
      for (const make of [normals, nearTies]) {
        const costs = make(rows * columns, index + 3);
        const [total] = await totals(variant, [{ rows, columns, costs }]);
        const expected = assignment(costs, rows, columns).total;
        assert(
          Math.abs(total! - expected) <= 1e-12 * Math.abs(expected),
          `${rows}x${columns}: ${total}, expected ${expected}`,
        );
      }
    }
  }
});

/** Costs (r + 1) (c + 1), for which a search walks through everything that is matched: the most steps there can be. */
function worst(rows: number, columns: number): Problem {
  const costs = Float32Array.from(
    { length: rows * columns },
    (_, i) => (Math.floor(i / columns) + 1) * (i % columns + 1),
  );
  return { rows, columns, costs };
}

deviceTest("problems that take every step are solved over several dispatches", async (device) => {
  for (const [rows, columns] of [[200, 100], [300, 300]] as const) {
    const [total] = await totals(device, [worst(rows, columns)]);
    assertEquals(total, assignment(worst(rows, columns).costs, rows, columns).total);
  }
  assert(matchingSteps(64, 300, 300).dispatches > 1);
});

deviceTest("permuted problems have the same total, in one batch", async (device) => {
  const rows = 23, columns = 17;
  const costs = normals(rows * columns, 11).map((value) => Math.round(4 * value));
  const problems = Array.from({ length: 9 }, (_, n): Problem => {
    const row = (r: number) => (r * (n + 1) + n) % rows,
      column = (c: number) => (c * 3 + n) % columns;
    return {
      rows,
      columns,
      costs: costs.map((_, i) =>
        costs[row(Math.floor(i / columns)) * columns + column(i % columns)]!
      ),
    };
  });
  const found = await totals(device, problems);
  assertEquals(found, Array(9).fill(assignment(costs, rows, columns).total));
});

deviceTest("costs in double precision go as pairs of floats", async (device) => {
  const rows = 12, columns = 15;
  // Differences far below what a float holds at 1e8.
  const costs = Float64Array.from(normals(rows * columns, 5), (value) => 1e8 + value);
  const input = tensor(device, pairedCosts(costs), [1, rows, columns, 2]);
  const columnOf = await readAssignments(assign(input, { paired: true }));
  let total = 0;
  columnOf.forEach((column, row) => total += costs[row * columns + column]! - 1e8);
  const expected = assignment(costs, rows, columns).total - rows * 1e8;
  assert(Math.abs(total - expected) < 1e-5, `${total}, expected ${expected}`);
  assertThrows(() => pairedCosts([1e37]), RangeError, "beyond 1e36");
});

deviceTest("problems without an answer say so, the others are solved", async (device) => {
  const inf = Infinity;
  const costs = [
    [1, 2, 3, 1],
    [1, NaN, 2, 3],
    [1, -inf, 2, 3],
    [inf, inf, 1, 2],
    [inf, 2, 2, inf],
    [1, 2e36, 2, 3],
    [inf, 1, inf, 2],
  ];
  const input = tensor(device, Float32Array.from(costs.flat()), [costs.length, 2, 2]);
  const found = assign(input);
  assertEquals([...await found.status.read()], [0, 1, 1, 2, 0, 4, 2]);
  const none = [-1, -1];
  assertEquals(
    [...await found.rowToColumn.read()],
    [[0, 1], none, none, none, [1, 0], none, none].flat(),
  );
  const message = (end: number) => {
    const status = tensor(device, Uint32Array.of(end));
    return readAssignments({ ...found, status });
  };
  await assertRejects(() => message(1), InputError, "a cost is NaN or negative infinity");
  await assertRejects(
    () => message(2),
    InputError,
    "every complete assignment has an infinite cost",
  );
  await assertRejects(() => message(4), InputError, "beyond 1e36");
});

deviceTest("sides of length zero leave the other unmatched", async (device) => {
  for (const [rows, columns] of [[0, 4], [4, 0], [0, 0]] as const) {
    const found = assign(tensor(device, [], [2, rows, columns]));
    assertEquals([...await readAssignments(found)], Array(2 * rows).fill(-1));
    assertEquals([...await found.columnToRow.read()], Array(2 * columns).fill(-1));
  }
  assertEquals((await readAssignments(assign(tensor(device, [], [0, 3, 3])))).length, 0);
});

deviceTest("a recorded matching replays with new costs and allocates nothing", async (device) => {
  const shape = [3, 11, 7];
  const input = tensor(device, normals(231, 1), shape);
  let found: ReturnType<typeof assign>;
  using recording = device.record(() => {
    found = assign(input);
  });
  const { created } = device.memory;
  for (const seed of [2, 3]) {
    const costs = normals(231, seed);
    input.write(costs);
    recording.replay();
    const columnOf = await readAssignments(found!);
    for (let b = 0; b < 3; b++) {
      assertEquals(
        [...columnOf.subarray(11 * b, 11 * b + 11)],
        [...assignment(costs.subarray(77 * b, 77 * b + 77), 11, 7).rowToColumn],
      );
    }
  }
  assertEquals(device.memory.created, created);
});

Deno.test("shapes that do not fit are refused", async () => {
  const [device] = await testDevices();
  const costs = tensor(device!, new Float32Array(6), [1, 2, 3]);
  assertThrows(() => assign(costs, { paired: true }), RangeError, "expected f32 [B, R, C, 2]");
  assertThrows(() => assign(tensor(device!, [1], [1, 1])), RangeError, "expected f32 [B, R, C]");
  const counts = tensor(device!, Uint32Array.of(1), [1, 1]);
  assertThrows(() => assign(costs, { counts }), RangeError, "expected u32 [1, 2]");
});
