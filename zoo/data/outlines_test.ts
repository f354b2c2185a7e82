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

/** Whether a point lies on an edge: neither inside nor outside. Exact for multiples of a thirty-second. */
function isOnEdge(outline: FlatOutline, x: number, y: number): boolean {
  return outline.some((x0, i) => {
    if (i % 2 === 1) return false;
    const y0 = outline[i + 1];
    const [x1, y1] = [outline[(i + 2) % outline.length], outline[(i + 3) % outline.length]];
    return (x - x0) * (y1 - y0) === (y - y0) * (x1 - x0) &&
      Math.min(x0, x1) <= x && x <= Math.max(x0, x1) &&
      Math.min(y0, y1) <= y && y <= Math.max(y0, y1);
  });
}

const coordinate = fc.integer({ min: -400, max: 1200 }).map((value) => value / 32);
const outline = fc.array(coordinate, { minLength: 6, maxLength: 24 })
  .map((list) => list.slice(0, list.length - list.length % 2));

Deno.test("a mask holds the pixels whose middle is inside an outline", () => {
  fc.assert(
    fc.property(
      fc.array(outline, { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 23 }),
      fc.integer({ min: 1, max: 23 }),
      (outlines, width, height) => {
        const runs = runsOfOutlines(outlines, [height, width]);
        assertEquals(maskRunsOf({ ...runs }), runs);
        unionOf([runs], runs.size).data.forEach((value, i) => {
          const x = i % width + 0.5, y = Math.floor(i / width) + 0.5;
          if (outlines.some((one) => isOnEdge(one, x, y))) return;
          assertEquals(value, Number(outlines.some((one) => isInside(one, x, y))));
        });
      },
    ),
    { numRuns: 500 },
  );
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
  refused([toAndFro], "more than the 1048576 allowed", [1, 2 ** 25]);
});
