/**
 * Resizing float tensors on the host, as PyTorch's `interpolate` and `adaptive_avg_pool` compute it. Every mode is
 * separable, so each is a small matrix per axis and one routine applies it.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/** Modes of `torch.nn.functional.interpolate`; the spatial rank follows from the sizes, so `linear` serves all ranks. */
export type InterpolateMode =
  | "nearest"
  | "nearest-exact"
  | "linear"
  | "bilinear"
  | "trilinear"
  | "bicubic"
  | "area";

/** Options of `interpolate`, with PyTorch's names and defaults. */
export interface InterpolateOptions {
  /** Whether the corner samples of input and output coincide; linear and cubic modes only. */
  readonly alignCorners?: boolean;
  /** Whether shrinking widens the filter; `bilinear` and `bicubic` only. */
  readonly antialias?: boolean;
}

/** One axis as a sparse matrix: `width` input positions and weights for each output position. */
interface AxisMap {
  readonly output: number;
  readonly width: number;
  readonly index: Int32Array;
  readonly weight: Float32Array;
}

type MakeAxis = (input: number, output: number) => AxisMap;

function axisMap(
  output: number,
  width: number,
  taps: (i: number, put: (index: number, weight: number) => void) => void,
): AxisMap {
  const index = new Int32Array(output * width), weight = new Float32Array(output * width);
  for (let i = 0; i < output; i++) {
    let at = i * width;
    taps(i, (position, value) => {
      index[at] = position;
      weight[at++] = value;
    });
    // Positions without weight must still be readable.
    for (; at < (i + 1) * width; at++) index[at] = index[i * width];
  }
  return { output, width, index, weight };
}

/** Distance of neighbouring output samples in input samples, rounded to float32 as PyTorch holds it. */
function axisScale(input: number, output: number, alignCorners: boolean): number {
  if (!alignCorners) return Math.fround(input / output);
  return output > 1 ? Math.fround((input - 1) / (output - 1)) : 0;
}

/** Where an output sample lies between the input samples: one rounding, as a fused multiply-add does it. */
function sourcePosition(scale: number, i: number, alignCorners: boolean): number {
  return Math.fround(alignCorners ? scale * i : scale * (i + 0.5) - 0.5);
}

const nearest = (offset: number): MakeAxis => (input, output) => {
  const scale = axisScale(input, output, false);
  return axisMap(output, 1, (i, put) => {
    put(Math.min(Math.floor(Math.fround((i + offset) * scale)), input - 1), 1);
  });
};

const linear = (alignCorners: boolean): MakeAxis => (input, output) => {
  const scale = axisScale(input, output, alignCorners);
  return axisMap(output, 2, (i, put) => {
    const at = Math.max(0, sourcePosition(scale, i, alignCorners));
    const low = Math.min(Math.floor(at), input - 1);
    const fraction = Math.min(1, at - low);
    put(low, 1 - fraction);
    put(Math.min(low + 1, input - 1), fraction);
  });
};

