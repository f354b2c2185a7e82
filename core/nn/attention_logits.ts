/**
 * What queries of a decoder's layer ask of its keys, for losses on attention itself.
 *
 * @module
 */
import { gatherRows, rowIndex } from "../tensor/gather.ts";
import { matmul } from "../tensor/matmul.ts";
import { slice } from "../tensor/movement.ts";
import { rmsNorm } from "../tensor/norm.ts";
import { rope } from "../tensor/rope.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { projection } from "./layers.ts";
import { type LlamaConfig, llamaHeadSize } from "./llama.ts";
import type { ParameterScope } from "./parameters.ts";

/**
 * Logits of attention before the causal mask, of every head for queries of its own; as the layer itself computes them.
 *
 * @param layer Parameters below `model.layers.N.`; as many heads of keys as of queries.
 * @param states What goes into the layer [rows, H].
 * @param positions Of the rows.
 * @param queries Rows whose queries are meant, by head; a head with none is left out.
 * @returns By head [queries, rows]; undefined for a head without queries.
 */
export function attentionLogits(
  layer: ParameterScope,
  states: Tensor,
  config: LlamaConfig,
  positions: Uint32Array<ArrayBuffer>,
  queries: readonly Int32Array<ArrayBuffer>[],
): (Tensor | undefined)[] {
  const { device } = states, headSize = llamaHeadSize(config);
  const normed = rmsNorm(states, layer.tensor("input_layernorm.weight"), config.epsilon);
  const rotated = (name: string, x: Tensor, at: Uint32Array<ArrayBuffer>) =>
    rope(projection(layer.at("self_attn."), name, x), tensor(device, at), {
      headSize,
      theta: config.theta,
    });
  const keys = rotated("k_proj", normed, positions);
  return queries.map((rows, head) => {
    if (rows.length === 0) return undefined;
    const at = Uint32Array.from(rows, (row) => positions[row]!);
    const asking = rotated("q_proj", gatherRows(normed, rowIndex(device, rows)), at);
    const [q, k] = [asking, keys].map((x) => slice(x, 1, head * headSize, headSize));
    return matmul(q!, k!, { transposeB: true, scale: 1 / Math.sqrt(headSize) });
  });
}
