/**
 * Resizing 8-bit pictures to the same bytes as Pillow: two passes of fixed-point convolution whose filter widens when
 * shrinking (antialias), as in Pillow's `Resample.c`; nearest neighbour as in its `Geometry.c`.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { emptyRaster, type Raster, type Raster8, toDepth8 } from "./raster.ts";

/** Pillow's resampling filters. */
export type PillowFilter = "nearest" | "box" | "bilinear" | "hamming" | "bicubic" | "lanczos";

/** A part of a picture in pixels, possibly fractional: left, top, right, bottom. */
export type SourceBox = readonly [x0: number, y0: number, x1: number, y1: number];

interface Kernel {
  /** Half width in source pixels when not shrinking. */
  readonly support: number;
  readonly weight: (x: number) => number;
}

const sinc = (x: number) => x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);

const KERNELS: Readonly<Record<Exclude<PillowFilter, "nearest">, Kernel>> = {
  box: { support: 0.5, weight: (x) => x > -0.5 && x <= 0.5 ? 1 : 0 },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weight: (x) => {
      const d = Math.abs(x);
      if (d === 0) return 1;
      // The two constants are single precision in Pillow.
      const low = Math.fround(0.54), high = Math.fround(0.46);
      return d >= 1 ? 0 : sinc(d) * (low + high * Math.cos(d * Math.PI));
    },
  },
  bicubic: {
    support: 2,
    weight: (x) => {
      const a = -0.5, d = Math.abs(x);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0 },
};

/** Bits behind the binary point of a weight: 32 less 8 for the sample and 2 for overshoot. */
const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);

/** For each output position the first input sample, how many there are, and their fixed-point weights. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** `size` weights for each output position. */
  readonly weights: Int32Array;
  readonly size: number;
}

function makeTaps(input: number, from: number, to: number, output: number, kernel: Kernel): Taps {
  const scale = Math.fround(to - from) / output;
  const stretch = Math.max(scale, 1);
  const support = kernel.support * stretch;
  const size = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(output), count = new Int32Array(output);
  const weights = new Int32Array(output * size);
  const row = new Float64Array(size);
  for (let i = 0; i < output; i++) {
    const centre = from + (i + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(centre - support + 0.5));
    const length = Math.min(input, Math.trunc(centre + support + 0.5)) - begin;
    let sum = 0;
    for (let k = 0; k < length; k++) {
      row[k] = kernel.weight((k + begin - centre + 0.5) * (1 / stretch));
      sum += row[k];
    }
    for (let k = 0; k < length; k++) {
      const weight = (sum === 0 ? row[k] : row[k] / sum) * (1 << PRECISION);
      weights[i * size + k] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    first[i] = begin;
    count[i] = length;
  }
  return { first, count, weights, size };
}

const clip8 = (sum: number) => sum <= 0 ? 0 : Math.min(255, sum >> PRECISION);

/** Convolves rows `top` .. `top + rows` of the input; the result has `rows` rows of `out.width` pixels. */
function alongRows(image: Raster8, taps: Taps, width: number, top: number, rows: number): Raster8 {
  const { channels, data } = image;
  const out = emptyRaster(width, rows, channels);
  const target = out.data, { first, count, weights, size } = taps;
  for (let y = 0, to = 0; y < rows; y++) {
    const line = (top + y) * image.width * channels;
    for (let x = 0; x < width; x++) {
      const from = line + first[x] * channels, w = x * size, n = count[x];
      for (let c = 0; c < channels; c++) {
        let sum = HALF;
        for (let k = 0, at = from + c; k < n; k++, at += channels) {
          sum = (sum + Math.imul(data[at], weights[w + k])) | 0;
        }
        target[to++] = clip8(sum);
      }
    }
  }
  return out;
}

/** Convolves columns; `offset` is the source row that the picture's first row stands for. */
function alongColumns(image: Raster8, taps: Taps, height: number, offset: number): Raster8 {
  const { width, channels, data } = image;
  const out = emptyRaster(width, height, channels);
  const stride = width * channels;
  const sums = new Int32Array(stride);
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let k = 0; k < taps.count[y]; k++) {
      const weight = taps.weights[y * taps.size + k];
      const from = (taps.first[y] - offset + k) * stride;
      for (let i = 0; i < stride; i++) sums[i] += Math.imul(data[from + i], weight);
    }
    for (let i = 0, to = y * stride; i < stride; i++, to++) out.data[to] = clip8(sums[i]);
  }
  return out;
}

