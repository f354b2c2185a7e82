/**
 * Drawing on 8-bit RGB pictures: blended rectangles, text and mask outlines, all cut at the border.
 *
 * @module
 */
import { forEachDot, GLYPH_HEIGHT, textWidth } from "./font.ts";
import type { Raster8 } from "./raster.ts";

/** Red, green and blue, 0 .. 255. */
export type Colour = readonly [red: number, green: number, blue: number];

/** A rectangle in whole pixels. */
export interface Rectangle {
  /** Column of the left edge. */
  readonly x: number;
  /** Row of the upper edge. */
  readonly y: number;
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
}

/** Halos: dark enough to set any light colour off from bright bone. */
const DARK: Colour = [0, 0, 0];
const HALO_OPACITY = 0.7;

function blend(data: Uint8Array, at: number, colour: Colour, opacity: number): void {
  for (let c = 0; c < 3; c++) data[at + c] += Math.round((colour[c] - data[at + c]) * opacity);
}

/** Blends a rectangle over a picture with three channels. */
export function fillRectangle(
  image: Raster8,
  { x, y, width, height }: Rectangle,
  colour: Colour,
  opacity = 1,
): void {
  const right = Math.min(image.width, x + width), bottom = Math.min(image.height, y + height);
  for (let row = Math.max(0, y); row < bottom; row++) {
    for (let column = Math.max(0, x); column < right; column++) {
      blend(image.data, (row * image.width + column) * 3, colour, opacity);
    }
  }
}

/** Blends the frame between a rectangle and the same rectangle shrunk by `thickness`; corners are painted once. */
function frame(image: Raster8, r: Rectangle, thickness: number, colour: Colour, opacity: number) {
  const t = Math.min(thickness, Math.ceil(r.height / 2), Math.ceil(r.width / 2));
  const middle = Math.max(0, r.height - 2 * t);
  fillRectangle(image, { ...r, height: t }, colour, opacity);
  fillRectangle(
    image,
    { ...r, y: r.y + t + middle, height: r.height - t - middle },
    colour,
    opacity,
  );
  const side = { y: r.y + t, width: t, height: middle };
  fillRectangle(image, { ...side, x: r.x }, colour, opacity);
  fillRectangle(image, { ...side, x: r.x + r.width - t }, colour, opacity);
}

/** Draws the outline of a rectangle along its inner edge, with a dark halo on both sides. */
export function strokeRectangle(
  image: Raster8,
  r: Rectangle,
  thickness: number,
  colour: Colour,
): void {
  const halo = Math.ceil(thickness / 2);
  const outer = {
    x: r.x - halo,
    y: r.y - halo,
    width: r.width + 2 * halo,
    height: r.height + 2 * halo,
  };
  frame(image, outer, thickness + 2 * halo, DARK, HALO_OPACITY);
  frame(image, r, thickness, colour, 1);
}

/** Size of a text drawn with {@linkcode drawText}, its halo included. */
export function textSize(text: string, scale: number): { width: number; height: number } {
  return { width: (textWidth(text) + 2) * scale, height: (GLYPH_HEIGHT + 2) * scale };
}

/**
 * Draws a text with a dark halo.
 *
 * @param text Printable ASCII.
 * @param x Left edge of the halo.
 * @param y Upper edge of the halo.
 * @param scale Picture pixels of a font pixel.
 */
export function drawText(
  image: Raster8,
  text: string,
  x: number,
  y: number,
  scale: number,
  colour: Colour,
): void {
  const { width, height } = textSize(text, 1);
  const halo = new Uint8Array(width * height);
  forEachDot(text, (column, row) => {
    for (let dy = 0; dy < 3; dy++) {
      halo.fill(1, (row + dy) * width + column, (row + dy) * width + column + 3);
    }
  });
  const dot = (column: number, row: number) => ({
    x: x + column * scale,
    y: y + row * scale,
    width: scale,
    height: scale,
  });
  halo.forEach((set, i) => {
    if (set) fillRectangle(image, dot(i % width, Math.floor(i / width)), DARK, HALO_OPACITY);
  });
  forEachDot(text, (column, row) => fillRectangle(image, dot(column + 1, row + 1), colour));
}

/** A part of a mask, with a border of zeros. */
interface Patch extends Rectangle {
  readonly inside: Uint8Array;
}

