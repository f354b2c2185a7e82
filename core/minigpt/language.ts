/**
 * From pixels and tokens to the rows that the language model reads: picture rows between the pieces of a prompt.
 *
 * @module
 */
import { evaVit } from "../nn/eva_vit.ts";
import type { GenerateSetup } from "../nn/generate.ts";
import { linearLayer, normLayer } from "../nn/layers.ts";
import { denseFeedForward, type FeedForward } from "../nn/llama.ts";
import type { Parameters, ParameterScope } from "../nn/parameters.ts";
import type { Trace } from "../nn/trace.ts";
import { gatherRows, slice, spliceRows, type Tensor, tensor } from "../tensor/mod.ts";
import type { MinigptConfig } from "./config.ts";
import { names } from "./params.ts";

/** The MLP of every decoder layer, as `LlamaPass` has it. */
export function feedForward(p: ParameterScope, x: Tensor, residual: Tensor): FeedForward {
  return denseFeedForward(p, x, residual);
}

/**
 * What the vision tower makes of pictures: patch features after `ln_vision`, without the class token, neighbours joined. Frozen in
 * every published stage.
 *
 * @param pixels Normalised images [B, 3, S, S].
 * @param trace Gets what `evaVit` traces, `vit_out`, `ln_vision_out`, `concat4`.
 * @returns [B * rows, patchesPerRow * vision width].
 */
export function pictureFeatures(
  p: Parameters,
  pixels: Tensor,
  config: MinigptConfig,
  trace?: Trace,
): Tensor {
  using scope = pixels.device.scope();
  const { vision, visionEpsilon, patchesPerRow } = config;
  const hidden = evaVit(p.at(names.vision), pixels, vision, trace);
  trace?.("vit_out", hidden);
  const normed = normLayer(p.at(""), "ln_vision", hidden, visionEpsilon);
  trace?.("ln_vision_out", normed);
  const patches = slice(normed, 1, 1, hidden.shape[1]! - 1);
  const joined = scope.keep(patches).reshape(-1, patchesPerRow * vision.hiddenSize);
  trace?.("concat4", joined);
  return joined;
}

/** `llama_proj`: joined patch features to rows of the language model, [n, patchesPerRow * vision width] to [n, H]. */
export function projectPicture(p: Parameters, features: Tensor): Tensor {
  return linearLayer(p.at(""), "llama_proj", features);
}

/** Pictures as rows of the language model: {@linkcode pictureFeatures}, then {@linkcode projectPicture}; [B * rows, H]. */
export function pictureRows(
  p: Parameters,
  pixels: Tensor,
  config: MinigptConfig,
  trace?: Trace,
): Tensor {
  using scope = pixels.device.scope();
  const features = pictureFeatures(p, pixels, config, trace);
  trace?.("llama_proj.in", features);
  const rows = scope.keep(projectPicture(p, features));
  trace?.("llama_proj.out", rows);
  return rows;
}

/**
 * Embeds a prompt.
 *
 * @param segments Tokens before and behind the picture, as `promptSegments` gives them.
 * @param picture Rows of the picture [n, H].
 * @returns Rows [P, H].
 */
export function embedPrompt(
  p: Parameters,
  [before, behind]: readonly [readonly number[], readonly number[]],
  picture: Tensor,
): Tensor {
  const { device } = p;
  const index = tensor(device, Int32Array.from([...before, ...behind]));
  using scope = device.scope();
  const rows = gatherRows(p.weight("model.embed_tokens.weight"), index);
  const spliced = scope.keep(spliceRows([
    { tensor: rows, start: 0, length: before.length },
    { tensor: picture },
    { tensor: rows, start: before.length, length: behind.length },
  ]));
  index.dispose();
  return spliced;
}

/** The language model for a `Generation`, or a search of the caller's own. */
export function generateSetup(p: Parameters, { llama }: MinigptConfig): GenerateSetup {
  return {
    device: p.device,
    config: llama,
    model: p.at("model."),
    embedding: p.weight("model.embed_tokens.weight"),
    head: p.weight("lm_head.weight"),
    feedForward,
  };
}
