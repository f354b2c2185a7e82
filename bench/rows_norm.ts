/**
 * Normalisation of rows.
 *
 * @module
 */
import type { Device } from "../core/device/mod.ts";
import { layerNorm, tensor } from "../core/tensor/mod.ts";
import type { OnnxValue } from "./onnx_model.ts";
import type { PeerSpec } from "./peer.ts";
import { uniforms } from "./random.ts";
import type { KernelRow } from "./row.ts";

const epsilon = 1e-5;

/** Layer normalisation with weight and bias. */
export function layerNormRow(rows: number, columns: number): KernelRow {
  return {
    name: `layer norm ${rows}x${columns}`,
    bytes: 8 * rows * columns,
    prepare(device: Device) {
      const x = uniforms(rows * columns, 1);
      const scale = uniforms(columns, 2), bias = uniforms(columns, 3);
      const input = tensor(device, x, [rows, columns]);
      const held = [tensor(device, scale), tensor(device, bias)] as const;
      const value = (name: string, shape: readonly number[]): OnnxValue => ({
        name,
        type: "float32",
        shape,
      });
      const peer: PeerSpec = {
        graph: {
          inputs: [value("x", [rows, columns])],
          outputs: [value("y", [rows, columns])],
          constants: [
            { ...value("scale", [columns]), data: scale },
            { ...value("bias", [columns]), data: bias },
          ],
          nodes: [{
            operator: "LayerNormalization",
            inputs: ["x", "scale", "bias"],
            outputs: ["y"],
            attributes: { axis: -1, epsilon: { float: epsilon } },
          }],
        },
        feeds: { x },
        note: "LayerNormalization",
      };
      return {
        ours: () => layerNorm(input, held[0], held[1], epsilon),
        peers: { webgpu: peer, wasm: peer },
        rows,
        reference: (row) => {
          const values = Float64Array.from(x.subarray(row * columns, (row + 1) * columns));
          const mean = values.reduce((a, b) => a + b) / columns;
          const variance = values.reduce((sum, item) => sum + (item - mean) ** 2, 0) / columns;
          return values.map((item, c) =>
            (item - mean) / Math.sqrt(variance + epsilon) * scale[c]! + bias[c]!
          );
        },
        tolerance: 1e-4,
        peerTolerance: 1e-4,
        [Symbol.dispose]: () => [input, ...held].forEach((tensor) => tensor.dispose()),
      };
    },
  };
}
