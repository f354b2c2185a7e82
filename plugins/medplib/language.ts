/**
 * The language model of MedPLIB: image and region rows spliced into the embedded prompt, and LLaMA layers whose
 * feed-forward part is a mixture of experts.
 *
 * @module
 */
import { denseFeedForward, type LlamaPass, moeFeedForward, type Parameters } from "@medvlm/core/nn";
import {
  gatherRows,
  type RowPiece,
  spliceRows,
  type Tensor,
  tensor,
  uniforms,
} from "@medvlm/core/tensor";
import { type Device, InputError } from "@medvlm/core";
import type { MedplibConfig } from "./config.ts";
import { expertsOfLayer } from "./params.ts";
import { imagePlaceholder, regionPlaceholder } from "./prompt.ts";

/**
 * Embeds a prompt: token rows, with image rows in the place of every -200 and the region row in the place of -300.
 *
 * @param ids Token ids with placeholders.
 * @param images The rows of every image or mask, [n, H] each, in the order of their placeholders.
 * @param region Region row [1, H]; without it a region placeholder is dropped, as the released evaluation does.
 * @returns Rows [P, H].
 * @throws {InputError} code `BAD_PROMPT` when there are not as many -200 as images, or for other placeholders.
 */
export function embedPrompt(
  p: Parameters,
  ids: readonly number[],
  images: readonly RowPiece[],
  region: Tensor | undefined,
): Tensor {
  const { device } = p;
  const wanted = ids.filter((id) => id === imagePlaceholder).length;
  if (wanted !== images.length) {
    throw new InputError(
      "BAD_PROMPT",
      `Cannot embed a prompt with ${wanted} image placeholders and ${images.length} images: each needs one`,
    );
  }
  const tokens = Int32Array.from(ids.filter((id) => id >= 0));
  const index = tensor(device, tokens);
  using scope = device.scope();
  const rows = gatherRows(p.weight("model.embed_tokens.weight"), index);
  const pieces: RowPiece[] = [];
  let start = 0, seen = 0, shown = 0;
  const flush = () => {
    if (seen > start) pieces.push({ tensor: rows, start, length: seen - start });
    start = seen;
  };
  for (const id of ids) {
    if (id >= 0) {
      seen++;
      continue;
    }
    flush();
    if (id === imagePlaceholder) pieces.push(images[shown++]!);
    else if (id === regionPlaceholder && region !== undefined) pieces.push({ tensor: region });
    else if (id !== regionPlaceholder) {
      throw new InputError("BAD_PROMPT", `Cannot embed the placeholder ${id}`);
    }
  }
  flush();
  const spliced = scope.keep(spliceRows(pieces));
  index.dispose();
  return spliced;
}

/** How tokens find their experts. */
export interface RoutingOptions {
  /** Slots per expert over the even share. */
  readonly capacityFactor: number;
  /** The uniform numbers in (0, 1) that decide which tokens an over-full expert keeps, f32 [tokens, experts]. */
  readonly draws: (layer: number, tokens: number, experts: number) => Tensor;
}

/** Routing at inference, with draws from a seed. */
export function evaluationRouting(
  { moe }: MedplibConfig,
  device: Device,
  seed: number,
): RoutingOptions {
  return { capacityFactor: moe.evalCapacityFactor, draws: seededDraws(device, seed) };
}

/** Draws that depend on the seed and the layer alone. */
export function seededDraws(device: Device, seed: number): RoutingOptions["draws"] {
  return (layer, tokens, experts) =>
    uniforms(device, tokens * experts, seed, layer).reshape(tokens, experts);
}

/**
 * The feed-forward part of every layer: dense, or a mixture of experts. Its trace gets `layerN.router_logits` [T, E]
 * and `layerN.l_aux` [1].
 */
export function feedForwardOf(
  config: MedplibConfig,
  { capacityFactor, draws }: RoutingOptions,
): LlamaPass["feedForward"] {
  const { topK, minCapacity } = config.moe;
  return (p, x, residual, layer, trace) => {
    const experts = expertsOfLayer(config, layer);
    if (experts === 0) return denseFeedForward(p, x, residual);
    using scope = x.device.scope();
    const part = p.at("deepspeed_moe.");
    // With enough slots for every token nothing is dropped and no draw is needed.
    const mayDrop = capacityFactor * topK < experts;
    const { y, routing, logits } = moeFeedForward(
      x,
      {
        router: part.weight("gate.wg.weight"),
        experts: Array.from(
          { length: experts },
          (_, e) => part.at(`experts.deepspeed_experts.${e}.`),
        ),
      },
      {
        k: topK,
        capacityFactor,
        minCapacity,
        residual,
        ...(mayDrop && topK === 1 ? { uniform: draws(layer, x.shape[0]!, experts) } : {}),
      },
    );
    trace?.(`layer${layer}.router_logits`, logits);
    trace?.(`layer${layer}.l_aux`, routing.auxLoss);
    return { y: scope.keep(y), auxiliary: scope.keep(routing.auxLoss) };
  };
}
