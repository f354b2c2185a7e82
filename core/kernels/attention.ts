/**
 * Scaled dot-product attention, what all its kernels share: the interface, the masks and the typed-array twin.
 *
 * For one batch item, head and query i over keys j (Vaswani et al. 2017, section 3.2.1):
 *
 *     s[j] = scale * q[i] . k[j] + relative[i, j],   o[i] = sum_j softmax(s)[j] * v[j]
 *
 * computed with a running maximum and sum (Milakov and Gimelshein 2018; Dao et al. 2022), so that no row of
 * probabilities is ever stored. Key j is visible to query i when j < length (right padding) and, for causal attention,
 * j <= i + keys - queries. A query without visible keys gives zeros.
 *
 * FLOPs: 2 queries keys (headSize + valueSize) per head. Traffic: q, k, v and o once each, k and v again for every tile
 * of queries. Two variants: `attention_lanes.ts` for adapters that run on the CPU, `attention_tiles.ts` for GPUs.
 *
 * @module
 */
import type { ArraySpec, Program, Scalar } from "../device/mod.ts";

/** What is baked into an attention kernel. */
export interface AttentionConstants {
  /** Elements per head of queries and keys. */
  readonly headSize: number;
  /** Elements per head of values and output. */
  readonly valueSize: number;
  /** Hide the keys after each query. */
  readonly causal: boolean;
  /** Hide the keys from `lengths[batch]` on. */
  readonly padded: boolean;
  /** Add the two tables of relative positions. */
  readonly relative: boolean;
  /** Also write log2 of the sum of exp(s) of every query, from which the way back recomputes the probabilities. */
  readonly logSums: boolean;
}

/** Name of a variant with its constants, for program keys. */
export function attentionKey(
  variant: string,
  { headSize, valueSize, causal, padded, relative, logSums }: AttentionConstants,
): string {
  const flags = [
    causal && "causal",
    padded && "padded",
    relative && "relative",
    logSums && "log sums",
  ].filter(Boolean);
  return ["attention", variant, `${headSize}x${valueSize}`, ...flags].join(" ");
}

/** Parameters of every attention kernel. Offsets and strides count elements. */
export const attentionParameters = {
  batch: "u32",
  queries: "u32",
  keys: "u32",
  heads: "u32",
  /** Query heads per key head. */
  group: "u32",
  queryOffset: "u32",
  queryStride: "u32",
  keyOffset: "u32",
  keyStride: "u32",
  valueOffset: "u32",
  valueStride: "u32",
  gridHeight: "u32",
  gridWidth: "u32",
  /** keys - queries: how far the last query looks beyond its own index. */
  shift: "i32",
  scale: "f32",
} as const satisfies Record<string, Scalar>;

/** The first score of a running maximum: below every real score, and far from overflowing when subtracted. */
export const lowest = "-1e30";

/** log2(e): scores are kept in powers of two, whose exponential is the cheaper one. */
export const log2e = 1.4426950408889634;

/** 0, 1, … count - 1, for generated source. */
export function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** How generated source gets at the elements of a row that it has loaded. */
export interface LoadedRow {
  /** Source that loads the row. */
  readonly lines: readonly string[];
  /** Expression of one element. */
  element(index: number): string;
}

/**
 * Source that loads `size` elements of an array from element `base` on.
 *
 * @param lanes 0: every lane loads its own row, or the same one. Otherwise the row is the same for all lanes of a
 *   workgroup, which is one subgroup of that size: they load different elements and broadcast them.
 * @param vectors The array holds vectors of four; `base` and `size` are multiples of 4.
 */
export function rowLoader(
  lanes: number,
  vectors: boolean,
): (array: string, name: string, base: string, size: number) => LoadedRow {
  const width = vectors ? 4 : 1;
  return (array, name, base, size) => {
    const start = vectors ? `(${base}) / 4u` : base;
    const units = Math.ceil(size / width);
    const part = (d: number) => vectors ? `.${"xyzw"[d % 4]}` : "";
    if (lanes === 0) {
      return {
        lines: numbers(units).map((unit) => `let ${name}_${unit} = ${array}[${start} + ${unit}u];`),
        element: (d) => `${name}_${Math.floor(d / width)}${part(d)}`,
      };
    }
    return {
      lines: numbers(Math.ceil(units / lanes)).map((chunk) => {
        const index = `${chunk * lanes}u + lane`;
        const inside = (chunk + 1) * lanes <= units ? index : `min(${index}, ${units - 1}u)`;
        return `let ${name}_${chunk} = ${array}[${start} + ${inside}];`;
      }),
      element: (d) => {
        const unit = Math.floor(d / width);
        return `subgroupBroadcast(${name}_${Math.floor(unit / lanes)}${part(d)}, ${unit % lanes}u)`;
      },
    };
  };
}

