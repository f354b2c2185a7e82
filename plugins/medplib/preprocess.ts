/**
 * MedPLIB's picture preprocessing (paper, section "Architecture"; official `datasets/LazySupervisedDataset.py`): one
 * picture becomes the input of two encoders, and regions become cells of the vision tower's grid.
 *
 * @module
 */
import { InputError, type Mask, type Region } from "@medvlm/core";
import {
  type ChannelStatistics,
  longestSideSize,
  normalise,
  padCentred,
  padPlanesCentred,
  type Placement,
  type Planes,
  type Raster,
  raster,
  type Raster8,
  resizePillow,
  toGrey,
  toRgb,
} from "@medvlm/core/image";

/** Side of the pixel encoder's input (SAM-Med2D). */
export const SAM_SIDE = 256;
/** Side of the vision tower's input (CLIP ViT-L/14-336). */
export const CLIP_SIDE = 336;
/** Side of one patch of the vision tower, in pixels of its input. */
export const CLIP_PATCH = 14;

/** Statistics of the pixel encoder, for samples 0..255. */
export const SAM_STATISTICS: ChannelStatistics = {
  mean: [123.675, 116.28, 103.53],
  std: [58.395, 57.12, 57.375],
};
/** Statistics of the vision tower, for samples 0..1. */
export const CLIP_STATISTICS: ChannelStatistics = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
};
/** Border of the vision tower's input: its mean colour in whole numbers, cut not rounded. */
export const CLIP_BORDER: readonly number[] = CLIP_STATISTICS.mean.map((m) => Math.trunc(m * 255));

/** Half side of the square that stands for a point, in pixels of the original picture. */
export const POINT_RADIUS = 20;

/** The input of an encoder, and where the picture lies in it. */
export interface EncoderInput extends Planes {
  /** The size of the picture inside the padding. */
  readonly resized: { readonly width: number; readonly height: number };
  /** Rows and columns of padding before the picture. */
  readonly placement: Placement;
}

/**
 * Resizes so that the longer side is `side`, as the official code does on 8-bit pictures with Pillow's bilinear filter.
 *
 * @throws {InputError} code `IMAGE_TOO_NARROW` when the shorter side would vanish.
 */
export function resizeLongestSide(image: Raster, side: number): Raster8 {
  const { width, height } = longestSideSize(image.width, image.height, side);
  return resizePillow(image, width, height, "bilinear");
}

function withPlacement(planes: Planes, resized: Raster8): EncoderInput {
  const { width, height } = resized;
  const placement = {
    top: Math.floor((planes.height - height) / 2),
    left: Math.floor((planes.width - width) / 2),
  };
  return { ...planes, resized: { width, height }, placement };
}

/**
 * The pixel encoder's input [3, side, side]: resize, normalise, then pad with zeros, centred (unlike SAM, which pads at
 * the right and bottom).
 *
 * @param image Any picture; grey becomes three equal channels, alpha is dropped, deep samples are scaled to 8 bits.
 * @param side Side of the input.
 * @throws {InputError} code `IMAGE_TOO_NARROW` for pictures whose shorter side would vanish.
 */
export function samInput(image: Raster, side: number = SAM_SIDE): EncoderInput {
  const resized = resizeLongestSide(toRgb(image), side);
  return withPlacement(padPlanesCentred(normalise(resized, SAM_STATISTICS), side, side), resized);
}

/** The vision tower's picture before normalising: resized and padded with the mean colour, 8 bits, RGB. */
export function clipPicture(image: Raster, side: number = CLIP_SIDE): Raster8 {
  return padCentred(resizeLongestSide(toRgb(image), side), side, side, CLIP_BORDER);
}

/**
 * The vision tower's input [3, side, side]: resize, pad with the mean colour, centred, then normalise.
 *
 * @param image Any picture; grey becomes three equal channels, alpha is dropped, deep samples are scaled to 8 bits.
 * @param side Side of the input.
 * @throws {InputError} code `IMAGE_TOO_NARROW` for pictures whose shorter side would vanish.
 */
export function clipInput(image: Raster, side: number = CLIP_SIDE): EncoderInput {
  const resized = resizeLongestSide(toRgb(image), side);
  const padded = padCentred(resized, side, side, CLIP_BORDER);
  return withPlacement(normalise(padded, CLIP_STATISTICS, 1 / 255), resized);
}

/**
 * A mask file's picture as a binary mask: whatever is not 0 in grey is inside.
 *
 * @param image The decoded mask, at the size of the original picture.
 */
