/**
 * Gradient of scaled dot-product attention, what all its kernels share: the interface, the corrections and the typed-array
 * twins.
 *
 * Nothing of the size of the scores is kept: the way back recomputes them, and the probabilities from the logarithm of every
 * query's sum (Dao et al. 2022, FlashAttention, appendix B.2). With s, p and o as in `attention.ts`, and do the gradient of o:
 *
 *     p[i, j] = exp(s[i, j] - log sum_j exp(s[i, j])),   c[i] = do[i] . o[i],
 *     ds[i, j] = p[i, j] (do[i] . v[j] - c[i]),
 *     dq[i] = scale sum_j ds[i, j] k[j],   dk[j] = scale sum_i ds[i, j] q[i],   dv[j] = sum_i p[i, j] do[i]
 *
 * One kernel owns queries and walks over the keys (side `query`: dq), another owns keys and walks over the queries of all heads
 * that share them (side `key`: dk, dv), so that every sum has one owner and a fixed order. With relative positions the
 * side `query` also sums ds over the columns and over the rows of the raster; `attention_relative_gradient.ts` takes it
 * from there.
 *
 * FLOPs: queries keys (10 headSize + 4 valueSize) per head, against 2 (headSize + valueSize) of the way there. Traffic: each side
 * reads its own rows once and the others once for every tile of its own. Two variants of both sides:
 * `attention_gradient_lanes.ts` for adapters that run on the CPU, `attention_gradient_tiles.ts` for GPUs.
 *
 * @module
 */
import { type ArraySpec, type Program, program, type Scalar } from "../device/mod.ts";
import { addRows, attentionParameters, dotProduct, log2e } from "./attention.ts";

/** Who owns the sums: dq belongs to queries, dk and dv to keys. */
export type GradientSide = "query" | "key";

/** What is baked into a gradient kernel. */
export interface AttentionGradientConstants {
  /** Elements per head of queries and keys. */
  readonly headSize: number;
  /** Elements per head of values and output. */
  readonly valueSize: number;
  /** Keys after each query are hidden. */
  readonly causal: boolean;
  /** Keys from `lengths[batch]` on are hidden. */
  readonly padded: boolean;
  /** Two tables of relative positions were added. */
  readonly relative: boolean;
  /** Side `key`: both gradients lie in one array, as where keys and values are parts of one projection. */
  readonly together: boolean;
  /** Side `key`: add to gradients of other query heads of the same group. */
  readonly adding: boolean;
}

/** Name of a variant with its constants, for program keys. */
export function attentionGradientKey(
  side: GradientSide,
  variant: string,
  { headSize, valueSize, causal, padded, relative, together, adding }: AttentionGradientConstants,
): string {
  const flags = [
    causal && "causal",
    padded && "padded",
    relative && "relative",
    together && "together",
    adding && "adding",
  ].filter(Boolean);
  return ["attention gradient", side, variant, `${headSize}x${valueSize}`, ...flags].join(" ");
}

/**
 * Arrays of every gradient kernel. `statistics` [batch, heads, queries, 2] holds the logarithms of the sums and c.
 * `relativeGradient` has the shape of `relative`, [batch, heads, queries, gridHeight + gridWidth].
 *
 * @param vectors Operands are read and gradients written as vectors of four.
 */
export function attentionGradientArrays(
  side: GradientSide,
  { padded, relative, together }: AttentionGradientConstants,
  vectors: boolean,
): Record<string, ArraySpec> {
  const type = vectors ? "vec4<f32>" : "f32";
  const result: ArraySpec = { type, access: "read_write" };
  return {
    query: { type, access: "read" },
    key: { type, access: "read" },
    value: { type, access: "read" },
    gradient: { type, access: "read" },
    statistics: { type: "vec2<f32>", access: "read" },
    ...(padded && { lengths: { type: "u32", access: "read" } }),
    ...(relative && { relative: { type: "f32", access: "read" } }),
    ...(relative && side === "query" &&
      { relativeGradient: { type: "f32", access: "read_write" } }),
    ...(side === "query"
      ? { queryGradient: result }
      : together
      ? { keyGradient: result }
      : { keyGradient: result, valueGradient: result }),
  };
}

/**
 * Parameters of every gradient kernel. The gradient of q has the offset and stride of q; those of k and v have their strides.
 */
