/**
 * What the tests of the in-context modules share: a model small enough to be made in each of them, and the modules in double
 * precision.
 *
 * @module
 */
import { type MedplibConfig, presets } from "./config.ts";
import { maskEncoderChannels } from "./params.ts";

/** The architecture at its smallest, with both in-context modules; 9 patches become 4 rows, a mask 3. */
export const inContextConfig: MedplibConfig = {
  ...presets.tiny,
  llama: {
    ...presets.tiny.llama,
    hiddenSize: 64,
    intermediateSize: 64,
    layers: 1,
    heads: 2,
    keyHeads: 2,
  },
  moe: { ...presets.tiny.moe, layers: [0], experts: [2] },
  clip: {
    ...presets.tiny.clip,
    hiddenSize: 24,
    intermediateSize: 48,
    layers: 2,
    heads: 1,
    imageSize: 42,
  },
  sam: {
    ...presets.tiny.sam,
    imageSize: 64,
    patchSize: 16,
    width: 32,
    depth: 1,
    heads: 2,
    window: 4,
    globalBlocks: [],
    outputWidth: 32,
  },
  samDecoder: { ...presets.tiny.samDecoder, width: 32, heads: 4, mlpWidth: 64, iouWidth: 32 },
  imageTokens: 4,
  maskTokens: 3,
};

/** Values by parameter name below the module. */
export type ModuleValues = (name: string) => ArrayLike<number>;

/** Means over windows of the rows of a matrix [rows, columns]. */
function pooled(x: Float64Array, rows: number, columns: number, count: number): Float64Array {
  const y = new Float64Array(count * columns);
  for (let i = 0; i < count; i++) {
    const begin = Math.floor(i * rows / count), end = Math.ceil((i + 1) * rows / count);
    for (let r = begin; r < end; r++) {
      for (let c = 0; c < columns; c++) {
        y[i * columns + c]! += x[r * columns + c]! / (end - begin);
      }
    }
  }
  return y;
}

function normed(x: Float64Array, columns: number, of: ModuleValues): Float64Array {
  const weight = of("norm.weight"), bias = of("norm.bias");
  const y = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += columns) {
    const row = x.subarray(at, at + columns);
    const mean = row.reduce((a, b) => a + b, 0) / columns;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / columns;
    row.forEach((value, c) =>
      y[at + c] = (value - mean) / Math.sqrt(variance + 1e-5) * weight[c]! + bias[c]!
    );
  }
  return y;
}

function projected(x: Float64Array, columns: number, of: ModuleValues): Float64Array {
  const weight = of("proj.weight"), bias = of("proj.bias");
  const rows = x.length / columns, outputs = bias.length;
  return Float64Array.from({ length: rows * outputs }, (_, i) => {
    const row = Math.floor(i / outputs), output = i % outputs;
    let sum = bias[output]!;
    for (let c = 0; c < columns; c++) sum += x[row * columns + c]! * weight[output * columns + c]!;
    return sum;
  });
}

/** The compressor on the rows of one image [rows, columns]. */
export function referenceCompressor(
  x: ArrayLike<number>,
  columns: number,
  count: number,
  of: ModuleValues,
): Float64Array {
  const all = Float64Array.from(x);
  return projected(
    normed(pooled(all, all.length / columns, columns, count), columns, of),
    columns,
    of,
  );
}

/** Exact GELU, with the error function from its series; good to 1e-12 for |x| < 5. */
function gelu(x: number): number {
  const z = x / Math.SQRT2;
  let term = z, sum = z;
  for (let n = 1; n < 120; n++) {
    term *= -z * z / n;
    sum += term / (2 * n + 1);
  }
  return 0.5 * x * (1 + 2 / Math.sqrt(Math.PI) * sum);
}

/** The mask encoder on one mask [side, side]: its last convolution, channels outermost, and its rows. */
export function referenceMaskEncoder(
  mask: ArrayLike<number>,
  side: number,
  count: number,
  of: ModuleValues,
): { conv: Float64Array; rows: Float64Array; side: number } {
  let x = Float64Array.from(mask), inputs = 1;
  maskEncoderChannels.forEach((outputs, n) => {
    const weight = of(`encoder.${2 * n}.weight`), bias = of(`encoder.${2 * n}.bias`);
    const half = Math.ceil(side / 2);
    const y = new Float64Array(outputs * half * half);
    for (let o = 0, to = 0; o < outputs; o++) {
      for (let i = 0; i < half; i++) {
        for (let j = 0; j < half; j++, to++) {
          let sum = bias[o]!;
          for (let c = 0; c < inputs; c++) {
            for (let k = 0; k < 9; k++) {
              const row = 2 * i - 1 + Math.floor(k / 3), column = 2 * j - 1 + k % 3;
              if (row < 0 || column < 0 || row >= side || column >= side) continue;
              sum += weight[(o * inputs + c) * 9 + k]! * x[(c * side + row) * side + column]!;
            }
          }
          y[to] = gelu(sum);
        }
      }
    }
    [x, inputs, side] = [y, outputs, half];
  });
  const cells = side * side;
  const byCell = Float64Array.from(
    { length: x.length },
    (_, i) => x[(i % inputs) * cells + Math.floor(i / inputs)]!,
  );
  const rows = projected(pooled(byCell, cells, inputs, count), inputs, of);
  return { conv: x, rows: normed(rows, rows.length / count, of), side };
}
