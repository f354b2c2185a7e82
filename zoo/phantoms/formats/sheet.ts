/**
 * Contact sheets: many phantoms in one picture, each above itself with the true outlines.
 *
 * @module
 */
import {
  drawOverlay,
  encodePng,
  OVERLAY_COLOURS,
  type OverlayItem,
  type Raster,
  toRgb,
} from "@medvlm/core/image";
import { chestLabels } from "../chest_findings.ts";
import { volumeLabels } from "../volume_findings.ts";
import type { PhantomCase } from "./case.ts";
import { type PhantomFormat, writeFile } from "./format.ts";

const COLUMNS = 6;
/** Colour of structures that are no findings. */
const QUIET = [120, 150, 170] as const;

/** Findings in colours by their kind and with names, other structures with thin quiet outlines. */
function items({ things }: PhantomCase): OverlayItem[] {
  const found = [...chestLabels, ...volumeLabels] as string[];
  const named = new Set<string>();
  return things.map(({ label, mask }): OverlayItem => {
    const kind = found.indexOf(label) % chestLabels.length;
    if (kind < 0) return { mask, colour: QUIET };
    const item = { mask, colour: OVERLAY_COLOURS[kind] };
    // Of several of a kind one is named.
    if (named.has(label)) return item;
    named.add(label);
    return { ...item, label };
  });
}

/** Greys in steps of 4, which the eye does not see and which halve the file. */
function coarse(picture: Raster): Raster {
  return { ...picture, data: picture.data.map((value) => Math.min(255, value + 2 & ~3)) };
}

/** A picture of rows of pictures of one size. */
function tiled(tiles: readonly Raster[], columns: number): Raster {
  const { width, height } = tiles[0], rows = Math.ceil(tiles.length / columns);
  const data = new Uint8Array(3 * columns * width * rows * height);
  tiles.forEach((tile, index) => {
    const left = index % columns * width, top = Math.floor(index / columns) * height;
    for (let y = 0; y < height; y++) {
      const row = tile.data.subarray(3 * y * width, 3 * (y + 1) * width);
      data.set(row, 3 * ((top + y) * columns * width + left));
    }
  });
  return { width: columns * width, height: rows * height, channels: 3, data, bitDepth: 8 };
}

/** `sheet.png`: rows of pictures, each followed by the same pictures with outlines. */
export const sheet: PhantomFormat = {
  name: "sheet",
  about: "one PNG with all phantoms and their outlines, at most 60",
  kinds: ["cxr", "ct"],
  parts: [],
  most: 60,
  async write(cases, folder) {
    const all = [...cases], columns = Math.min(COLUMNS, all.length);
    const tiles: Raster[] = [];
    for (let start = 0; start < all.length; start += columns) {
      const row = all.slice(start, start + columns).map((one) => ({
        grey: coarse(one.picture),
        marks: items(one),
      }));
      const first = all[0].picture;
      const empty = { ...first, data: new Uint8Array(first.data.length) };
      while (row.length < columns) row.push({ grey: empty, marks: [] });
      tiles.push(...row.map(({ grey }) => toRgb(grey)));
      tiles.push(...row.map(({ grey, marks }) => drawOverlay(grey, marks, { fillOpacity: 0.12 })));
    }
    await writeFile(folder, "sheet.png", encodePng(tiled(tiles, columns), { level: 9 }));
  },
};
