/**
 * Cutting a random part out of a picture and stretching it to a square, as torchvision's `RandomResizedCrop` does, with or
 * without a mirror image.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { Raster, Raster8 } from "./raster.ts";
import { toDepth8 } from "./raster.ts";
import { resizePillow } from "./resample_pillow.ts";

/** A part of a picture in whole pixels. */
export interface CropWindow {
  /** Rows above. */
  readonly top: number;
  /** Columns to the left. */
  readonly left: number;
  /** Rows taken, at least 1. */
  readonly height: number;
  /** Columns taken, at least 1. */
  readonly width: number;
}

/** How large a part may be. */
export interface CropRange {
  /** Smallest and largest share of the picture's area, in (0, 1]. */
  readonly scale: readonly [number, number];
  /** Smallest and largest width by height. Default 3/4 to 4/3. */
  readonly ratio?: readonly [number, number];
}

/** Python's `round`: half-way numbers go to the even neighbour. */
function roundEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + below % 2 : Math.round(value);
}

/**
 * Draws a part of a picture (torchvision `RandomResizedCrop.get_params`): up to ten tries of an area and of a ratio, uniform in its
 * logarithm; the first that fits is placed anywhere. If none does, the largest middle part within the range of ratios.
 *
 * @param uniform Gives numbers in [0, 1), called two to four times a try.
 */
export function drawCrop(
  width: number,
  height: number,
  { scale, ratio = [3 / 4, 4 / 3] }: CropRange,
  uniform: () => number,
): CropWindow {
  const between = (low: number, high: number) => low + (high - low) * uniform();
  const index = (count: number) => Math.min(count - 1, Math.floor(count * uniform()));
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = width * height * between(...scale);
    const shape = Math.exp(between(Math.log(ratio[0]), Math.log(ratio[1])));
    const w = roundEven(Math.sqrt(area * shape)), h = roundEven(Math.sqrt(area / shape));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = index(height - h + 1);
    return { top, left: index(width - w + 1), height: h, width: w };
  }
  const own = width / height;
  const w = own > ratio[1] ? Math.min(width, Math.max(1, roundEven(height * ratio[1]))) : width;
  const h = own < ratio[0] ? Math.min(height, Math.max(1, roundEven(width / ratio[0]))) : height;
  const middle = (all: number, part: number) => Math.floor((all - part) / 2);
  return { top: middle(height, h), left: middle(width, w), height: h, width: w };
}

/**
 * A part of a picture as a picture of its own: nothing outside of it is seen again.
 *
 * @throws {InputError} code `BAD_BOX` when the part is empty, fractional or leaves the picture.
 */
export function crop(image: Raster, { top, left, height, width }: CropWindow): Raster8 {
  const fits = [top, left, height, width].every(Number.isSafeInteger) && top >= 0 && left >= 0 &&
    height > 0 && width > 0 && top + height <= image.height && left + width <= image.width;
  if (!fits) {
    throw new InputError(
      "BAD_BOX",
      `Cannot cut ${width}x${height} at (${left}, ${top}) out of a ${image.width}x${image.height} picture: the part must lie inside and not be empty`,
    );
  }
  const source = toDepth8(image), { channels } = source;
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * source.width + left) * channels;
    data.set(source.data.subarray(from, from + width * channels), y * width * channels);
  }
  return { ...source, width, height, data };
}

/** The picture seen in a mirror: left and right change places. */
export function mirror(image: Raster): Raster8 {
  const source = toDepth8(image), { width, height, channels } = source;
  const data = new Uint8Array(source.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * channels, to = (y * width + width - 1 - x) * channels;
      for (let c = 0; c < channels; c++) data[to + c] = source.data[from + c]!;
    }
  }
  return { ...source, data };
}

/** A part stretched to a square with Pillow's bicubic filter, then mirrored if asked for. */
export function cropToSquare(
  image: Raster,
  window: CropWindow,
  side: number,
  mirrored = false,
): Raster8 {
  const square = resizePillow(crop(image, window), side, side, "bicubic");
  return mirrored ? mirror(square) : square;
}

/**
 * A box of the whole picture in the coordinates of a part, what leaves the part cut off; undefined where nothing is left.
 *
 * @param box Corners x0, y0, x1, y1 in pixels.
 */
export function boxInCrop(
  box: readonly [number, number, number, number],
  { top, left, height, width }: CropWindow,
): [number, number, number, number] | undefined {
  const inside = (value: number, from: number, size: number) =>
    Math.min(Math.max(value - from, 0), size);
  const x0 = inside(box[0], left, width), x1 = inside(box[2], left, width);
  const y0 = inside(box[1], top, height), y1 = inside(box[3], top, height);
  return x1 > x0 && y1 > y0 ? [x0, y0, x1, y1] : undefined;
}
