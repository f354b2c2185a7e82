/**
 * The products on the way back through a linear layer y = x W^T.
 *
 * @module
 */
import { blockColumns, packedLayout } from "../kernels/quantise.ts";
import { unpackProgram } from "../kernels/unpack.ts";
import { matmul } from "./matmul.ts";
import { permute, slice } from "./movement.ts";
import { multiplyTensor } from "./product.ts";
import { accumulate } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";
import type { Weight } from "./weight.ts";

/** Floats of a weight that are unpacked at a time: frozen weights stay packed, and the temporary stays small. */
const unpackedFloats = 2 ** 23;

/**
 * The gradient of x: g W.
 *
 * @param g f32 [rows, N].
 * @param w Weight of N rows and K columns in any dtype.
 * @returns f32 [rows, K].
 */
export function timesWeight(g: Tensor, w: Weight): Tensor {
  const { device } = g;
  let total: Tensor | undefined;
  for (const { buffer, firstRow, rows: n } of w.parts) {
    // A weight in several parts sums over some of its rows in each.
    const part = n === w.rows ? g : slice(g, 1, firstRow, n);
    const product = empty(device, [g.shape[0]!, w.columns], "f32", "linear gradient");
    const { bytes, ...layout } = packedLayout(n, w.columns, w.dtype);
    const most = blockColumns * Math.max(1, Math.floor(unpackedFloats / n / blockColumns));
    for (let firstColumn = 0; firstColumn < w.columns; firstColumn += most) {
      const width = Math.min(most, w.columns - firstColumn), steps = Math.ceil(width / 4);
      const plain = empty(device, [n, width], "f32", "unpacked weight");
      device.dispatch(
        unpackProgram(w.dtype),
        { w: { buffer, size: Math.max(16, bytes) }, y: plain.range },
        { rows: n, columns: w.columns, firstColumn, width, steps, ...layout },
        [Math.ceil(n * steps / 64)],
        { bytes: 4 * n * width + bytes * width / w.columns },
      );
      multiplyTensor(
        device,
        { range: part.range, rows: g.shape[0]! },
        { range: plain.range, transposed: false },
        { range: product.range, stride: w.columns, firstColumn },
        { rows: g.shape[0]!, columns: width, inner: n },
        {},
      );
      plain.dispose();
    }
    if (total === undefined) total = product;
    else accumulate(total, product);
  }
  return total!;
}

/**
 * The gradient of the weight: g^T x.
 *
 * @param g f32 [rows, N].
 * @param x f32 [rows, K].
 * @returns f32 [N, K], row-major.
 */
export function outerSum(g: Tensor, x: Tensor): Tensor {
  return matmul(permute(g, [1, 0]), x);
}
