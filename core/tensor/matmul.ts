/**
 * Products of tensors.
 *
 * @module
 */
import { permute } from "./movement.ts";
import { multiplyTensor } from "./product.ts";
import { isDifferentiated, note } from "./tape.ts";
import { elementCount, empty, shapeText, type Tensor } from "./tensor.ts";

/** Variations of {@linkcode matmul}. */
export interface MatmulOptions {
  /** `b` is [..., N, K]. */
  readonly transposeB?: boolean;
  /** Factor of the result. Default 1. */
  readonly scale?: number;
}

/**
 * Batched matrix product, scale * a b.
 *
 * @param a f32 tensor [..., M, K].
 * @param b f32 tensor [..., K, N], or [..., N, K] with `transposeB`; its leading axes equal those of `a`, or are none.
 * @returns f32 tensor [..., M, N].
 * @throws {RangeError} when the shapes do not fit.
 */
export function matmul(
  a: Tensor,
  b: Tensor,
  { transposeB = false, scale = 1 }: MatmulOptions = {},
): Tensor {
  const leading = a.shape.slice(0, -2);
  const shared = b.shape.length === 2;
  const [m = 0, inner = 0] = a.shape.slice(-2);
  const [bRows = 0, bColumns = 0] = b.shape.slice(-2);
  const [bInner, n] = transposeB ? [bColumns, bRows] : [bRows, bColumns];
  const fits = a.shape.length >= 2 && bInner === inner && a.dtype === "f32" && b.dtype === "f32" &&
    (shared || b.shape.length === a.shape.length &&
        leading.every((extent, axis) => extent === b.shape[axis]));
  if (!fits) {
    throw new RangeError(
      `Cannot multiply ${a.dtype} ${shapeText(a.shape)} by ${b.dtype} ${
        shapeText(b.shape)
      }: expected f32 [..., M, K] and [${shared ? "" : "..., "}${transposeB ? "N, K" : "K, N"}]`,
    );
  }
  const y = empty(a.device, [...leading, m, n], "f32", "matmul");
  // A right operand without leading axes turns the batch into more rows.
  const batches = shared ? 1 : elementCount(leading);
  const rows = shared ? m * elementCount(leading) : m;
  multiplyTensor(
    a.device,
    { range: a.range, rows, batchStride: m * inner },
    { range: b.range, transposed: transposeB, batchStride: shared ? 0 : inner * n },
    { range: y.range, stride: n, batchStride: m * n },
    { rows, columns: n, inner },
    { batches, alpha: scale },
  );
  note({
    name: "matmul",
    inputs: [a, b],
    outputs: [y],
    saved: [...isDifferentiated(a) ? [b] : [], ...isDifferentiated(b) ? [a] : []],
    backward([gradient], [wantsA, wantsB]) {
      const g = gradient!;
      const da = wantsA ? matmul(g, b, { transposeB: !transposeB, scale }) : undefined;
      if (!wantsB) return [da, undefined];
      // A shared right operand sums over the batch as over the rows.
      const left = shared ? a.reshape(-1, inner) : a, right = shared ? g.reshape(-1, n) : g;
      const db = transposeB
        ? matmul(swapLast(right), left, { scale })
        : matmul(swapLast(left), right, { scale });
      return [da, db];
    },
  });
  return y;
}

/** The last two axes exchanged. */
function swapLast(x: Tensor): Tensor {
  const last = x.shape.length - 1;
  return permute(x, x.shape.map((_, i) => i === last ? last - 1 : i === last - 1 ? last : i));
}