export const attentionGradientParameters = {
  ...attentionParameters,
  keyGradientOffset: "u32",
  valueGradientOffset: "u32",
  /** First query head, within each group, that this dispatch of side `key` sums over. */
  firstMember: "u32",
  /** How many of them. */
  members: "u32",
} as const satisfies Record<string, Scalar>;

/** statistics[b, h, i] = (logSums[b, h, i], gradient[b, i, h] . output[b, i, h]). Dispatch ceil(rows / 64). */
export function attentionStatistics(valueSize: number): Program {
  const width = valueSize % 4 === 0 ? 4 : 1;
  const type = width === 4 ? "vec4<f32>" : "f32";
  return program(`attention statistics ${valueSize}`, () => ({
    arrays: {
      output: { type, access: "read" },
      gradient: { type, access: "read" },
      logSums: { type: "f32", access: "read" },
      statistics: { type: "vec2<f32>", access: "read_write" },
    },
    parameters: { rows: "u32", queries: "u32", heads: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = workgroupIndex(group, groups) * 64u + lane;
  if (row >= params.rows) { return; }
  let start = row * ${valueSize / width}u;
  var sums = ${type}();
  for (var d = 0u; d < ${
      valueSize / width
    }u; d += 1u) { sums += output[start + d] * gradient[start + d]; }
  let token = row / params.heads;
  let to = (token / params.queries * params.heads + row % params.heads) * params.queries + token % params.queries;
  statistics[to] = vec2<f32>(logSums[to], ${width === 4 ? "dot(sums, vec4<f32>(1.0))" : "sums"});
}`,
    host({ output, gradient, logSums, statistics }, { rows, queries, heads }) {
      for (let row = 0; row < rows; row++) {
        let sum = 0;
        for (let at = row * valueSize; at < (row + 1) * valueSize; at++) {
          sum += output[at]! * gradient[at]!;
        }
        const token = Math.floor(row / heads), b = Math.floor(token / queries);
        const to = (b * heads + row % heads) * queries + token % queries;
        statistics[2 * to] = logSums[to]!;
        statistics[2 * to + 1] = sum;
      }
    },
  }));
}

interface Arrays {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly gradient: Float32Array;
  readonly statistics: Float32Array;
  readonly lengths: Uint32Array;
  readonly relative: Float32Array;
  readonly relativeGradient: Float32Array;
  readonly queryGradient: Float32Array;
  readonly keyGradient: Float32Array;
  readonly valueGradient: Float32Array;
}

type Parameters = Record<keyof typeof attentionGradientParameters, number>;

/** A query of a head, and the keys that it sees. */
interface Row {
  readonly b: number;
  readonly h: number;
  /** First elements of its query and of its output's gradient. */
  readonly from: number;
  readonly to: number;
  /** Its place in the tables of relative positions. */
  readonly table: number;
  /** Probabilities and gradients of the scores of the keys before `end`. */
  readonly p: Float64Array;
  readonly ds: Float64Array;
  readonly end: number;
}

/** Recomputes the row of scores of every query of the heads `first` to `last` of each group, in order. */
function eachRow(
  { headSize, valueSize, causal, padded, relative: tables }: AttentionGradientConstants,
  { query, key, value, gradient, statistics, lengths, relative }: Arrays,
  parameters: Parameters,
  [first, last]: readonly [number, number],
  body: (row: Row) => void,
): void {
  const { batch, queries, keys, heads, group, gridHeight, gridWidth, shift, scale } = parameters;
  const q = new Float64Array(headSize), g = new Float64Array(valueSize);
  const p = new Float64Array(keys), ds = new Float64Array(keys);
  for (let item = 0; item < batch * heads * queries; item++) {
    const i = item % queries, h = Math.floor(item / queries) % heads;
    const b = Math.floor(item / (queries * heads)), keyHead = Math.floor(h / group);
    if (h % group < first || h % group >= last) continue;
    let end = padded ? Math.min(keys, lengths[b]!) : keys;
    if (causal) end = Math.max(0, Math.min(end, i + shift + 1));
    const from = parameters.queryOffset + (b * queries + i) * parameters.queryStride + h * headSize;
    const to = ((b * queries + i) * heads + h) * valueSize;
    for (let d = 0; d < headSize; d++) q[d] = scale * query[from + d]!;
    for (let d = 0; d < valueSize; d++) g[d] = gradient[to + d]!;
    const logSum = statistics[2 * item]!, correction = statistics[2 * item + 1]!;
    const table = item * (gridHeight + gridWidth);
    let keyRow = parameters.keyOffset + b * keys * parameters.keyStride + keyHead * headSize;
    let valueRow = parameters.valueOffset + b * keys * parameters.valueStride + keyHead * valueSize;
    for (let j = 0; j < end; j++) {
      let score = dotProduct(q, key, keyRow);
      if (tables) {
        score += relative[table + Math.floor(j / gridWidth)]! +
          relative[table + gridHeight + j % gridWidth]!;
      }
      p[j] = 2 ** Math.min(0, score * log2e - logSum);
      ds[j] = p[j]! * (dotProduct(g, value, valueRow) - correction);
      keyRow += parameters.keyStride;
      valueRow += parameters.valueStride;
    }
    body({ b, h, from, to, table, p, ds, end });
  }
}

function queryHost(constants: AttentionGradientConstants): Program["host"] {
  const { headSize, relative: tables } = constants;
  return (arrays: Arrays, parameters: Parameters) => {
    const { batch, queries, keys, heads, group, gridHeight, gridWidth, scale } = parameters;
    const { key, relativeGradient, queryGradient } = arrays;
    if (tables) relativeGradient.fill(0, 0, batch * heads * queries * (gridHeight + gridWidth));
    const sums = new Float64Array(headSize);
    eachRow(constants, arrays, parameters, [0, group], ({ b, h, from, table, ds, end }) => {
      const keyRow = parameters.keyOffset + b * keys * parameters.keyStride +
        Math.floor(h / group) * headSize;
      sums.fill(0);
      addRows(sums, ds, end, key, keyRow, parameters.keyStride);
      for (let d = 0; d < headSize; d++) queryGradient[from + d] = scale * sums[d]!;
      for (let j = 0; tables && j < end; j++) {
        relativeGradient[table + Math.floor(j / gridWidth)]! += ds[j]!;
        relativeGradient[table + gridHeight + j % gridWidth]! += ds[j]!;
      }
    });
  };
}

function keyHost(constants: AttentionGradientConstants): Program["host"] {
  const { headSize, valueSize, together, adding } = constants;
  return (arrays: Arrays, parameters: Parameters) => {
    const { batch, keys, heads, group, scale, firstMember, members } = parameters;
    const { query, gradient, keyGradient } = arrays;
    const keyHeads = heads / group;
    const dk = new Float64Array(batch * keyHeads * keys * headSize);
    const dv = new Float64Array(batch * keyHeads * keys * valueSize);
    const range = [firstMember, firstMember + members] as const;
    eachRow(constants, arrays, parameters, range, ({ b, h, from, to, p, ds, end }) => {
      const first = (b * keyHeads + Math.floor(h / group)) * keys;
      for (let j = 0; j < end; j++) {
        const k = (first + j) * headSize, v = (first + j) * valueSize;
        const w = p[j]!, s = scale * ds[j]!;
        for (let d = 0; d < headSize; d++) dk[k + d]! += s * query[from + d]!;
        for (let d = 0; d < valueSize; d++) dv[v + d]! += w * gradient[to + d]!;
      }
    });
    const store = (
      sums: Float64Array,
      size: number,
      target: Float32Array,
      offset: number,
      stride: number,
    ) => {
      for (let at = 0; at < sums.length; at++) {
        const d = at % size, row = Math.floor(at / size), j = row % keys;
        const h = Math.floor(row / keys) % keyHeads, b = Math.floor(row / keys / keyHeads);
        const to = offset + (b * keys + j) * stride + h * size + d;
        target[to] = sums[at]! + (adding ? target[to]! : 0);
      }
    };
    const { keyGradientOffset, valueGradientOffset, keyStride, valueStride } = parameters;
    store(dk, headSize, keyGradient, keyGradientOffset, keyStride);
    const valueGradient = together ? keyGradient : arrays.valueGradient;
    store(dv, valueSize, valueGradient, valueGradientOffset, valueStride);
  };
}

/** The typed-array twin of every variant of a side: one row of scores at a time, sums in double precision. */
export function attentionGradientHost(
  side: GradientSide,
  constants: AttentionGradientConstants,
): Program["host"] {
  return side === "query" ? queryHost(constants) : keyHost(constants);
}
