/**
 * Attention of several continuations of the same beginnings, each of which is computed once: many short questions about one
 * picture cost little more than the picture.
 *
 * @module
 */
import type { Device } from "../device/mod.ts";
import { attention, type AttentionShape } from "../tensor/attention.ts";
import { gatherRows, rowIndex } from "../tensor/gather.ts";
import { concat } from "../tensor/movement.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { SharedLayout } from "./shared_layout.ts";

/** Beginnings of equal length, whose rows come before those of all continuations. */
export interface SharedPrefixes {
  /** How many, at least 1. */
  readonly count: number;
  /** Rows of each. */
  readonly rows: number;
  /** Rows that each continuation may see, those of its prefix and then its own, i32 [batch * (rows + T)]. */
  readonly seen: Tensor;
}

/**
 * Prepares the prefixes of a layout for a pass.
 *
 * @param length Rows of each continuation, padding included, T.
 */
export function sharedPrefixes(
  device: Device,
  { count, rows, of }: SharedLayout["prefixes"],
  length: number,
): SharedPrefixes {
  const span = rows + length, first = count * rows;
  const seen = new Int32Array(of.length * span);
  for (let b = 0; b < of.length; b++) {
    for (let i = 0; i < rows; i++) seen[b * span + i] = of[b]! * rows + i;
    for (let i = 0; i < length; i++) seen[b * span + rows + i] = first + b * length + i;
  }
  return { count, rows, seen: rowIndex(device, seen) };
}

/** The position of every row of a batch of `size` samples: those behind a prefix count on from its end. */
export function sharedPositions(
  { count, rows }: Pick<SharedPrefixes, "count" | "rows"> = { count: 0, rows: 0 },
  size: number,
  length: number,
): Uint32Array<ArrayBuffer> {
  const first = count * rows;
  return Uint32Array.from(
    { length: first + size * length },
    (_, i) => i < first ? i % rows : rows + (i - first) % length,
  );
}

/**
 * Causal attention of prefixes and continuations: the same as if every continuation came with a prefix of its own.
 *
 * @param q Rows of all prefixes, then of all continuations [count * rows + batch * T, heads * headSize].
 * @param k The same rows, keyHeads * headSize wide.
 * @param v As `k`.
 * @param keyLengths u32 [batch]: keys in use of each continuation, its prefix included.
 * @returns As `q`.
 */
export function attendShared(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { batch, heads, keyHeads, headSize }:
    & Pick<AttentionShape, "batch" | "heads" | "headSize">
    & Required<Pick<AttentionShape, "keyHeads">>,
  { count, rows, seen }: SharedPrefixes,
  keyLengths: Tensor | undefined,
): Tensor {
  using scope = q.device.scope();
  const [total, width] = q.shape as [number, number];
  const first = count * rows, own = (total - first) / batch;
  const sizes = { heads, keyHeads, headSize };
  const prefixes = attention({ tensor: q }, { tensor: k }, { tensor: v }, {
    batch: count,
    queries: rows,
    keys: rows,
    ...sizes,
  }, { causal: true });
  const both = gatherRows(concat([k, v], 1), seen);
  const continuations = attention(
    { tensor: q, offset: first * width },
    { tensor: both },
    { tensor: both, offset: keyHeads * headSize },
    { batch, queries: own, keys: rows + own, ...sizes },
    { causal: true, ...(keyLengths === undefined ? {} : { keyLengths }) },
  );
  return scope.keep(
    concat([prefixes.reshape(first, width), continuations.reshape(-1, width)], 0),
  );
}