export function maskFromPicture(image: Raster): Mask {
  const grey = toGrey(image, "pillow").data;
  const data = new Uint8Array(grey.length);
  for (let i = 0; i < data.length; i++) data[i] = grey[i] === 0 ? 0 : 1;
  return { width: image.width, height: image.height, data };
}

function outside(what: string, width: number, height: number): InputError {
  return new InputError(
    "REGION_OUTSIDE",
    `Cannot use the region ${what}: it is empty or not inside the ${width}x${height} picture; give pixels of the original picture`,
  );
}

/** Fills columns x0 .. x1 - 1 of rows y0 .. y1 - 1, as far as they lie in the picture. */
function rectangle(
  width: number,
  height: number,
  [x0, y0, x1, y1]: readonly [number, number, number, number],
): Mask {
  const data = new Uint8Array(width * height);
  const left = Math.max(0, x0), right = Math.min(width, x1);
  for (let y = Math.max(0, y0); y < Math.min(height, y1); y++) {
    data.fill(1, y * width + left, y * width + right);
  }
  return { width, height, data };
}

/**
 * The binary mask that a region prompt stands for: a filled rectangle for a box, the square of ±20 pixels for a point
 * (cut at the border), the mask itself. The official demo swaps rows and columns of boxes; that is not copied.
 *
 * @param region In pixels of the original picture; right and lower edges of boxes are exclusive.
 * @param width Width of the original picture.
 * @param height Height of the original picture.
 * @throws {InputError} code `REGION_OUTSIDE` when the region is empty or leaves the picture, or the mask has another size.
 */
export function regionMask(region: Region, width: number, height: number): Mask {
  switch (region.kind) {
    case "box": {
      const [x0, y0, x1, y1] = region.box;
      if (!(x0 >= 0 && y0 >= 0 && x1 <= width && y1 <= height && x1 > x0 && y1 > y0)) {
        throw outside(`box:${region.box.join(",")}`, width, height);
      }
      const box = [Math.floor(x0), Math.floor(y0), Math.ceil(x1), Math.ceil(y1)] as const;
      return rectangle(width, height, box);
    }
    case "point": {
      const { x, y } = region;
      if (!(x >= 0 && y >= 0 && x < width && y < height)) {
        throw outside(`point:${x},${y}`, width, height);
      }
      const column = Math.floor(x), row = Math.floor(y);
      return rectangle(width, height, [
        column - POINT_RADIUS,
        row - POINT_RADIUS,
        column + POINT_RADIUS + 1,
        row + POINT_RADIUS + 1,
      ]);
    }
    case "mask": {
      const { mask } = region;
      if (mask.width !== width || mask.height !== height || !mask.data.some((v) => v !== 0)) {
        throw outside(`mask of ${mask.width}x${mask.height}`, width, height);
      }
      return mask;
    }
  }
}

/**
 * A binary mask at the size the picture has inside the vision tower's input. The 8-bit filter turns 0 and 1 into 0 and 1
 * again, so a pixel is inside where at least half of what it covers is.
 */
export function resizeRegion(mask: Mask, side: number = CLIP_SIDE): Mask {
  const binary = Uint8Array.from(mask.data, (value) => value === 0 ? 0 : 1);
  const { width, height, data } = resizeLongestSide(
    raster(mask.width, mask.height, 1, binary),
    side,
  );
  return { width, height, data };
}

/**
 * The cells of the vision tower's grid that a region covers: resize and pad as the picture, then take every
 * `patch`-th pixel from 0 on. Small regions may cover no cell.
 *
 * @param mask Binary mask at the size of the original picture.
 * @param side Side of the vision tower's input, a multiple of `patch`.
 * @param patch Side of a patch.
 * @returns A square mask of `side / patch` cells a side, 1 where the region covers the cell.
 * @throws {InputError} code `IMAGE_TOO_NARROW` for pictures whose shorter side would vanish.
 */
export function regionGrid(
  mask: Mask,
  side: number = CLIP_SIDE,
  patch: number = CLIP_PATCH,
): Mask {
  const resized = resizeRegion(mask, side);
  const inside = raster(resized.width, resized.height, 1, resized.data) as Raster8;
  const padded = padCentred(inside, side, side, [0]).data;
  const cells = Math.floor(side / patch);
  const grid = new Uint8Array(cells * cells);
  for (let row = 0, to = 0; row < cells; row++) {
    for (let column = 0; column < cells; column++, to++) {
      grid[to] = padded[row * patch * side + column * patch];
    }
  }
  return { width: cells, height: cells, data: grid };
}
