/**
 * Attention of one token over a cache.
 *
 * @module
 */
import { decodeGroup, decodeLanes, decodeMerge, mergeWidth } from "../kernels/attention_decode.ts";
import { broadcastLanes, rowSpans } from "./heads.ts";
import { isDifferentiated } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** Heads of a cached attention. */
export interface DecodeShape {
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values, a divisor of `heads`. Default `heads`. */
  readonly keyHeads?: number;
  /** Elements per head, 1 to 256. */
  readonly headSize: number;
}

/** Keys per split: enough splits to fill a device at a few thousand keys. Divides the pieces of a cache. */
const splitKeys = 64;

/**
 * softmax(scale * q k^T) v of one token over the valid rows of a cache. The work dispatched depends on the capacity alone,
 * so a recorded call follows the length from replay to replay.
 *
 * @param q [heads * headSize] or [1, heads * headSize].
 * @param cacheKeys [capacity, keyHeads * headSize].
 * @param cacheValues [capacity, keyHeads * headSize].
 * @param length u32 [1]: valid rows, the current token's included. None gives zeros, more than the capacity counts as the
 *   capacity.
 * @param options.scale Factor of q . k. Default 1 / sqrt(headSize).
 * @returns [1, heads * headSize].
 * @throws {RangeError} when the shapes do not fit.
 * @throws {TypeError} when differentiated: decoding is for inference, `attention` has gradients.
 */
export function decodeAttention(
  q: Tensor,
  cacheKeys: Tensor,
  cacheValues: Tensor,
  length: Tensor,
  { heads, keyHeads = heads, headSize }: DecodeShape,
  { scale = 1 / Math.sqrt(headSize) }: { readonly scale?: number } = {},
): Tensor {
  const [capacity = 0, stride = 0] = cacheKeys.shape;
  if (
    !(headSize >= 1 && headSize <= 256) || heads % keyHeads !== 0 || q.size !== heads * headSize ||
    stride !== keyHeads * headSize || cacheKeys.shape.length !== 2 ||
    shapeText(cacheKeys.shape) !== shapeText(cacheValues.shape) || length.size !== 1 ||
    length.dtype === "f32" ||
    [q, cacheKeys, cacheValues].some(({ dtype }) => dtype !== "f32")
  ) {
    throw new RangeError(
      `Cannot attend from ${shapeText(q.shape)} to caches ${shapeText(cacheKeys.shape)} and ${
        shapeText(cacheValues.shape)
      } of ${length.dtype} length ${
        shapeText(length.shape)
      }: expected ${heads} heads of ${headSize}, caches [capacity, ${
        keyHeads * headSize
      }] and one u32`,
    );
  }
  if (isDifferentiated(q, cacheKeys, cacheValues)) {
    throw new TypeError(
      "Cannot differentiate decodeAttention; attend to all tokens at once instead",
    );
  }
  const { device } = q;
  const lanes = broadcastLanes(device);
  const splits = Math.ceil(capacity / splitKeys);
  const output = empty(device, [1, heads * headSize], "f32", "attention");
  const results = empty(device, [heads, Math.max(1, splits), headSize + 2], "f32", "splits");
  // Up to eight parts of the heads, for as many threads of a software adapter.
  const together = heads / ([8, 4, 2].find((parts) => heads % parts === 0) ?? 1);
  const values = rowSpans(cacheValues);
  rowSpans(cacheKeys).forEach(({ firstRow, rows, range }, index) => {
    device.dispatch(
      lanes > 0 ? decodeLanes(headSize, splitKeys, lanes) : decodeGroup(headSize, splitKeys),
      {
        query: q.range,
        key: range,
        value: values[index]!.range,
        valid: length.range,
        results: results.range,
      },
      { heads, group: heads / keyHeads, stride, capacity, firstRow, rows, together, splits, scale },
      [heads * Math.ceil(rows / splitKeys)],
      { flops: 4 * heads * rows * headSize, bytes: 8 * rows * stride },
    );
  });
  device.dispatch(
    decodeMerge(headSize, splitKeys),
    { results: results.range, valid: length.range, output: output.range },
    { heads, splits, capacity },
    [Math.ceil(output.size / mergeWidth(headSize) / 64)],
    { flops: 4 * results.size, bytes: 4 * (results.size + output.size) },
  );
  results.dispose();
  return output;
}
