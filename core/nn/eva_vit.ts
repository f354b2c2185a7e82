/**
 * EVA's vision transformer as BLIP-2 and MiniGPT-v2 use it (ViT-G of EVA-CLIP): pre-norm blocks, biases on queries and values
 * only, exact GELU, learned positions that are stretched to the picture's grid, no final norm. Tensor names of the published
 * `eva_vit_g.pth`; official code `minigpt4/models/eva_vit.py`.
 *
 * @module
 */
import type { FloatDType } from "../checkpoint/mod.ts";
import { attention } from "../tensor/attention.ts";
import { patchEmbed } from "../tensor/conv.ts";
import { add } from "../tensor/elementwise.ts";
import { broadcastRows, concat, fill, permute, slice } from "../tensor/movement.ts";
import { resizeBicubic } from "../tensor/resample.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { normedMlp } from "./clip_block.ts";
import type { Initialiser } from "./initialise.ts";
import { linearLayer, normLayer, projection } from "./layers.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { specMaker } from "./specs.ts";
import { type Trace, traceAt } from "./trace.ts";

/** Sizes of an EVA tower. */
export interface EvaVitConfig {
  /** Width of the hidden states; a multiple of `heads`. */
  readonly hiddenSize: number;
  /** Width inside the MLP of a block. */
  readonly intermediateSize: number;
  /** Transformer blocks. */
  readonly layers: number;
  /** Attention heads per block. */
  readonly heads: number;
  /** Side of the square input in pixels. */
  readonly imageSize: number;
  /** Side of a patch in pixels. */
  readonly patchSize: number;
  /** Patches per side for which the file holds positions; they are stretched to the input's own grid. */
  readonly storedGrid: number;
  /** LayerNorm epsilon inside the blocks. */
  readonly epsilon: number;
}

/** Patches per side. */
export function evaGrid({ imageSize, patchSize }: EvaVitConfig): number {
  return Math.floor(imageSize / patchSize);
}

/**
 * The tower's tensors, each name starting with `prefix`. What is added to the residual stream starts the smaller, the deeper the
 * block (`fix_init_weight` of the official code).
 */
export function evaVitParameters(
  config: EvaVitConfig,
  prefix: string,
  stored: FloatDType,
): ParameterSpec[] {
  const { hiddenSize: width, intermediateSize: inner, patchSize, storedGrid } = config;
  const { tensor, matrix, linear, conv, norm } = specMaker(prefix, stored);
  const zeros: Initialiser = { kind: "zeros" };
  const blocks = Array.from({ length: config.layers }, (_, n) => {
    const block = `blocks.${n}`;
    const out: Initialiser = { kind: "normal", std: 0.02 / Math.sqrt(2 * (n + 1)) };
    return [
      ...norm(`${block}.norm1`, width),
      tensor(`${block}.attn.q_bias`, [width], zeros),
      tensor(`${block}.attn.v_bias`, [width], zeros),
      matrix(`${block}.attn.qkv`, 3 * width, width),
      ...linear(`${block}.attn.proj`, width, width, out),
      ...norm(`${block}.norm2`, width),
      ...linear(`${block}.mlp.fc1`, inner, width),
      ...linear(`${block}.mlp.fc2`, width, inner, out),
    ];
  });
  return [
    tensor("cls_token", [1, 1, width]),
    tensor("pos_embed", [1, 1 + storedGrid ** 2, width]),
    ...conv("patch_embed.proj", [width, 3, patchSize, patchSize], width),
    ...blocks.flat(),
  ];
}

/**
 * Positions for the input's grid: that of the class token as it is, the others resized bicubically (a = -0.75, pixel areas
 * aligned) where the file holds another grid (`interpolate_pos_embed`).
 *
 * @returns [1 + patches, hiddenSize].
 */
