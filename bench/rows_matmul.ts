/**
 * Matrix products: f32 by f32, and one token by a weight matrix in every storage type.
 *
 * @module
 */
import type { Device } from "../core/device/mod.ts";
import { linear, tensor, weight, weightBytes, type WeightDType } from "../core/tensor/mod.ts";
import type { OnnxConstant, OnnxGraph, OnnxType } from "./onnx_model.ts";
import type { PeerSpec } from "./peer.ts";
import { uniforms } from "./random.ts";
import type { KernelRow } from "./row.ts";

/** Columns per scale in the quantised types, ours and the peer's. */
const block = 32;

/** y = x w with w [K, N] as a constant of the graph, which the provider may repack. */
function matmulGraph(
  [m, k, n]: readonly [number, number, number],
  type: OnnxType,
  data: ArrayBufferView,
): OnnxGraph {
  return {
    inputs: [{ name: "x", type, shape: [m, k] }],
    outputs: [{ name: "y", type, shape: [m, n] }],
    constants: [{ name: "w", type, shape: [k, n], data }],
    nodes: [{ operator: "MatMul", inputs: ["x", "w"], outputs: ["y"] }],
  };
}

/** [N, K] as [K, N]. */
function transposed(values: Float32Array, n: number, k: number): Float32Array<ArrayBuffer> {
  const turned = new Float32Array(values.length);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < k; j++) turned[j * n + i] = values[i * k + j]!;
  }
  return turned;
}

/** Row `row` of x w^T in double precision. */
function productRow(x: Float32Array, w: Float32Array, k: number, row: number): Float64Array {
  return Float64Array.from({ length: w.length / k }, (_, i) => {
    let sum = 0;
    for (let j = 0, a = row * k, b = i * k; j < k; j++) sum += x[a++]! * w[b++]!;
    return sum;
  });
}

/** f32 [M, K] times f32 [K, N]. */
export function matmulRow(m: number, k: number, n: number): KernelRow {
  return {
    name: `matmul f32 ${m}x${k}x${n}`,
    flops: 2 * m * k * n,
    prepare(device: Device) {
      const x = uniforms(m * k, 1), w = uniforms(n * k, 2);
      const left = tensor(device, x, [m, k]);
      const right = weight(device, w, n, k, "f32");
      const peer: PeerSpec = {
        graph: matmulGraph([m, k, n], "float32", transposed(w, n, k)),
        feeds: { x },
        note: "MatMul",
      };
      return {
        ours: () => linear(left, right),
        peers: { webgpu: peer, wasm: peer },
        rows: m,
        reference: (row) => productRow(x, w, k, row),
        tolerance: 1e-4,
        peerTolerance: 1e-4,
        [Symbol.dispose]: () => {
          left.dispose();
          right.dispose();
        },
      };
    },
  };
}

interface Quantised {
  readonly values: Float32Array<ArrayBuffer>;
  readonly packed: Uint8Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
}

/**
 * Values that both formats hold exactly: a power-of-two scale per block times integers, the extreme one present in every
 * block so that a quantiser finds the same scale.
 */
function quantised(n: number, k: number, bits: 4 | 8): Quantised {
  const blocks = k / block;
  const middle = 2 ** (bits - 1);
  const values = uniforms(n * k, 2);
  const packed = new Uint8Array(n * k * bits / 8);
  const scales = Float32Array.from(
    { length: n * blocks },
    (_, i) => 2 ** -((i % 3) + bits - 1),
  );
  for (let b = 0; b < n * blocks; b++) {
    const scale = scales[b]!;
    for (let i = 0; i < block; i++) {
      const at = b * block + i;
      // ggml's rule maps the value of largest magnitude to -8; 8 bits are symmetric.
      const largest = bits === 4 ? -8 : 127;
      const q = i === b % block ? largest : Math.round(values[at]! * (middle - 1));
      values[at] = q * scale;
      if (bits === 8) packed[at] = q + middle;
      else packed[at >> 1]! |= (q + middle) << 4 * (at & 1);
    }
  }
  return { values, packed, scales };
}

function nbitsGraph(n: number, k: number, bits: number, { packed, scales }: Quantised): OnnxGraph {
  const blocks = k / block;
  const constants: OnnxConstant[] = [
    { name: "w", type: "uint8", shape: [n, blocks, block * bits / 8], data: packed },
    { name: "scales", type: "float32", shape: [n * blocks], data: scales },
  ];
  return {
    inputs: [{ name: "x", type: "float32", shape: [1, k] }],
    outputs: [{ name: "y", type: "float32", shape: [1, n] }],
    constants,
    nodes: [{
      operator: "MatMulNBits",
      domain: "com.microsoft",
      inputs: ["x", "w", "scales"],
      outputs: ["y"],
      attributes: { K: k, N: n, bits, block_size: block },
    }],
  };
}

/** One token times a weight [N, K]; K is a multiple of 32. */
export function vectorRow(k: number, n: number, dtype: WeightDType): KernelRow {
  return {
    name: `matvec ${dtype} ${k}x${n}`,
    bytes: weightBytes(n, k, dtype),
    prepare(device: Device) {
      const x = uniforms(k, 1);
      const narrow = dtype === "q4" || dtype === "q8"
        ? quantised(n, k, dtype === "q4" ? 4 : 8)
        : undefined;
      const w = narrow?.values ?? uniforms(n * k, 2);
      if (dtype === "f16") w.set(new Float16Array(w));
      const left = tensor(device, x, [1, k]);
      const right = weight(device, w, n, k, dtype);
      const turned = transposed(w, n, k);
      const plain: PeerSpec = {
        graph: matmulGraph([1, k, n], "float32", turned),
        feeds: { x },
        note: dtype === "f32" ? "MatMul" : "MatMul of the weight widened to f32",
      };
      const webgpu: PeerSpec = narrow !== undefined
        ? {
          graph: nbitsGraph(n, k, dtype === "q4" ? 4 : 8, narrow),
          feeds: { x },
          note: `MatMulNBits, ${dtype === "q4" ? 4 : 8} bits, blocks of ${block}, f32 scales`,
        }
        : dtype === "f16"
        ? {
          graph: matmulGraph([1, k, n], "float16", new Float16Array(turned)),
          feeds: { x },
          note: "MatMul of float16 tensors, summed in float16",
        }
        : plain;
      return {
        ours: () => linear(left, right),
        peers: { webgpu, wasm: plain },
        rows: 1,
        reference: (row) => productRow(x, w, k, row),
        tolerance: 1e-4,
        // The peer sums float16 products in float16.
        peerTolerance: dtype === "f16" ? 0.2 : 1e-4,
        [Symbol.dispose]: () => {
          left.dispose();
          right.dispose();
        },
      };
    },
  };
}
