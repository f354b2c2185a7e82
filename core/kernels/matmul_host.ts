/**
 * The typed-array twin of the matrix products.
 *
 * @module
 */
import type { HostArray } from "../device/mod.ts";
import { unaryFunctions } from "./elementwise.ts";
import { isPacked, type Product, type ProductParameters } from "./matmul_operands.ts";
import { PackedReader } from "./quantise.ts";

interface HostArrays {
  readonly x: Float32Array;
  readonly w: Float32Array | Uint32Array;
  readonly y: Float32Array;
  readonly bias?: Float32Array;
  readonly residual?: Float32Array;
  readonly h?: Float32Array;
  readonly b?: Float32Array;
  readonly index?: Uint32Array;
  readonly counts?: Uint32Array;
}

/** Reader of the rows of the right operand, `read(z, n, target)`. */
function rightReader(
  product: Product,
  w: Float32Array | Uint32Array,
  { columns, inner, rightBatch }: ProductParameters,
): (z: number, n: number, target: Float64Array) => void {
  if (isPacked(product.right)) {
    const reader = new PackedReader(w, columns, inner, product.right);
    return (_, n, target) => reader.read(n, target);
  }
  const [rowStride, step] = product.right === "columns" ? [1, columns] : [inner, 1];
  return (z, n, target) => {
    const base = z * rightBatch + n * rowStride;
    for (let k = 0; k < inner; k++) target[k] = w[base + k * step]!;
  };
}

/**
 * Sums of products in double precision of up to four rows of x with one row of the right operand: four independent sums,
 * so that additions overlap and each value of the row is loaded once.
 */
function dots(
  x: Float32Array,
  bases: Uint32Array,
  row: Float64Array,
  count: number,
  sums: Float64Array,
): void {
  const base0 = bases[0]!, base1 = bases[1]!, base2 = bases[2]!, base3 = bases[3]!;
  let a = 0, b = 0, c = 0, d = 0;
  for (let k = 0; k < count; k++) {
    const value = row[k]!;
    a += x[base0 + k]! * value;
    b += x[base1 + k]! * value;
    c += x[base2 + k]! * value;
    d += x[base3 + k]! * value;
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

/** The sum of products of a single row, again as four independent sums. */
function dot(x: Float32Array, base: number, row: Float64Array, count: number): number {
  let a = 0, b = 0, c = 0, d = 0;
  let k = 0;
  for (; k + 3 < count; k += 4) {
    a += x[base + k]! * row[k]!;
    b += x[base + k + 1]! * row[k + 1]!;
    c += x[base + k + 2]! * row[k + 2]!;
    d += x[base + k + 3]! * row[k + 3]!;
  }
  for (; k < count; k++) a += x[base + k]! * row[k]!;
  return a + b + (c + d);
}

/** Computes a whole dispatch: each row of the right operand is unpacked once and meets all rows of the left one. */
export function productHost(
  product: Product,
): (arrays: Readonly<Record<string, HostArray>>, parameters: ProductParameters) => void {
  const activation = product.activation && unaryFunctions[product.activation].host;
  return (arrays, parameters) => {
    const { x, w, y, bias, residual, h, b, index, counts } = arrays as unknown as HostArrays;
    const { columns, inner, first, sourceRows, outRow, outColumn, outStride, rank } = parameters;
    const limit = counts === undefined
      ? parameters.rows
      : Math.min(parameters.rows, counts[parameters.counter]!);
    const sources = Uint32Array.from(
      { length: limit },
      (_, r) => Math.min(index === undefined ? first + r : index[first + r]!, sourceRows - 1),
    );
    const read = rightReader(product, w, parameters);
    const row = new Float64Array(inner);
    const bases = new Uint32Array(4), sums = new Float64Array(4);
    for (let z = 0; z < parameters.batches; z++) {
      for (let n = 0; n < columns; n++) {
        read(z, n, row);
        const column = outColumn + n;
        for (let r = 0; r < limit; r++) {
          let sum: number;
          if (limit - (r & ~3) < 4) {
            sum = dot(x, z * parameters.leftBatch + sources[r]! * inner, row, inner);
          } else {
            if ((r & 3) === 0) {
              for (let i = 0; i < 4; i++) {
                bases[i] = z * parameters.leftBatch + sources[r + i]! * inner;
              }
              dots(x, bases, row, inner, sums);
            }
            sum = sums[r & 3]!;
          }
          if (h !== undefined && b !== undefined) {
            for (let j = 0; j < rank; j++) sum += h[r * rank + j]! * b[column * rank + j]!;
          }
          sum *= parameters.alpha;
          if (bias !== undefined) sum += bias[column]!;
          if (activation !== undefined) sum = activation(sum);
          if (residual !== undefined) sum += residual[r * outStride + column]!;
          y[z * parameters.outBatch + (outRow + r) * outStride + column] = sum;
        }
      }
    }
  };
}
