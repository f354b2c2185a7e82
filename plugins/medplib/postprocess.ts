/**
 * From the mask decoder's low-resolution logits to a mask of the original picture (official
 * `model/medplib_arch` `postprocess_masks`).
 *
 * @module
 */
import { InputError, type Mask } from "@medvlm/core";
import { interpolate } from "@medvlm/core/image";

/** A size in pixels. */
export interface Size {
  /** Pixels in a row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
}

/**
 * Which part of the logits belongs to the picture.
 *
 * - `published`: the released code compares a side of the encoder's input with a side of the four times smaller map, so
 *   it keeps everything of common shapes, padding included, and cuts some elongated ones to their end part. The released
 *   weights were trained with it.
 * - `corrected`: the part of the map that the picture covers, without the padding.
 */
export type MaskGeometry = "published" | "corrected";

/** Options of {@linkcode maskLogits}. */
export interface MaskLogitsOptions {
  /** `published` when left out. */
  readonly geometry?: MaskGeometry;
  /** Side of the pixel encoder's input; 256 when left out. */
  readonly inputSide?: number;
}

/** Probability above which a pixel belongs to the mask. */
export const MASK_THRESHOLD = 0.1;

/**
 * The half-open range of an axis of the low-resolution map that is taken for the picture.
 *
 * As published this is Python's slice `[start : start + side]` with `start = (low - side) // 2`, where a negative bound
 * counts from the end and is then cut to the axis. Corrected it is the part that the picture covers, in whole cells.
 *
 * @param low Length of the axis in the map (64).
 * @param side Length of the axis of the resized picture in the encoder's input, 1 .. `inputSide`.
 * @param inputSide Side of the encoder's input (256).
 * @param corrected Whether to take the picture's part instead of the published range.
 */
export function maskCrop(
  low: number,
  side: number,
  inputSide: number,
  corrected = false,
): readonly [begin: number, end: number] {
  if (corrected) {
    const pad = Math.floor((inputSide - side) / 2);
    const begin = Math.min(low - 1, Math.round(pad * low / inputSide));
    return [begin, Math.max(begin + 1, Math.round((pad + side) * low / inputSide))];
  }
  const start = Math.floor((low - side) / 2);
  const bound = (at: number) => Math.min(low, Math.max(0, at < 0 ? at + low : at));
  return [bound(start), Math.max(bound(start), bound(start + side))];
}

/** Cuts rows and columns out of a row-major map. */
function crop(
  data: Float32Array,
  width: number,
  rows: readonly [number, number],
  columns: readonly [number, number],
): Float32Array<ArrayBuffer> {
  const outWidth = columns[1] - columns[0];
  const out = new Float32Array((rows[1] - rows[0]) * outWidth);
  for (let y = rows[0], to = 0; y < rows[1]; y++, to += outWidth) {
    out.set(data.subarray(y * width + columns[0], y * width + columns[1]), to);
  }
  return out;
}

/**
 * Mask logits at the size of the original picture, by bilinear interpolation (corners not aligned).
 *
 * @param low Logits of the mask decoder, row-major, square.
 * @param resized Size of the picture inside the pixel encoder's input.
 * @param original Size of the original picture.
 * @returns `original.height * original.width` logits, row-major.
 * @throws {InputError} code `BAD_SIZE` when the logits are not square or a size is not positive.
 */
export function maskLogits(
  low: Float32Array,
  resized: Size,
  original: Size,
  options: MaskLogitsOptions = {},
): Float32Array<ArrayBuffer> {
  const { geometry = "published", inputSide = 256 } = options;
  const lowSide = Math.round(Math.sqrt(low.length));
  if (lowSide * lowSide !== low.length || lowSide === 0) {
    throw new InputError(
      "BAD_SIZE",
      `Cannot make a mask from ${low.length} logits: they are no square map; pass the mask decoder's output`,
    );
  }
  const corrected = geometry === "corrected";
  const rows = maskCrop(lowSide, resized.height, inputSide, corrected);
  const columns = maskCrop(lowSide, resized.width, inputSide, corrected);
  return interpolate(
    crop(low, lowSide, rows, columns),
    [rows[1] - rows[0], columns[1] - columns[0]],
    [original.height, original.width],
    "bilinear",
  );
}

/**
 * The binary mask: 1 where the sigmoid of the logit is above the threshold.
 *
 * @param logits `size.height * size.width` logits, row-major.
 * @param threshold A probability; 0.1 in the official evaluation.
 */
export function thresholdMask(
  logits: Float32Array,
  size: Size,
  threshold: number = MASK_THRESHOLD,
): Mask {
  // Single precision on both sides, as PyTorch compares.
  const limit = Math.fround(threshold);
  const data = new Uint8Array(logits.length);
  for (let i = 0; i < data.length; i++) {
    data[i] = Math.fround(1 / (1 + Math.exp(-logits[i]))) > limit ? 1 : 0;
  }
  return { width: size.width, height: size.height, data };
}
