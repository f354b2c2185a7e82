import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FieldError } from "./fields.ts";
import { boxOfRuns, maskOf, maskRunsOf, runLengths, toRuns, unionOf } from "./mask_runs.ts";

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

/** Packs counts as pycocotools' `rleToString` does: by its format, in groups of five bits from the lowest. */
function packed(counts: readonly number[]): string {
  let text = "";
  counts.forEach((count, index) => {
    let value = index > 2 ? count - counts[index - 2] : count;
    for (let more = true; more;) {
      const bits = value & 31;
      value >>= 5;
      // Done once the sign of the rest is that of the highest bit.
      more = value !== ((bits & 16) === 0 ? 0 : -1);
      text += String.fromCharCode(48 + bits + (more ? 32 : 0));
    }
  });
  return text;
}

Deno.test("masks survive as a list of runs and as packed text, whatever the lengths", () => {
  fc.assert(fc.property(mask, (one) => {
    const { size, counts } = toRuns(one);
    assertEquals(maskRunsOf({ size, counts: packed(counts) }), { size, counts });
  }));
  const lengths = fc.array(fc.integer({ min: 0, max: 2 ** 18 }), { minLength: 1, maxLength: 100 });
  fc.assert(fc.property(lengths, (counts) => {
    const sum = counts.reduce((a, b) => a + b, 0);
    fc.pre(sum > 0);
    const size: [number, number] = [1, sum];
    assertEquals(maskRunsOf({ size, counts: packed(counts) }), { size, counts });
  }));
});

Deno.test("a mask of runs is laid out when it is looked at", () => {
  fc.assert(fc.property(mask, (one) => {
    const runs = toRuns(one);
    const lazy = maskOf(runs);
    assertEquals(toRuns(lazy), runs);
    assertEquals({ ...lazy }, one);
    assertEquals(lazy.data, lazy.data);
    assertEquals(runLengths(lazy), runs.counts);
    assertEquals(structuredClone(lazy), one);
  }));
  // As many pixels as an image may have, 4096 times: 256 GiB if they were laid out.
  const many = Array.from(
    { length: 4096 },
    () => maskOf({ size: [8192, 8192], counts: [2 ** 26] }),
  );
  assertEquals(many.map((one) => toRuns(one).counts.length), many.map(() => 1));
});

Deno.test("random text is a mask or refused, and its counts never exceed its size", () => {
  const text = fc.string({
    unit: fc.integer({ min: 40, max: 120 }).map((c) => String.fromCharCode(c)),
  });
  fc.assert(fc.property(text, (counts) => {
    try {
      const runs = maskRunsOf({ size: [3, 5], counts });
      assertEquals(runs.counts.reduce((a, b) => a + b, 0), 15);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
    }
  }));
});

Deno.test("the packed text of COCO files", () => {
  // Written by rules of pycocotools' `rleToString`; the fourth count on is a difference to the one two before.
  const examples: [text: string, size: number[], counts: number[]][] = [
    ["044", [2, 4], [0, 4, 4]],
    ["T15i1M", [10, 10], [36, 5, 57, 2]],
    ["T3n0d?YO_E", [20, 40], [100, 30, 500, 7, 163]],
    ["3Xo02PROYl2", [40, 100], [3, 1000, 2, 40, 2955]],
  ];
  for (const [counts, size, expected] of examples) {
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
