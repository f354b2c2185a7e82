/**
 * CLIP's vision transformer (pre-norm, class token, learned positions), in the tensor names of Hugging Face's
 * `CLIPVisionModel`.
 *
 * @module
 */
import { add } from "../tensor/elementwise.ts";
import { patchEmbed } from "../tensor/conv.ts";
import { broadcastRows, concat } from "../tensor/movement.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { clipBlock, type ClipBlockConfig, clipBlockParameters } from "./clip_block.ts";
import { normLayer } from "./layers.ts";
import { specMaker } from "./specs.ts";
import type { Trace } from "./trace.ts";

/** Sizes of a CLIP vision tower. */
export interface ClipVisionConfig extends ClipBlockConfig {
  /** Side of the square input in pixels. */
  readonly imageSize: number;
  /** Side of a patch in pixels. */
  readonly patchSize: number;
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
  const { hiddenSize: width, patchSize } = config;
  const { tensor, conv, norm } = specMaker(prefix, stored, "pytorch");
  const normal = { kind: "normal", std: width ** -0.5 } as const;
  const [patches] = conv("embeddings.patch_embedding", [width, 3, patchSize, patchSize], width);
  return [
    tensor("embeddings.class_embedding", [width], normal),
    patches!,
    tensor("embeddings.position_embedding.weight", [clipGrid(config) ** 2 + 1, width], normal),
    ...norm("pre_layrnorm", width),
    ...clipBlockParameters(config, prefix, stored),
    ...norm("post_layernorm", width),
  ];
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
    const next = clipBlock(p.at(`encoder.layers.${n}.`), x, batch, config);
    x.dispose();
    x = next;
    trace?.(`hidden_states.${n + 1}`, x);
  }
  return scope.keep(x).reshape(batch, count, width);
}
