import { assertEquals } from "@std/assert";
import { findingNames } from "../phantoms/chest_report.ts";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { pictureNames, placeNames, thingNames, thirdNames } from "./patch_names.ts";
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

Deno.test("rows of several patches have where they are and on which patch each thing is", () => {
  const names = placeNames(8, 4), grid = [8, 2] as const;
  const fine = { input, grid: [8, 8] as const, names: thingNames };
  for (let n = 0; n < 10; n++) {
    const phantom = chestPhantom({ size: 64, seed: 5, index: splitIndex("train", n) });
    const { marks } = markedPicture(phantom, { input, grid, names });
    const { marks: patches } = markedPicture(phantom, fine);
    const said = (row: number, name: string) =>
      marks[row * names.names.length + names.names.indexOf(name)];
    for (let row = 0; row < 16; row++) {
      const line = Math.floor(row / 2), group = row % 2;
      for (let k = 0; k < 8; k++) {
        assertEquals(said(row, `line ${k + 1}`), k === line ? 1 : 0);
        if (k < 2) assertEquals(said(row, `group ${k + 1}`), k === group ? 1 : 0);
      }
      thingNames.names.forEach((name, thing) => {
        if (!names.names.includes(`${name} on patch 1`)) return;
        for (let k = 0; k < 4; k++) {
          const patch = line * 8 + group * 4 + k;
          const there = patches[patch * thingNames.names.length + thing];
          assertEquals(said(row, `${name} on patch ${k + 1}`), there, `${name} in ${row}, ${k}`);
        }
      });
    }
  }
});

Deno.test("thirds of patches are those of their findings, alone and in rows of several patches", () => {
  const thirds = thirdNames(4), places = placeNames(4, 2);
  for (let n = 0; n < 10; n++) {
    const phantom = chestPhantom({ size: 48, seed: 6, index: splitIndex("train", n) });
    const patches = markedPicture(phantom, { input, grid: [4, 4], names: thirds }).marks;
    const rows = markedPicture(phantom, { input, grid: [4, 2], names: places }).marks;
    for (let cell = 0; cell < 16; cell++) {
      const top = 12 * Math.floor(cell / 4), left = 12 * (cell % 4);
      for (const which of ["row", "column"] as const) {
        for (let third = 0; third < 3; third++) {
          const [y, x] = which === "row" ? [top + 4 * third, left] : [top, left + 4 * third];
          const [h, w] = which === "row" ? [4, 12] : [12, 4];
          const shows = phantom.findings.filter(({ mask }) =>
            Array.from(
              { length: h * w },
              (_, i) => mask.data[(y + Math.floor(i / w)) * 48 + x + i % w],
            )
              .includes(1)
          ).map(({ label }) => findingNames[label]);
          for (const name of Object.values(findingNames)) {
            const column = thirds.names.indexOf(`${name} in ${which} ${third + 1} of 3`);
            const mark = patches[cell * thirds.names.length + column];
            assertEquals(
              mark,
              shows.includes(name) ? 1 : 0,
              `${name}, ${which} ${third} of ${cell}`,
            );
          }
          const column = places.names.indexOf(`patch ${cell % 2 + 1}, ${which} ${third + 1} of 3`);
          const mark = rows[Math.floor(cell / 2) * places.names.length + column];
          assertEquals(mark, shows.length > 0 ? 1 : 0);
        }
      }
    }
  }
});
