/**
 * CLIP's vision transformer (pre-norm, class token, learned positions), in the tensor names of Hugging Face's
 * `CLIPVisionModel`.
 *
 * @module
 */
import type { Unary } from "../kernels/elementwise.ts";
import { add } from "../tensor/elementwise.ts";
import { attention } from "../tensor/attention.ts";
import { patchEmbed } from "../tensor/conv.ts";
import { broadcastRows, concat } from "../tensor/movement.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { linearLayer, normLayer } from "./layers.ts";
import { specMaker } from "./specs.ts";
import type { Trace } from "./trace.ts";

/** Sizes of a CLIP vision tower. */
export interface ClipVisionConfig {
  /** Width of the hidden states; a multiple of `heads`. */
  readonly hiddenSize: number;
  /** Width inside the MLP of a block. */
  readonly intermediateSize: number;
  /** Transformer blocks. */
  readonly layers: number;
  /** Attention heads per block, each `hiddenSize / heads` wide. */
  readonly heads: number;
  /** Side of the square input in pixels. */
  readonly imageSize: number;
  /** Side of a patch in pixels. */
  readonly patchSize: number;
  /** Between the two layers of the MLP; OpenAI's towers use `quickGelu`. */
  readonly activation: Unary;
  /** LayerNorm epsilon. */
  readonly epsilon: number;
}

/** Patches per side. */
export function clipGrid({ imageSize, patchSize }: ClipVisionConfig): number {
  return Math.floor(imageSize / patchSize);
}

/** The tower's tensors, each name starting with `prefix` (which ends in `vision_model.`). */
export function clipVisionParameters(
  config: ClipVisionConfig,
  prefix: string,
  stored: "F32" | "BF16",
): ParameterSpec[] {
  const { hiddenSize: width, intermediateSize: inner, patchSize } = config;
  const { tensor, linear: linearPair, norm } = specMaker(prefix, stored);
  const specs = [
    tensor("embeddings.class_embedding", [width]),
    tensor("embeddings.patch_embedding.weight", [width, 3, patchSize, patchSize]),
    tensor("embeddings.position_embedding.weight", [clipGrid(config) ** 2 + 1, width]),
    ...norm("pre_layrnorm", width),
  ];
  for (let n = 0; n < config.layers; n++) {
    const layer = `encoder.layers.${n}`;
    for (const name of ["k_proj", "v_proj", "q_proj", "out_proj"]) {
      specs.push(...linearPair(`${layer}.self_attn.${name}`, width, width));
    }
    specs.push(
      ...norm(`${layer}.layer_norm1`, width),
      ...linearPair(`${layer}.mlp.fc1`, inner, width),
      ...linearPair(`${layer}.mlp.fc2`, width, inner),
      ...norm(`${layer}.layer_norm2`, width),
    );
  }
  return [...specs, ...norm("post_layernorm", width)];
}

/** One pre-norm block: x + attention(norm(x)), then x + mlp(norm(x)). */
function block(p: ParameterScope, x: Tensor, batch: number, config: ClipVisionConfig): Tensor {
  using scope = x.device.scope();
  const { hiddenSize, heads, epsilon } = config;
  const tokens = x.shape[0]! / batch;
  const attend = p.at("self_attn.");
  const normed = normLayer(p, "layer_norm1", x, epsilon);
  const project = (name: string) => ({ tensor: linearLayer(attend, name, normed) });
  const mixed = attention(project("q_proj"), project("k_proj"), project("v_proj"), {
    batch,
    queries: tokens,
    keys: tokens,
    heads,
    headSize: hiddenSize / heads,
  }).reshape(batch * tokens, hiddenSize);
  const attended = linearLayer(attend, "out_proj", mixed, { residual: x });
  const inner = linearLayer(p, "mlp.fc1", normLayer(p, "layer_norm2", attended, epsilon), {
    activation: config.activation,
  });
  return scope.keep(linearLayer(p, "mlp.fc2", inner, { residual: attended }));
}

/**
 * Runs the tower.
 *
 * @param p Parameters below `vision_model.`.
 * @param pixels Normalised images [B, 3, S, S].
 * @param layers Blocks to run: `config.layers - 1` gives `hidden_states[-2]`.
 * @param trace Gets `embeddings` and `hidden_states.N`, each [B * (1 + patches), width].
 * @returns Hidden states with the class token, [B, 1 + patches, width]; `post_layernorm` is not applied.
 */
export function clipVision(
  p: ParameterScope,
  pixels: Tensor,
  config: ClipVisionConfig,
  layers: number = config.layers,
  trace?: Trace,
): Tensor {
  using scope = pixels.device.scope();
  const batch = pixels.shape[0]!;
  const width = config.hiddenSize;
  const patches = patchEmbed(
    pixels,
    p.tensor("embeddings.patch_embedding.weight").reshape(width, -1),
    undefined,
    config.patchSize,
  );
  const classes = broadcastRows(p.tensor("embeddings.class_embedding"), batch).reshape(
    batch,
    1,
    width,
  );
  const tokens = concat([classes, patches], 1);
  const count = tokens.shape[1]!;
  const embedded = add(tokens, p.tensor("embeddings.position_embedding.weight")).reshape(
    batch * count,
    width,
  );
  trace?.("embeddings", embedded);
  let x = normLayer(p, "pre_layrnorm", embedded, config.epsilon);
  trace?.("hidden_states.0", x);
  for (let n = 0; n < layers; n++) {
    const next = block(p.at(`encoder.layers.${n}.`), x, batch, config);
    x.dispose();
    x = next;
    trace?.(`hidden_states.${n + 1}`, x);
  }
  return scope.keep(x).reshape(batch, count, width);
}