/** Keys' cubic with parameter `a`. */
function cubicKernel(x: number, a: number): number {
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

const cubic = (alignCorners: boolean): MakeAxis => (input, output) => {
  const scale = axisScale(input, output, alignCorners);
  return axisMap(output, 4, (i, put) => {
    const at = sourcePosition(scale, i, alignCorners);
    const low = Math.floor(at);
    for (let k = -1; k <= 2; k++) {
      put(Math.min(Math.max(low + k, 0), input - 1), cubicKernel(at - low - k, -0.75));
    }
  });
};

/** The widened filters take PyTorch's other cubic parameter, that of Pillow. */
const antialiased = (kind: "linear" | "cubic", alignCorners: boolean): MakeAxis => {
  const kernel = kind === "linear"
    ? (x: number) => Math.max(0, 1 - Math.abs(x))
    : (x: number) => cubicKernel(x, -0.5);
  return (input, output) => {
    const scale = axisScale(input, output, alignCorners);
    const stretch = Math.max(scale, 1);
    const inverse = Math.fround(1 / stretch);
    const support = Math.fround((kind === "linear" ? 1 : 2) * stretch);
    return axisMap(output, Math.ceil(support) * 2 + 1, (i, put) => {
      const centre = Math.fround(scale * (i + 0.5));
      const begin = Math.max(0, Math.trunc(centre - support + 0.5));
      const end = Math.min(input, Math.trunc(centre + support + 0.5));
      let sum = 0;
      for (let k = begin; k < end; k++) sum += kernel((k - centre + 0.5) * inverse);
      for (let k = begin; k < end; k++) put(k, kernel((k - centre + 0.5) * inverse) / (sum || 1));
    });
  };
};

const average: MakeAxis = (input, output) => {
  const begin = (i: number) => Math.floor(i * input / output);
  const end = (i: number) => Math.ceil((i + 1) * input / output);
  let width = 1;
  for (let i = 0; i < output; i++) width = Math.max(width, end(i) - begin(i));
  return axisMap(output, width, (i, put) => {
    for (let k = begin(i); k < end(i); k++) put(k, 1 / (end(i) - begin(i)));
  });
};

/** Applies a map to the middle axis of [outer, input, inner]. */
function applyAxis(
  data: Float32Array,
  outer: number,
  input: number,
  inner: number,
  map: AxisMap,
): Float32Array<ArrayBuffer> {
  const { output, width, index, weight } = map;
  const out = new Float32Array(outer * output * inner);
  const sums = new Float64Array(inner);
  for (let o = 0; o < outer; o++) {
    const base = o * input * inner;
    for (let i = 0; i < output; i++) {
      sums.fill(0);
      for (let k = i * width; k < (i + 1) * width; k++) {
        const w = weight[k];
        if (w === 0) continue;
        const from = base + index[k] * inner;
        for (let j = 0; j < inner; j++) sums[j] += data[from + j] * w;
      }
      out.set(sums, (o * output + i) * inner);
    }
  }
  return out;
}

function resample(
  data: Float32Array,
  shape: readonly number[],
  size: readonly number[],
  make: MakeAxis,
): Float32Array<ArrayBuffer> {
  const lead = shape.length - size.length;
  const positive = [...shape, ...size].every((n) => Number.isSafeInteger(n) && n > 0);
  if (lead < 0 || !positive || shape.reduce((a, b) => a * b, 1) !== data.length) {
    throw new InputError(
      "BAD_SIZE",
      `Cannot resample ${data.length} values of shape [${shape.join(", ")}] to [${
        size.join(", ")
      }]: the shape must hold the values, and all sizes must be at least 1`,
    );
  }
  let current = new Float32Array(data);
  const dims = [...shape];
  // Last axis first, as it is done in rows.
  for (let axis = shape.length - 1; axis >= lead; axis--) {
    const output = size[axis - lead];
    const outer = dims.slice(0, axis).reduce((a, b) => a * b, 1);
    const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    current = applyAxis(current, outer, dims[axis], inner, make(dims[axis], output));
    dims[axis] = output;
  }
  return current;
}

function axisMaker(mode: InterpolateMode, options: InterpolateOptions): MakeAxis {
  const { alignCorners = false, antialias = false } = options;
  switch (mode) {
    case "nearest":
      return nearest(0);
    case "nearest-exact":
      return nearest(0.5);
    case "area":
      return average;
    case "linear":
    case "bilinear":
    case "trilinear":
      return antialias ? antialiased("linear", alignCorners) : linear(alignCorners);
    case "bicubic":
      return antialias ? antialiased("cubic", alignCorners) : cubic(alignCorners);
  }
}

/**
 * `torch.nn.functional.interpolate(x, size, mode, align_corners, antialias)` for float32.
 *
 * @param data Values in row-major order.
 * @param shape Sizes of all axes; the last `size.length` ones are spatial, those before are kept.
 * @param size Spatial sizes of the result: one, two or three.
 * @returns Values of shape `[...leading, ...size]`, row-major.
 * @throws {InputError} code `BAD_SIZE` when shape, size and values do not fit together.
 */
export function interpolate(
  data: Float32Array,
  shape: readonly number[],
  size: readonly number[],
  mode: InterpolateMode,
  options: InterpolateOptions = {},
): Float32Array<ArrayBuffer> {
  return resample(data, shape, size, axisMaker(mode, options));
}

/**
 * `torch.nn.functional.adaptive_avg_pool1d/2d/3d(x, size)` for float32: means over `floor(i*n/m) .. ceil((i+1)*n/m)`.
 *
 * @param data Values in row-major order.
 * @param shape Sizes of all axes; the last `size.length` ones are pooled.
 * @param size Sizes of the result's pooled axes.
 * @returns Values of shape `[...leading, ...size]`, row-major.
 * @throws {InputError} code `BAD_SIZE` when shape, size and values do not fit together.
 */
export function adaptiveAveragePool(
  data: Float32Array,
  shape: readonly number[],
  size: readonly number[],
): Float32Array<ArrayBuffer> {
  return resample(data, shape, size, average);
}