function resizeNearest(image: Raster8, width: number, height: number, box: SourceBox): Raster8 {
  const { channels, data } = image;
  const out = emptyRaster(width, height, channels);
  // Positions are summed up step by step, as Pillow does: multiplying would round differently now and then.
  const positions = (output: number, from: number, to: number, limit: number) => {
    const step = Math.fround(to - from) / output;
    const result = new Int32Array(output);
    for (let i = 0, at = from + step * 0.5; i < output; i++, at += step) {
      result[i] = at >= 0 && at < limit ? Math.trunc(at) : -1;
    }
    return result;
  };
  const columns = positions(width, box[0], box[2], image.width);
  const rows = positions(height, box[1], box[3], image.height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += channels) {
      if (rows[y] < 0 || columns[x] < 0) continue;
      const from = (rows[y] * image.width + columns[x]) * channels;
      for (let c = 0; c < channels; c++) out.data[to + c] = data[from + c];
    }
  }
  return out;
}

function convolve(image: Raster8, width: number, height: number, box: SourceBox, kernel: Kernel) {
  const [x0, y0, x1, y1] = box;
  let current = image;
  const rows = makeTaps(image.height, y0, y1, height, kernel);
  const needRows = height !== image.height || y0 !== 0 || y1 !== height;
  let offset = 0;
  if (width !== image.width || x0 !== 0 || x1 !== width) {
    // Only the rows that the second pass will look at.
    offset = rows.first[0];
    const count = rows.first[height - 1] + rows.count[height - 1] - offset;
    const columns = makeTaps(image.width, x0, x1, width, kernel);
    current = needRows
      ? alongRows(current, columns, width, offset, count)
      : alongRows(current, columns, width, 0, image.height);
  }
  return needRows ? alongColumns(current, rows, height, offset) : current;
}

/** Multiplies colour by alpha, with Pillow's rounding. */
function premultiply(image: Raster8): Raster8 {
  const data = new Uint8Array(image.data);
  for (let i = 0; i < data.length; i += 4) {
    for (let c = 0; c < 3; c++) {
      const product = data[i + c] * data[i + 3] + 128;
      data[i + c] = (product + (product >> 8)) >> 8;
    }
  }
  return { ...image, data };
}

/** Divides colour by alpha in place, with Pillow's rounding. */
function unpremultiply(image: Raster8): Raster8 {
  const { data } = image;
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3];
    if (alpha === 0 || alpha === 255) continue;
    for (let c = 0; c < 3; c++) data[i + c] = Math.min(255, Math.trunc(255 * data[i + c] / alpha));
  }
  return image;
}

/**
 * Resizes a picture to the same bytes as Pillow's `Image.resize((width, height), filter, box)`. RGBA is convolved with
 * colour multiplied by alpha, as Pillow does. Samples of more than 8 bits are scaled to 8 bits first.
 *
 * @param width Pixels in a row of the result.
 * @param height Rows of the result.
 * @param filter One of Pillow's filters; all but `nearest` smooth when shrinking.
 * @param box The part of the source to take, in pixels; the whole picture when left out.
 * @throws {InputError} code `BAD_SIZE` for sizes that are not positive whole numbers, `BAD_BOX` for boxes that are empty
 *   or leave the picture.
 */
export function resizePillow(
  image: Raster,
  width: number,
  height: number,
  filter: PillowFilter,
  box: SourceBox = [0, 0, image.width, image.height],
): Raster8 {
  if (!Number.isSafeInteger(width) || !Number.isSafeInteger(height) || width < 1 || height < 1) {
    throw new InputError(
      "BAD_SIZE",
      `Cannot resize a ${image.width}x${image.height} picture to ${width}x${height}: both sides must be whole numbers of at least 1`,
    );
  }
  const [x0, y0, x1, y1] = box;
  if (!(x0 >= 0 && y0 >= 0 && x1 <= image.width && y1 <= image.height && x1 > x0 && y1 > y0)) {
    throw new InputError(
      "BAD_BOX",
      `Cannot resize the part [${
        box.join(", ")
      }] of a ${image.width}x${image.height} picture: the box must lie inside and not be empty`,
    );
  }
  const source = toDepth8(image);
  // Pillow holds the box, and the difference of its edges, in single precision.
  const part: SourceBox = [Math.fround(x0), Math.fround(y0), Math.fround(x1), Math.fround(y1)];
  const whole = x0 === 0 && y0 === 0 && x1 === image.width && y1 === image.height;
  if (whole && width === image.width && height === image.height) {
    return { ...source, data: new Uint8Array(source.data) };
  }
  if (filter === "nearest") return resizeNearest(source, width, height, part);
  const kernel = KERNELS[filter];
  return image.channels === 4
    ? unpremultiply(convolve(premultiply(source), width, height, part, kernel))
    : convolve(source, width, height, part, kernel);
}