/**
 * Arrays of every attention kernel; `lengths` and `relative` are read only where the constants say so.
 *
 * @param vectors The operands are read as vectors of four.
 */
export function attentionArrays(
  { logSums }: AttentionConstants,
  vectors: boolean,
): Record<string, ArraySpec> {
  const type = vectors ? "vec4<f32>" : "f32";
  return {
    query: { type, access: "read" },
    key: { type, access: "read" },
    value: { type, access: "read" },
    lengths: { type: "u32", access: "read" },
    relative: { type: "f32", access: "read" },
    output: { type, access: "read_write" },
    // [batch, heads, queries]; 0 for a query that sees no key.
    ...(logSums && { logSums: { type: "f32", access: "read_write" } }),
  };
}

interface Arrays {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly lengths: Uint32Array;
  readonly relative: Float32Array;
  readonly output: Float32Array;
  readonly logSums: Float32Array;
}

/** row . other[at...], in four sums that do not wait for one another. */
export function dotProduct(row: Float64Array, other: Float32Array, at: number): number {
  let a = 0, b = 0, c = 0, d = 0, i = 0;
  for (; i + 3 < row.length; i += 4, at += 4) {
    a += row[i]! * other[at]!;
    b += row[i + 1]! * other[at + 1]!;
    c += row[i + 2]! * other[at + 2]!;
    d += row[i + 3]! * other[at + 3]!;
  }
  for (; i < row.length; i++, at++) a += row[i]! * other[at]!;
  return a + b + (c + d);
}

/** sums += weights[j] * (row j of values), for j < count, four rows at a time. */
export function addRows(
  sums: Float64Array,
  weights: Float64Array,
  count: number,
  values: Float32Array,
  at: number,
  stride: number,
): void {
  let j = 0;
  for (; j + 3 < count; j += 4, at += 4 * stride) {
    const a = weights[j]!, b = weights[j + 1]!, c = weights[j + 2]!, d = weights[j + 3]!;
    for (let i = 0; i < sums.length; i++) {
      sums[i]! += a * values[at + i]! + b * values[at + stride + i]! +
        (c * values[at + 2 * stride + i]! + d * values[at + 3 * stride + i]!);
    }
  }
  for (; j < count; j++, at += stride) {
    for (let i = 0; i < sums.length; i++) sums[i]! += weights[j]! * values[at + i]!;
  }
}

/** The typed-array twin of every variant: one row of scores at a time, sums in double precision. */
export function attentionHost(
  { headSize, valueSize, causal, padded, relative: tables, logSums: saving }: AttentionConstants,
): Program["host"] {
  return (
    { query, key, value, lengths, relative, output, logSums }: Arrays,
    parameters: Record<keyof typeof attentionParameters, number>,
  ) => {
    const { batch, queries, keys, heads, group, gridHeight, gridWidth, shift, scale } = parameters;
    const row = new Float64Array(headSize);
    const sums = new Float64Array(valueSize);
    const scores = new Float64Array(keys);
    const width = gridHeight + gridWidth;
    for (let item = 0; item < batch * heads * queries; item++) {
      const i = item % queries, h = Math.floor(item / queries) % heads;
      const b = Math.floor(item / (queries * heads));
      let end = padded ? Math.min(keys, lengths[b]!) : keys;
      if (causal) end = Math.max(0, Math.min(end, i + shift + 1));
      const start = parameters.queryOffset + (b * queries + i) * parameters.queryStride +
        h * headSize;
      for (let d = 0; d < headSize; d++) row[d] = query[start + d]! * scale;
      const keyHead = Math.floor(h / group);
      let keyRow = parameters.keyOffset + b * keys * parameters.keyStride + keyHead * headSize;
      let highest = -Infinity;
      for (let j = 0; j < end; j++, keyRow += parameters.keyStride) {
        let score = dotProduct(row, key, keyRow);
        if (tables) {
          score += relative[item * width + Math.floor(j / gridWidth)]! +
            relative[item * width + gridHeight + j % gridWidth]!;
        }
        scores[j] = score;
        if (score > highest) highest = score;
      }
      sums.fill(0);
      let total = 0;
      const valueRow = parameters.valueOffset + b * keys * parameters.valueStride +
        keyHead * valueSize;
      for (let j = 0; j < end; j++) total += scores[j] = Math.exp(scores[j]! - highest);
      if (saving) logSums[item] = total > 0 ? highest * log2e + Math.log2(total) : 0;
      addRows(sums, scores, end, value, valueRow, parameters.valueStride);
      const target = ((b * queries + i) * heads + h) * valueSize;
      for (let d = 0; d < valueSize; d++) output[target + d] = total > 0 ? sums[d]! / total : 0;
    }
  };
}
