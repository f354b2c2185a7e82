import { assertEquals } from "@std/assert";
import { findingNames } from "../phantoms/chest_report.ts";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { edgeNames, pictureNames, placeNames } from "./patch_names.ts";
import { markedPicture } from "./patch_task.ts";

const input = { side: 64, statistics: { mean: [0], std: [1] }, scale: 1 };

Deno.test("every patch can be matched with what is anywhere in the picture", () => {
  const { names } = pictureNames, grid = [4, 4] as const;
  for (let n = 0; n < 20; n++) {
    const phantom = chestPhantom({ size: 64, seed: 4, index: splitIndex("train", n) });
    const { marks } = markedPicture(phantom, { input, grid, names: pictureNames });
    names.forEach((name, column) => {
      const cells = Array.from({ length: 16 }, (_, cell) => marks[cell * names.length + column]!);
      const there = phantom.findings.some(({ label, side, zone }) => {
        const own = `some ${findingNames[label]}`;
        return [own, `${own} ${side}`, `${own} ${zone}`].includes(name);
      });
      assertEquals(new Set(cells), new Set([there ? 1 : 0]), name);
    });
  }
});

const edges = ["left", "right", "top", "bottom"] as const;
/** First or last pixel of a box along its axis, as the side of the grid's thirds has it. */
const place = ([left, top, right, bottom]: readonly number[], edge: typeof edges[number]) =>
  ({ left: left!, right: right! - 1, top: top!, bottom: bottom! - 1 })[edge];

Deno.test("edges of boxes are on the patches that they run through, and in the third that they are in", () => {
  const size = 48, side = 4, names = edgeNames(side), cell = size / side;
  for (let n = 0; n < 20; n++) {
    const phantom = chestPhantom({ size, seed: 6, index: splitIndex("train", n) });
    const { marks } = markedPicture(phantom, { input, grid: [side, side], names });
    const marked = new Map<string, Set<number>>(names.names.map((name) => [name, new Set()]));
    for (const { label, box } of phantom.findings) {
      const [left, top, right, bottom] = box;
      for (const edge of edges) {
        const at = place(box, edge), third = Math.floor(at % cell / (cell / 3));
        const upright = edge === "left" || edge === "right";
        for (let along = upright ? top : left; along < (upright ? bottom : right); along++) {
          const [x, y] = upright ? [at, along] : [along, at];
          const patch = Math.floor(y / cell) * side + Math.floor(x / cell);
          marked.get(`${edge} edge of ${findingNames[label]}`)!.add(patch);
          marked.get(`${edge} edge in third ${third + 1}`)!.add(patch);
        }
      }
    }
    names.names.forEach((name, column) => {
      for (let patch = 0; patch < side * side; patch++) {
        const wanted = marked.get(name)!.has(patch) ? 1 : 0;
        assertEquals(marks[patch * names.names.length + column], wanted, `${name}, ${patch}`);
      }
    });
  }
});

Deno.test("rows of several patches have where they are, and the edges of their patches", () => {
  const size = 96, side = 8, inRow = 4, groups = side / inRow;
  const places = placeNames(side, inRow), single = edgeNames(side);
  for (let n = 0; n < 10; n++) {
    const phantom = chestPhantom({ size, seed: 5, index: splitIndex("train", n) });
    const rows = markedPicture(phantom, { input, grid: [side, groups], names: places }).marks;
    const patches = markedPicture(phantom, { input, grid: [side, side], names: single }).marks;
    const said = (row: number, name: string) =>
      rows[row * places.names.length + places.names.indexOf(name)];
    for (let row = 0; row < side * groups; row++) {
      const line = Math.floor(row / groups), group = row % groups;
      for (let k = 0; k < side; k++) assertEquals(said(row, `line ${k + 1}`), k === line ? 1 : 0);
      for (let k = 0; k < groups; k++) {
        assertEquals(said(row, `group ${k + 1}`), k === group ? 1 : 0);
      }
      single.names.forEach((name, column) => {
        const on = Array.from(
          { length: inRow },
          (_, k) => patches[(line * side + group * inRow + k) * single.names.length + column]!,
        );
        if (/^(top|bottom)/.test(name)) return assertEquals(said(row, name), Math.max(...on));
        on.forEach((mark, k) => assertEquals(said(row, `${name} on patch ${k + 1}`), mark, name));
      });
    }
  }
});
