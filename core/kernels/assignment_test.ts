import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InputError } from "../errors.ts";
import { type Assignment, assignment } from "./assignment.ts";
import { leastTotal } from "./matching_testing.ts";

/** Each side names the other, nothing twice, and all of the smaller side is there. */
function assertComplete({ rowToColumn, columnToRow }: Assignment) {
  let matched = 0;
  rowToColumn.forEach((column, row) => {
    if (column < 0) return;
    matched++;
    assertEquals(columnToRow[column], row);
  });
  assertEquals(columnToRow.filter((row) => row >= 0).length, matched);
  assertEquals(matched, Math.min(rowToColumn.length, columnToRow.length));
}

const problems = (cost: fc.Arbitrary<number>) =>
  fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 6 })).chain(
    ([rows, columns]) =>
      fc.array(cost, { minLength: rows * columns, maxLength: rows * columns }).map((costs) => ({
        rows,
        columns,
        costs,
      })),
  );

const costKinds = {
  integers: fc.integer({ min: -3, max: 3 }),
  doubles: fc.double({ min: -1e3, max: 1e3, noNaN: true }),
  "large and small": fc.oneof(
    fc.constantFrom(1e8, 1e30, 0),
    fc.double({ min: 0, max: 1, noNaN: true }),
  ),
};

for (const [kind, cost] of Object.entries(costKinds)) {
  Deno.test(`the total is the least of all: ${kind}`, () => {
    fc.assert(fc.property(problems(cost), ({ rows, columns, costs }) => {
      const found = assignment(costs, rows, columns);
      assertComplete(found);
      const least = leastTotal(costs, rows, columns);
      assertAlmostEquals(found.total, least, 1e-9 * Math.max(1, Math.abs(least)));
    }));
  });
}

Deno.test("forbidden pairs are avoided where that is possible", () => {
  const forbidding = fc.oneof(fc.constant(Infinity), fc.integer({ min: -5, max: 5 }));
  fc.assert(fc.property(problems(forbidding), ({ rows, columns, costs }) => {
    const least = leastTotal(costs, rows, columns);
    if (least === Infinity) {
      assertThrows(() => assignment(costs, rows, columns), InputError, "infinite cost");
    } else assertEquals(assignment(costs, rows, columns).total, least);
  }));
});

Deno.test("the order of rows and columns does not change the total", () => {
  fc.assert(fc.property(problems(fc.integer({ min: 0, max: 9 })), ({ rows, columns, costs }) => {
    const { total } = assignment(costs, rows, columns);
    const reversed = costs.toReversed();
    assertEquals(assignment(reversed, rows, columns).total, total);
    const turned = Array.from(
      { length: costs.length },
      (_, i) => costs[i % rows * columns + Math.floor(i / rows)],
    );
    assertEquals(assignment(turned, columns, rows).total, total);
  }));
});

Deno.test("costs that are no numbers are refused", () => {
  for (const bad of [NaN, -Infinity]) {
    assertThrows(() => assignment([1, bad, 2, 3], 2, 2), InputError, "NaN or negative infinity");
  }
  assertThrows(() => assignment([1, 2, 3], 2, 2), RangeError, "got 3 costs");
});
