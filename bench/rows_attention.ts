/**
 * Attention: a whole sequence over itself, and one token over a cache.
 *
 * @module
 */
import type { Device } from "../core/device/mod.ts";
import { appendRows, attention, decodeAttention, tensor } from "../core/tensor/mod.ts";
import type { OnnxGraph, OnnxNode, OnnxValue } from "./onnx_model.ts";
import type { PeerSpec } from "./peer.ts";
import { uniforms } from "./random.ts";
import type { KernelRow } from "./row.ts";

const float = (name: string, shape: readonly number[]): OnnxValue => ({
  name,
  type: "float32",
  shape,
});

/** Multi-head attention over separate tokens, [1, tokens, heads * size] each. */
function multiHead(
  inputs: readonly OnnxValue[],
  output: OnnxValue,
  heads: number,
  causal: boolean,
): OnnxGraph {
  const node: OnnxNode = {
    operator: "MultiHeadAttention",
    domain: "com.microsoft",
    inputs: inputs.map(({ name }) => name),
    outputs: [output.name],
    attributes: { num_heads: heads, ...(causal ? { unidirectional: 1 } : {}) },
  };
  return { inputs, outputs: [output], nodes: [node] };
}

/**
 * Causal attention of `tokens` over a cache of `capacity` that ends with them, the operator that decoders exported for
 * this runtime use. Without a past the cache is an output only.
 */
function groupQuery(
  { heads, tokens, capacity, size }: {
    heads: number;
    tokens: number;
    capacity: number;
    size: number;
  },
): OnnxGraph {
  const past = capacity > tokens;
  const cache = [1, heads, capacity, size];
  const rows = [1, tokens, heads * size];
  return {
    inputs: [
      float("q", rows),
      float("k", rows),
      float("v", rows),
      ...(past ? [float("pastKeys", cache), float("pastValues", cache)] : []),
    ],
    outputs: [float("y", rows), float("keys", cache), float("values", cache)],
    constants: [
      { name: "last", type: "int32", shape: [1], data: Int32Array.of(capacity - 1) },
      { name: "total", type: "int32", shape: [], data: Int32Array.of(capacity) },
    ],
    nodes: [{
      operator: "GroupQueryAttention",
      domain: "com.microsoft",
      inputs: [
        "q",
        "k",
        "v",
        past ? "pastKeys" : "",
        past ? "pastValues" : "",
        "last",
        "total",
      ],
      outputs: ["y", "keys", "values"],
      attributes: { num_heads: heads, kv_num_heads: heads },
    }],
  };
}

/** softmax(q k^T / sqrt(size)) v of one query over the first `seen` tokens, in double precision. */
function attentionRow(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  { heads, size, query, seen }: { heads: number; size: number; query: number; seen: number },
): Float64Array {
  const width = heads * size;
  const output = new Float64Array(width);
  for (let h = 0; h < heads; h++) {
    const scores = Float64Array.from({ length: seen }, (_, j) => {
      let dot = 0;
      for (let d = h * size; d < (h + 1) * size; d++) {
        dot += q[query * width + d]! * k[j * width + d]!;
      }
      return dot / Math.sqrt(size);
    });
    const highest = scores.reduce((a, b) => Math.max(a, b));
    const weights = scores.map((score) => Math.exp(score - highest));
    const total = weights.reduce((a, b) => a + b);
    for (let j = 0; j < seen; j++) {
      const share = weights[j]! / total;
      for (let d = h * size; d < (h + 1) * size; d++) output[d]! += share * v[j * width + d]!;
    }
  }
  return output;
}

