/**
 * A picture in memory, and the colour conversions every published system relies on.
 *
 * The rules are those of Pillow's `Image.convert`, because that is what the official loaders call.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/** Number of samples of one pixel: grey, RGB or RGBA. */
export type Channels = 1 | 3 | 4;

/** A picture: rows from top to bottom, pixels from left to right, channels interleaved. */
export interface Raster {
  /** Pixels in a row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
  /** 1 grey, 3 RGB, 4 RGB with straight (not premultiplied) alpha. */
  readonly channels: Channels;
  /** Samples, `height * width * channels` of them. */
  readonly data: Uint8Array | Uint16Array;
  /** Significant bits of a sample: values are 0 .. 2^bitDepth - 1. At most 8 in a `Uint8Array`, 16 in a `Uint16Array`. */
  readonly bitDepth: number;
}

/** A picture with 8-bit samples, the form all models and encoders take. */
export interface Raster8 extends Raster {
  /** Samples 0 .. 255. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/**
 * How samples of more than 8 bits become 8 bits.
 *
 * - `scaled`: the most significant 8 bits, so that the picture keeps its look; for display and for model input.
 * - `pillow`: what Pillow's conversion does, which clips grey samples above 255 to 255 (a 16-bit X-ray turns almost
 *   white) and takes the high byte of colour samples; for reproducing numbers of code that loads pictures that way.
 */
export type DepthRule = "scaled" | "pillow";

/**
 * Makes a picture, checking that the samples fit the size.
 *
 * @param bitDepth Significant bits; 8 or 16 after the array type when left out.
 * @throws {InputError} code `BAD_RASTER` when sizes, channels, depth and samples do not fit together.
 */
export function raster(
  width: number,
  height: number,
  channels: Channels,
  data: Uint8Array | Uint16Array,
  bitDepth: number = data instanceof Uint16Array ? 16 : 8,
): Raster {
  const whole = Number.isSafeInteger(width) && Number.isSafeInteger(height) && width > 0 &&
    height > 0;
  if (!whole || data.length !== width * height * channels) {
    throw new InputError(
      "BAD_RASTER",
      `Cannot make a ${width}x${height} picture with ${channels} channels from ${data.length} samples: sizes do not fit; pass width * height * channels samples`,
    );
  }
  if (bitDepth < 1 || bitDepth > data.BYTES_PER_ELEMENT * 8) {
    throw new InputError(
      "BAD_RASTER",
      `Cannot make a picture of ${bitDepth} bits in samples of ${
        data.BYTES_PER_ELEMENT * 8
      } bits: pass a depth that fits`,
    );
  }
  return { width, height, channels, data, bitDepth };
}

/**
 * Makes a black (for RGBA: transparent) 8-bit picture.
 *
 * @throws {InputError} code `BAD_RASTER` for sizes that are not positive whole numbers.
 */
export function emptyRaster(width: number, height: number, channels: Channels): Raster8 {
  const length = width > 0 && height > 0 ? width * height * channels : 0;
  return raster(width, height, channels, new Uint8Array(length)) as Raster8;
}

/** All samples as 8-bit samples of the same channels; the array itself when it has 8-bit samples already. */
function samples8(image: Raster, rule: DepthRule): Uint8Array<ArrayBuffer> {
  const { data, bitDepth, channels } = image;
  if (data instanceof Uint8Array) {
    if (bitDepth === 8 || rule === "pillow") return data as Uint8Array<ArrayBuffer>;
    const top = 2 ** bitDepth - 1;
    return Uint8Array.from(data, (value) => Math.floor(value * 255 / top));
  }
  const out = new Uint8Array(data.length);
  if (rule === "pillow" && channels === 1) {
    for (let i = 0; i < out.length; i++) out[i] = data[i] > 255 ? 255 : data[i];
  } else {
    // A depth below 8 in 16-bit samples is scaled up by the same factor that a depth above 8 is scaled down.
    const shift = bitDepth - 8;
    if (shift >= 0) { for (let i = 0; i < out.length; i++) out[i] = data[i] >> shift; }
    else for (let i = 0; i < out.length; i++) out[i] = data[i] << -shift;
  }
  return out;
}

/**
 * The picture with 8-bit samples and the channels it has.
 *
 * @param rule What happens to deeper samples; `scaled` when left out.
 */
export function toDepth8(image: Raster, rule: DepthRule = "scaled"): Raster8 {
  return { ...image, data: samples8(image, rule), bitDepth: 8 };
}

/**
 * Three channels of 8 bits, as Pillow's `convert("RGB")`: grey is repeated, alpha is dropped without blending.
 *
 * @param rule What happens to deeper samples; `scaled` when left out. `pillow` gives Pillow's bytes for 16-bit grey too.
 */
export function toRgb(image: Raster, rule: DepthRule = "scaled"): Raster8 {
  const { width, height, channels } = image;
  const source = samples8(image, rule);
  if (channels === 3) return { width, height, channels, data: source, bitDepth: 8 };
  const data = new Uint8Array(width * height * 3);
  const green = channels === 1 ? 0 : 1, blue = channels === 1 ? 0 : 2;
  for (let from = 0, to = 0; to < data.length; from += channels, to += 3) {
    data[to] = source[from];
    data[to + 1] = source[from + green];
    data[to + 2] = source[from + blue];
  }
  return { width, height, channels: 3, data, bitDepth: 8 };
}

/**
 * One channel of 8 bits, as Pillow's `convert("L")`: the ITU-R 601 luma in 16-bit fixed point, rounded; alpha is dropped.
 *
 * @param rule What happens to deeper samples; `scaled` when left out.
 */
export function toGrey(image: Raster, rule: DepthRule = "scaled"): Raster8 {
  const { width, height, channels } = image;
  const source = samples8(image, rule);
  if (channels === 1) return { width, height, channels, data: source, bitDepth: 8 };
  const data = new Uint8Array(width * height);
  for (let from = 0, to = 0; to < data.length; from += channels, to++) {
    data[to] =
      (source[from] * 19595 + source[from + 1] * 38470 + source[from + 2] * 7471 + 0x8000) >> 16;
  }
  return { width, height, channels: 1, data, bitDepth: 8 };
}

/** Four channels of 8 bits; pictures without alpha become opaque. */
export function toRgba(image: Raster, rule: DepthRule = "scaled"): Raster8 {
  if (image.channels === 4) return toDepth8(image, rule);
  const rgb = toRgb(image, rule).data;
  const data = new Uint8Array(image.width * image.height * 4);
  for (let from = 0, to = 0; to < data.length; from += 3, to += 4) {
    data[to] = rgb[from];
    data[to + 1] = rgb[from + 1];
    data[to + 2] = rgb[from + 2];
    data[to + 3] = 255;
  }
  return { width: image.width, height: image.height, channels: 4, data, bitDepth: 8 };
}