export function evaPositions(p: ParameterScope, config: EvaVitConfig): Tensor {
  const { hiddenSize: width, storedGrid: from } = config;
  const positions = p.tensor("pos_embed").reshape(1 + from ** 2, width);
  const to = evaGrid(config);
  if (to === from) return positions;
  using scope = positions.device.scope();
  const raster = slice(positions, 0, 1, from ** 2).reshape(1, from, from, width);
  const resized = resizeBicubic(permute(raster, [0, 3, 1, 2]), to, to);
  const rows = permute(resized, [0, 2, 3, 1]).reshape(to ** 2, width);
  return scope.keep(concat([slice(positions, 0, 0, 1), rows], 0));
}

/** x + proj(attention(norm1(x))) of one block; all tokens see each other. */
function attend(
  p: ParameterScope,
  x: Tensor,
  batch: number,
  { hiddenSize: width, heads, epsilon }: EvaVitConfig,
  trace?: Trace,
): Tensor {
  using scope = x.device.scope();
  const tokens = x.shape[0]! / batch;
  const normed = normLayer(p, "norm1", x, epsilon);
  trace?.("norm1", normed);
  const inner = p.at("attn.");
  // Keys have no bias: it would add the same to all scores of a query.
  const bias = concat(
    [inner.tensor("q_bias"), fill(x.device, [width], 0), inner.tensor("v_bias")],
    0,
  );
  const qkv = projection(inner, "qkv", normed, { bias });
  const part = (index: number) => ({ tensor: qkv, offset: index * width, stride: 3 * width });
  const mixed = attention(
    part(0),
    part(1),
    part(2),
    { batch, queries: tokens, keys: tokens, heads, headSize: width / heads },
  ).reshape(batch * tokens, width);
  if (trace !== undefined) trace("attn", linearLayer(inner, "proj", mixed));
  return scope.keep(linearLayer(inner, "proj", mixed, { residual: x }));
}

function block(
  p: ParameterScope,
  x: Tensor,
  batch: number,
  config: EvaVitConfig,
  trace?: Trace,
): Tensor {
  using scope = x.device.scope();
  const attended = attend(p, x, batch, config, trace);
  const normed = normLayer(p, "norm2", attended, config.epsilon);
  if (trace !== undefined) {
    trace("norm2", normed);
    const inner = linearLayer(p, "mlp.fc1", normed);
    trace("mlp.fc1", inner);
    trace(
      "mlp",
      linearLayer(p, "mlp.fc2", linearLayer(p, "mlp.fc1", normed, { activation: "gelu" })),
    );
  }
  return scope.keep(normedMlp(p, normed, attended, "gelu"));
}

/**
 * Runs the tower.
 *
 * @param p Parameters below the prefix.
 * @param pixels Normalised images [B, 3, S, S].
 * @param trace Gets `patch_embed`, `pos_embed_interpolated`, `embeddings`, `block.N` and, inside of each block, `block.N.norm1`,
 * `.attn`, `.norm2`, `.mlp.fc1` (before GELU) and `.mlp`.
 * @returns Hidden states with the class token first, [B, 1 + patches, hiddenSize]; no final norm.
 */
export function evaVit(
  p: ParameterScope,
  pixels: Tensor,
  config: EvaVitConfig,
  trace?: Trace,
): Tensor {
  using scope = pixels.device.scope();
  const batch = pixels.shape[0]!, width = config.hiddenSize;
  const patches = patchEmbed(
    pixels,
    p.tensor("patch_embed.proj.weight").reshape(width, -1),
    p.tensor("patch_embed.proj.bias"),
    config.patchSize,
  );
  trace?.("patch_embed", patches);
  const positions = evaPositions(p, config);
  trace?.("pos_embed_interpolated", positions);
  const first = broadcastRows(p.tensor("cls_token").reshape(width), batch).reshape(batch, 1, width);
  const tokens = concat([first, patches], 1);
  const count = tokens.shape[1]!;
  let x = add(tokens, positions).reshape(batch * count, width);
  trace?.("embeddings", x);
  for (let n = 0; n < config.layers; n++) {
    const next = block(p.at(`blocks.${n}.`), x, batch, config, traceAt(trace, `block.${n}.`));
    x.dispose();
    x = next;
    trace?.(`block.${n}`, x);
  }
  return scope.keep(x).reshape(batch, count, width);
}
