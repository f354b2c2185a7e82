/**
 * Low-rank adapters beside linear layers: adapted table lookups, and merging into weights in place.
 *
 * @module
 */
import { loraMergeProgram } from "../kernels/lora.ts";
import { packedLayout } from "../kernels/quantise.ts";
import { add } from "./elementwise.ts";
import { gatherRows } from "./gather.ts";
import type { LoraTerm } from "./linear.ts";
import { matmul } from "./matmul.ts";
import { accumulate, isDifferentiated } from "./tape.ts";
import { shapeText, type Tensor } from "./tensor.ts";
import type { Weight } from "./weight.ts";

/**
 * W += factor * sum_i scale_i B_i A_i in place: 1 merges, -1 takes out again what was merged, up to rounding.
 *
 * @throws {RangeError} when the weight is not f32 or a shape does not fit: a narrow weight would be rounded again.
 */
export function addLora(w: Weight, terms: readonly LoraTerm[], factor = 1): void {
  const { device, rows: n, columns: k } = w;
  for (const { a, b } of terms) {
    const rank = a.shape[0];
    const fits = shapeText(a.shape) === shapeText([rank ?? 0, k]) &&
      shapeText(b.shape) === shapeText([n, rank ?? 0]);
    if (w.dtype !== "f32" || !fits) {
      throw new RangeError(
        `Cannot add an adapter ${shapeText(b.shape)} x ${
          shapeText(a.shape)
        } to a ${w.dtype} weight of ${n} rows and ${k} columns: expected f32, [N, r] x [r, K]`,
      );
    }
  }
  for (const { buffer, firstRow, rows } of w.parts) {
    const { granules, scaleBase: count, bytes } = packedLayout(rows, k, "f32");
    for (const { a, b, scale } of terms) {
      const rank = a.shape[0]!;
      device.dispatch(
        loraMergeProgram(),
        { a: a.range, b: b.range, w: { buffer, size: Math.max(16, bytes) } },
        { rows, columns: k, granules, firstRow, rank, count, scale: factor * scale },
        [Math.ceil(count / 64)],
        { flops: 2 * rows * k * rank, bytes: 2 * bytes },
      );
    }
  }
}

/**
 * Rows of an adapted table, W + sum_i scale_i B_i A_i, by number: only the rows asked for are computed.
 *
 * @param table Weight of R rows and C columns in any dtype.
 * @param index i32 or u32 [n]; numbers outside give rows of zeros.
 * @param terms a [r, C] and b [R, r] each. Their dropout does not apply: an index cannot be dropped.
 * @returns f32 [n, C].
 * @throws {RangeError} when shapes or dtypes do not fit.
 */
export function adaptedRows(table: Weight, index: Tensor, terms: readonly LoraTerm[]): Tensor {
  let y = gatherRows(table, index);
  for (const { a, b, scale } of terms) {
    const update = matmul(gatherRows(b, index), a, { scale });
    if (isDifferentiated(y, update)) y = add(y, update);
    else accumulate(y, update);
  }
  return y;
}