/** The smallest part of a mask that holds all its pixels and `margin` pixels around; undefined when it has none. */
function cutOut(
  mask: Uint8Array,
  width: number,
  height: number,
  margin: number,
): Patch | undefined {
  let left = width, right = -1, top = -1, bottom = -1;
  for (let y = 0; y < height; y++) {
    const row = mask.subarray(y * width, (y + 1) * width);
    const first = row.findIndex((value) => value !== 0);
    if (first < 0) continue;
    left = Math.min(left, first);
    right = Math.max(right, row.findLastIndex((value) => value !== 0));
    if (top < 0) top = y;
    bottom = y;
  }
  if (right < 0) return undefined;
  const x = left - margin, y = top - margin;
  const patchWidth = right - left + 1 + 2 * margin, patchHeight = bottom - top + 1 + 2 * margin;
  const inside = new Uint8Array(patchWidth * patchHeight);
  for (let row = top; row <= bottom; row++) {
    const to = (row - y) * patchWidth + margin;
    for (let column = left; column <= right; column++) {
      if (mask[row * width + column] !== 0) inside[to + column - left] = 1;
    }
  }
  return { x, y, width: patchWidth, height: patchHeight, inside };
}

/** Three times the distance of every pixel to the nearest one of the given value (3-4 chamfer), where `far` is the most. */
function distances({ width, height, inside }: Patch, value: 0 | 1, far: number): Uint16Array {
  const out = new Uint16Array(inside.length);
  for (let i = 0; i < out.length; i++) out[i] = inside[i] === value ? 0 : far;
  const sweep = (from: number, step: 1 | -1) => {
    const start = step === 1 ? 0 : width - 1, end = step === 1 ? width : -1;
    for (let y = from; y >= 0 && y < height; y += step) {
      for (let x = start; x !== end; x += step) {
        const i = y * width + x, before = i - step * width;
        let best = out[i];
        if (x !== start) best = Math.min(best, out[i - step] + 3);
        if (y !== from) {
          best = Math.min(best, out[before] + 3);
          if (x !== start) best = Math.min(best, out[before - step] + 4);
          if (x + step !== end) best = Math.min(best, out[before + step] + 4);
        }
        out[i] = best;
      }
    }
  };
  sweep(0, 1);
  sweep(height - 1, -1);
  return out;
}

/** Where a mask lies, and where in it a label has most room. */
export interface MaskExtent {
  /** The smallest rectangle that holds the mask. */
  readonly bounds: Rectangle;
  /** The pixel of the mask that is farthest from its edge. */
  readonly deepest: { readonly x: number; readonly y: number };
}

/** Bounds and deepest pixel of a mask; undefined when it is empty. */
export function maskExtent(
  mask: Uint8Array,
  width: number,
  height: number,
): MaskExtent | undefined {
  const patch = cutOut(mask, width, height, 1);
  if (!patch) return undefined;
  const depth = distances(patch, 0, 0xffff - 4);
  let best = 0;
  for (let i = 1; i < depth.length; i++) if (depth[i] > depth[best]) best = i;
  return {
    bounds: {
      x: patch.x + 1,
      y: patch.y + 1,
      width: patch.width - 2,
      height: patch.height - 2,
    },
    deepest: {
      x: patch.x + best % patch.width,
      y: patch.y + Math.floor(best / patch.width),
    },
  };
}

/**
 * Blends a mask over a picture of the same size.
 *
 * @param mask 0 outside, anything else inside; row-major at the size of the picture.
 * @param opacity 0 .. 1.
 */
export function fillMask(image: Raster8, mask: Uint8Array, colour: Colour, opacity: number): void {
  for (let i = 0; i < mask.length; i++) if (mask[i]) blend(image.data, 3 * i, colour, opacity);
}

/**
 * Draws the outline of a mask along its inner edge, with a dark halo on both sides.
 *
 * @param mask 0 outside, anything else inside; row-major at the size of the picture.
 * @param thickness Of the line in pixels, at least 1.
 */
export function outlineMask(
  image: Raster8,
  mask: Uint8Array,
  colour: Colour,
  thickness: number,
): void {
  const halo = Math.ceil(thickness / 2);
  const patch = cutOut(mask, image.width, image.height, halo + 1);
  if (!patch) return;
  const far = 3 * (thickness + halo + 2);
  const toOutside = distances(patch, 0, far), toInside = distances(patch, 1, far);
  for (let y = 0, i = 0; y < patch.height; y++) {
    const row = patch.y + y;
    for (let x = 0; x < patch.width; x++, i++) {
      const column = patch.x + x;
      if (row < 0 || column < 0 || row >= image.height || column >= image.width) continue;
      const at = (row * image.width + column) * 3;
      if (patch.inside[i] === 0) {
        if (toInside[i] <= 3 * halo) blend(image.data, at, DARK, HALO_OPACITY);
      } else if (toOutside[i] <= 3 * thickness) blend(image.data, at, colour, 1);
      else if (toOutside[i] <= 3 * (thickness + halo)) {
        blend(image.data, at, DARK, HALO_OPACITY / 2);
      }
    }
  }
}
