import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FieldError } from "./fields.ts";
import { maskRunsOf, unionOf } from "./mask_runs.ts";
import { type FlatOutline, runsOfOutlines } from "./outlines.ts";

/** Whether a point lies inside, counting the edges to the right of it. */
function isInside(outline: FlatOutline, x: number, y: number): boolean {
  let inside = false;
  for (let i = 0, j = outline.length - 2; i < outline.length; j = i, i += 2) {
    const [x0, y0, x1, y1] = [outline[i], outline[i + 1], outline[j], outline[j + 1]];
    if ((y0 > y) !== (y1 > y) && x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)) inside = !inside;
  }
  return inside;
}

// Odd thirty-seconds never meet the middle of a pixel exactly, so that both ways of counting edges agree.
const coordinate = fc.integer({ min: -200, max: 600 }).map((value) => (2 * value + 1) / 32);
const outline = fc.array(coordinate, { minLength: 6, maxLength: 24 })
  .map((list) => list.slice(0, list.length - list.length % 2));

Deno.test("a mask holds the pixels whose middle is inside an outline", () => {
  fc.assert(fc.property(
    fc.array(outline, { minLength: 1, maxLength: 3 }),
    fc.integer({ min: 1, max: 23 }),
    fc.integer({ min: 1, max: 23 }),
    (outlines, width, height) => {
      const runs = runsOfOutlines(outlines, [height, width]);
      assertEquals(maskRunsOf({ ...runs }), runs);
      const expected = Uint8Array.from({ length: width * height }, (_, i) => {
        const x = i % width + 0.5, y = Math.floor(i / width) + 0.5;
        return Number(outlines.some((one) => isInside(one, x, y)));
      });
      assertEquals(unionOf([runs], runs.size).data, expected);
    },
  ));
});

Deno.test("rectangles on whole pixels are exact, whichever way round", () => {
  fc.assert(fc.property(
    fc.record({
      x: fc.integer({ min: 0, max: 8 }),
      y: fc.integer({ min: 0, max: 8 }),
      width: fc.integer({ min: 1, max: 5 }),
      height: fc.integer({ min: 1, max: 5 }),
      reversed: fc.boolean(),
    }),
    ({ x, y, width, height, reversed }) => {
      const corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]];
      const { counts } = runsOfOutlines([(reversed ? corners.reverse() : corners).flat()], [
        13,
        13,
      ]);
      const ones = counts.filter((_, index) => index % 2 === 1);
      assertEquals(ones.reduce((sum, count) => sum + count, 0), width * height);
      assertEquals(counts[0], x * 13 + y);
    },
  ));
});

Deno.test("parts outside the picture are cut off", () => {
  const all = runsOfOutlines([[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]], [5, 7]);
  assertEquals(all.counts, [0, 35]);
  assertEquals(runsOfOutlines([[8, 0, 9, 0, 9, 5]], [5, 7]).counts, [35]);
});

Deno.test("what is no outline is refused before anything is drawn", () => {
  const refused = (outlines: FlatOutline[], said: string, size: [number, number] = [9, 9]) =>
    assertThrows(() => runsOfOutlines(outlines, size), FieldError, said);
  refused([[0, 0, 5, 0, 5]], "outline 1 has 5 coordinates, an odd number");
  refused([[0, 0, 5, 0, 5, 5], [0, 0, 5, 0]], "outline 2 has 2 corners, fewer than 3");
  refused([[0, 0, 1e300, 0, 5, 5]], "far outside");
  refused([[0, 0, NaN, 0, 5, 5]], "far outside");
  // A picture of one row, and a line that runs to and fro in it.
  const toAndFro = Array.from({ length: 40 }, (_, index) => [index % 2 * 2 ** 25, index]).flat();
  refused([toAndFro], "more than the 16777216 allowed", [1, 2 ** 25]);
});
