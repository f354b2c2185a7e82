/**
 * From pixels to model input: planes of floats, channel statistics, padding. Small functions that plugins compose in the
 * order of their papers.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { type Channels, emptyRaster, type Raster8 } from "./raster.ts";

/** Channels-first floats of shape [channels, height, width], row-major. */
export interface Planes {
  /** Number of planes. */
  readonly channels: number;
  /** Rows of each plane. */
  readonly height: number;
  /** Values in a row. */
  readonly width: number;
  /** `channels * height * width` values. */
  readonly data: Float32Array<ArrayBuffer>;
}

/** Per-channel statistics in the units of the samples after scaling. */
export interface ChannelStatistics {
  /** Subtracted, one value per channel. */
  readonly mean: readonly number[];
  /** Divided by, one value per channel, none of them 0. */
  readonly std: readonly number[];
}

/** Where a smaller picture lies in a larger one, in pixels. */
export interface Placement {
  /** Rows above. */
  readonly top: number;
  /** Columns to the left. */
  readonly left: number;
}

/**
 * `(sample * scale - mean) / std` per channel, from interleaved bytes to planes.
 *
 * @param scale Applied to the samples first: 1 keeps 0..255, 1/255 gives 0..1.
 * @throws {InputError} code `BAD_STATISTICS` when there is not one mean and one std per channel.
 */
export function normalise(
  image: Raster8,
  { mean, std }: ChannelStatistics,
  scale = 1,
): Planes {
  const { width, height, channels, data } = image;
  if (mean.length !== channels || std.length !== channels || std.includes(0)) {
    throw new InputError(
      "BAD_STATISTICS",
      `Cannot normalise a picture with ${channels} channels by ${mean.length} means and ${std.length} deviations: one of each per channel is needed, and no deviation of 0`,
    );
  }
  const size = width * height;
  const out = new Float32Array(size * channels);
  const table = new Float32Array(256);
  for (let c = 0; c < channels; c++) {
    // Eight-bit samples take only 256 values.
    for (let value = 0; value < 256; value++) table[value] = (value * scale - mean[c]) / std[c];
    for (let i = 0, from = c, to = c * size; i < size; i++, from += channels, to++) {
      out[to] = table[data[from]];
    }
  }
  return { channels, height, width, data: out };
}

function centre(width: number, height: number, outWidth: number, outHeight: number): Placement {
  if (outWidth < width || outHeight < height) {
    throw new InputError(
      "BAD_SIZE",
      `Cannot pad a ${width}x${height} picture to ${outWidth}x${outHeight}: the target must not be smaller`,
    );
  }
  return { top: Math.floor((outHeight - height) / 2), left: Math.floor((outWidth - width) / 2) };
}

/**
 * Pads planes to a larger size, centred; an odd remainder goes to the bottom and right.
 *
 * @param fill Value of the border.
 * @throws {InputError} code `BAD_SIZE` when the target is smaller.
 */
export function padPlanesCentred(planes: Planes, width: number, height: number, fill = 0): Planes {
  const { top, left } = centre(planes.width, planes.height, width, height);
  const data = new Float32Array(planes.channels * height * width).fill(fill);
  for (let c = 0; c < planes.channels; c++) {
    for (let y = 0; y < planes.height; y++) {
      const from = (c * planes.height + y) * planes.width;
      const to = (c * height + top + y) * width + left;
      data.set(planes.data.subarray(from, from + planes.width), to);
    }
  }
  return { channels: planes.channels, height, width, data };
}

/**
 * Pads a picture to a larger size, centred; an odd remainder goes to the bottom and right.
 *
 * @param colour Samples of a border pixel, one per channel, 0 .. 255.
 * @throws {InputError} code `BAD_SIZE` when the target is smaller or the colour has another number of channels.
 */
export function padCentred(
  image: Raster8,
  width: number,
  height: number,
  colour: readonly number[],
): Raster8 {
  const { top, left } = centre(image.width, image.height, width, height);
  if (colour.length !== image.channels) {
    throw new InputError(
      "BAD_SIZE",
      `Cannot pad a picture with ${image.channels} channels with a colour of ${colour.length}: give one value per channel`,
    );
  }
  const out = emptyRaster(width, height, image.channels);
  fillPixels(out.data, image.channels, colour);
  const row = image.width * image.channels;
  for (let y = 0; y < image.height; y++) {
    out.data.set(
      image.data.subarray(y * row, (y + 1) * row),
      ((top + y) * width + left) * image.channels,
    );
  }
  return out;
}

function fillPixels(data: Uint8Array, channels: Channels, colour: readonly number[]): void {
  for (let i = 0; i < data.length; i += channels) {
    for (let c = 0; c < channels; c++) data[i + c] = colour[c];
  }
}

/**
 * The size whose longer side is `side`, as SAM's `ResizeLongestSide` rounds it: `trunc(length * scale + 0.5)`.
 *
 * @throws {InputError} code `IMAGE_TOO_NARROW` when the shorter side would vanish.
 */
export function longestSideSize(
  width: number,
  height: number,
  side: number,
): { width: number; height: number } {
  const scale = side / Math.max(width, height);
  const scaled = (length: number) => Math.trunc(length * scale + 0.5);
  const size = { width: scaled(width), height: scaled(height) };
  if (size.width < 1 || size.height < 1) {
    throw new InputError(
      "IMAGE_TOO_NARROW",
      `Cannot fit a ${width}x${height} picture into ${side} pixels: its shorter side would vanish; crop the picture`,
    );
  }
  return size;
}
