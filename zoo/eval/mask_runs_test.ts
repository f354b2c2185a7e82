import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FieldError } from "../data/fields.ts";
import { boxOfRuns, maskRunsOf, toRuns, unionOf } from "./mask_runs.ts";

const mask = fc.record({
  width: fc.integer({ min: 1, max: 9 }),
  height: fc.integer({ min: 1, max: 9 }),
  bits: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 81, maxLength: 81 }),
}).map(({ width, height, bits }) => ({
  width,
  height,
  data: Uint8Array.from(bits.slice(0, width * height)),
}));

Deno.test("a mask survives as runs, and the box is the smallest around it", () => {
  fc.assert(fc.property(mask, (one) => {
    const runs = toRuns(one);
    assertEquals(maskRunsOf({ ...runs }), runs);
    assertEquals(unionOf([runs], runs.size), one);
    const places = [...one.data.keys()].filter((i) => one.data[i] === 1);
    const columns = places.map((i) => i % one.width);
    const rows = places.map((i) => Math.floor(i / one.width));
    const box = places.length === 0
      ? undefined
      : [Math.min(...columns), Math.min(...rows), Math.max(...columns) + 1, Math.max(...rows) + 1];
    assertEquals(boxOfRuns(runs) as number[] | undefined, box);
  }));
});

Deno.test("the packed text of COCO files", () => {
  // Written by rules of pycocotools' `rleToString`; the fourth count on is a difference to the one two before.
  const packed: [text: string, size: number[], counts: number[]][] = [
    ["044", [2, 4], [0, 4, 4]],
    ["T15i1M", [10, 10], [36, 5, 57, 2]],
    ["T3n0d?YO_E", [20, 40], [100, 30, 500, 7, 163]],
    ["3Xo02PROYl2", [40, 100], [3, 1000, 2, 40, 2955]],
  ];
  for (const [counts, size, expected] of packed) {
    assertEquals(maskRunsOf({ size, counts }).counts, expected);
  }
});

Deno.test("what is no mask is refused", () => {
  const refused = (fields: Record<string, unknown>, said: string) =>
    assertThrows(() => maskRunsOf(fields), FieldError, said);
  refused({ size: [2, 2], counts: [3] }, "cover 3 pixels");
  refused({ size: [2, 2], counts: [5, -1] }, "whole numbers");
  refused({ size: [0, 2], counts: [] }, "not [height, width]");
  refused({ size: [1e5, 1e5], counts: [1e10] }, "more than");
  refused({ size: [2, 2], counts: "\u007f" }, "damaged");
});