/** A sequence over itself; half of the products are counted where it is causal. */
export function sequenceRow(
  tokens: number,
  heads: number,
  size: number,
  causal: boolean,
): KernelRow {
  const width = heads * size;
  return {
    name: `attention${causal ? " causal" : ""} ${tokens} tokens, ${heads} heads of ${size}`,
    flops: 4 * heads * size * (causal ? tokens * (tokens + 1) / 2 : tokens * tokens),
    prepare(device: Device) {
      const [q, k, v] = [1, 2, 3].map((seed) => uniforms(tokens * width, seed)) as [
        Float32Array<ArrayBuffer>,
        Float32Array<ArrayBuffer>,
        Float32Array<ArrayBuffer>,
      ];
      const views = [q, k, v].map((values) => ({
        tensor: tensor(device, values, [tokens, width]),
      }));
      const feeds = { q, k, v };
      const shape = [1, tokens, width];
      const plain: PeerSpec = {
        graph: multiHead(
          [float("q", shape), float("k", shape), float("v", shape)],
          float("y", shape),
          heads,
          causal,
        ),
        feeds,
        note: "MultiHeadAttention",
      };
      const webgpu: PeerSpec = causal
        ? {
          graph: groupQuery({ heads, tokens, capacity: tokens, size }),
          feeds,
          note: "GroupQueryAttention",
        }
        : plain;
      return {
        ours: () =>
          attention(
            views[0]!,
            views[1]!,
            views[2]!,
            { batch: 1, queries: tokens, keys: tokens, heads, headSize: size },
            { causal },
          ),
        peers: { webgpu, wasm: plain },
        rows: tokens,
        reference: (row) =>
          attentionRow(q, k, v, { heads, size, query: row, seen: causal ? row + 1 : tokens }),
        tolerance: 1e-4,
        peerTolerance: 1e-4,
        [Symbol.dispose]: () => views.forEach((view) => view.tensor.dispose()),
      };
    },
  };
}

/** [tokens, heads * size] as [heads, tokens, size]. */
function byHead(values: Float32Array, tokens: number, heads: number, size: number) {
  const turned = new Float32Array(values.length);
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      const from = (t * heads + h) * size;
      turned.set(values.subarray(from, from + size), (h * tokens + t) * size);
    }
  }
  return turned;
}

/** One token: appended to a cache that it fills, then attended from. */
export function decodeRow(keys: number, heads: number, size: number): KernelRow {
  const width = heads * size;
  return {
    name: `decode attention ${keys} keys, ${heads} heads of ${size}`,
    bytes: 8 * keys * width,
    prepare(device: Device) {
      const q = uniforms(width, 1), k = uniforms(keys * width, 2), v = uniforms(keys * width, 3);
      const last = (values: Float32Array<ArrayBuffer>) => values.slice((keys - 1) * width);
      const query = tensor(device, q, [1, width]);
      const caches = [k, v].map((values) => tensor(device, values, [keys, width]));
      const tokens = [k, v].map((values) => tensor(device, last(values), [1, width]));
      const start = tensor(device, Uint32Array.of(keys - 1));
      const length = tensor(device, Uint32Array.of(keys));
      const pastKeys = byHead(k, keys, heads, size), pastValues = byHead(v, keys, heads, size);
      const cache = [1, heads, keys, size], one = [1, 1, width];
      return {
        ours: () => {
          caches.forEach((target, i) => appendRows(target, tokens[i]!, start));
          return decodeAttention(query, caches[0]!, caches[1]!, length, { heads, headSize: size });
        },
        peers: {
          webgpu: {
            graph: groupQuery({ heads, tokens: 1, capacity: keys, size }),
            feeds: { q, k: last(k), v: last(v), pastKeys, pastValues },
            aliases: { keys: "pastKeys", values: "pastValues" },
            note: "GroupQueryAttention, cache in place",
          },
          wasm: {
            graph: multiHead(
              [float("q", one), float("pastKeys", cache), float("pastValues", cache)],
              float("y", one),
              heads,
              false,
            ),
            feeds: { q, pastKeys, pastValues },
            note: "MultiHeadAttention, nothing appended",
          },
        },
        rows: 1,
        reference: () => attentionRow(q, k, v, { heads, size, query: 0, seen: keys }),
        tolerance: 1e-4,
        peerTolerance: 1e-4,
        [Symbol.dispose]: () =>
          [query, start, length, ...caches, ...tokens].forEach((held) => held.dispose()),
      };
    },
  };
}
