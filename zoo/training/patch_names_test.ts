import { assertEquals } from "@std/assert";
import { gridBoxText, pixelsToGrid } from "@medvlm/core/text";
import { findingNames } from "../phantoms/chest_report.ts";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { digitNames, edgeNames, type PatchNames, pictureNames, placeNames } from "./patch_names.ts";
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

/** Patches of [side, side], `cell` pixels wide, that an edge runs through. */
function patchesOf(box: readonly number[], edge: typeof edges[number], side: number, cell: number) {
  const [left, top, right, bottom] = box as [number, number, number, number];
  const at = place(box, edge), upright = edge === "left" || edge === "right";
  const found = new Set<number>();
  for (let along = upright ? top : left; along < (upright ? bottom : right); along++) {
    const [x, y] = upright ? [at, along] : [along, at];
    found.add(Math.floor(y / cell) * side + Math.floor(x / cell));
  }
  return found;
}

/** Asserts that patches have the names that they should have, and no others. */
function assertMarked(
  marks: Uint8Array,
  names: readonly string[],
  wanted: ReadonlyMap<string, ReadonlySet<number>>,
) {
  names.forEach((name, column) => {
    for (let patch = 0; patch < marks.length / names.length; patch++) {
      const there = wanted.get(name)?.has(patch) ? 1 : 0;
      assertEquals(marks[patch * names.length + column], there, `${name}, ${patch}`);
    }
  });
}

/** Adds the patches of each name. */
const addAll = (to: Map<string, Set<number>>, name: string, patches: ReadonlySet<number>) =>
  to.set(name, patches.union(to.get(name) ?? new Set()));

Deno.test("edges of boxes are on the patches that they run through, and in the third that they are in", () => {
  const size = 48, side = 4, names = edgeNames(side), cell = size / side;
  for (let n = 0; n < 20; n++) {
    const phantom = chestPhantom({ size, seed: 6, index: splitIndex("train", n) });
    const { marks } = markedPicture(phantom, { input, grid: [side, side], names });
    const wanted = new Map<string, Set<number>>();
    for (const { label, box } of phantom.findings) {
      for (const edge of edges) {
        const patches = patchesOf(box, edge, side, cell);
        const third = Math.floor(place(box, edge) % cell / (cell / 3));
        addAll(wanted, `${edge} edge of ${findingNames[label]}`, patches);
        addAll(wanted, `${edge} edge in third ${third + 1}`, patches);
      }
    }
    assertMarked(marks, names.names, wanted);
  }
});

Deno.test("edges have the digits that their boxes are written with", () => {
  const size = 48, side = 6;
  for (let n = 0; n < 20; n++) {
    const phantom = chestPhantom({ size, seed: 7, index: splitIndex("train", n) });
    const { marks } = markedPicture(phantom, { input, grid: [side, side], names: digitNames });
    const wanted = new Map<string, Set<number>>();
    for (const { box } of phantom.findings) {
      const written = gridBoxText(pixelsToGrid(box, size, size)).match(/\d+/g)!;
      (["left", "top", "right", "bottom"] as const).forEach((edge, i) => {
        const [first, second] = written[i]!, patches = patchesOf(box, edge, side, size / side);
        addAll(wanted, `first digit ${first} of ${edge} edge`, patches);
        if (second) addAll(wanted, `second digit ${second} of ${edge} edge`, patches);
      });
    }
    assertMarked(marks, digitNames.names, wanted);
  }
});

Deno.test("rows of several patches have where they are, and the edges of their patches", () => {
  const size = 96, side = 8, inRow = 4, groups = side / inRow;
  const places = placeNames(side, inRow), edges = edgeNames(side);
  const shared = edges.names.filter((name) => name.includes(" edge of "));
  for (let n = 0; n < 10; n++) {
    const phantom = chestPhantom({ size, seed: 5, index: splitIndex("train", n) });
    const rows = markedPicture(phantom, { input, grid: [side, groups], names: places }).marks;
    const patches = markedPicture(phantom, { input, grid: [side, side], names: edges }).marks;
    const digits = markedPicture(phantom, { input, grid: [side, side], names: digitNames }).marks;
    const said = (row: number, name: string) =>
      rows[row * places.names.length + places.names.indexOf(name)];
    for (let row = 0; row < side * groups; row++) {
      const line = Math.floor(row / groups), group = row % groups;
      const on = (names: PatchNames, marks: Uint8Array, name: string) =>
        Array.from({ length: inRow }, (_, k) => {
          const patch = line * side + group * inRow + k;
          return marks[patch * names.names.length + names.names.indexOf(name)]!;
        });
      for (let k = 0; k < side; k++) assertEquals(said(row, `line ${k + 1}`), k === line ? 1 : 0);
      for (let k = 0; k < groups; k++) {
        assertEquals(said(row, `group ${k + 1}`), k === group ? 1 : 0);
      }
      for (const name of digitNames.names) {
        assertEquals(said(row, name), Math.max(...on(digitNames, digits, name)), name);
      }
      for (const name of shared) {
        const marks = on(edges, patches, name);
        if (/^(top|bottom)/.test(name)) assertEquals(said(row, name), Math.max(...marks));
        else {
          marks.forEach((mark, k) => assertEquals(said(row, `${name} on patch ${k + 1}`), mark));
        }
      }
    }
  }
});
