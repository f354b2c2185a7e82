/**
 * The training objective of the family: next-token cross-entropy of the answers, averaged over all their tokens in the batch.
 *
 * @module
 */
import { projection } from "../nn/layers.ts";
import { llama, type LlamaPass } from "../nn/llama.ts";
import type { Parameters } from "../nn/parameters.ts";
import { sharedPositions, sharedPrefixes } from "../nn/shared_prefix.ts";
import type { Trace } from "../nn/trace.ts";
import { concat, crossEntropy, gatherRows, rowIndex, type Tensor, tensor } from "../tensor/mod.ts";
import type { BatchLoss } from "../train/mod.ts";
import type { MinigptConfig } from "./config.ts";
import { feedForward, pictureRows } from "./language.ts";
import type { MinigptBatch } from "./training_batch.ts";

/** How a loss is computed. */
export interface MinigptLossOptions {
  /** Recompute decoder layers on the way back instead of keeping what is inside. Default false. */
  readonly recompute?: boolean;
  /** Gets intermediate values under the names of the reference cases. */
  readonly trace?: Trace;
  /** Gets the decoder's states before one of its layers. */
  readonly states?: LlamaPass["states"];
}

/** Pictures of a batch as rows of the language model [B * rows, H]. */
export function batchPictures(
  p: Parameters,
  { pixels }: MinigptBatch,
  config: MinigptConfig,
  trace?: Trace,
): Tensor {
  const { imageSize } = config.vision;
  return pictureRows(
    p,
    tensor(p.device, pixels).reshape(-1, 3, imageSize, imageSize),
    config,
    trace,
  );
}

/**
 * Input rows of the decoder, those of shared beginnings and then [B * T, H].
 *
 * @param pictures As {@linkcode batchPictures} gives them.
 */
export function embedBatch(
  p: Parameters,
  { tokens, source }: MinigptBatch,
  pictures: Tensor,
): Tensor {
  const { device } = p;
  const texts = gatherRows(p.weight("model.embed_tokens.weight"), rowIndex(device, tokens));
  return gatherRows(concat([texts, pictures], 0), rowIndex(device, source));
}

/**
 * Runs the decoder on a batch. Positions count through the padding, which no row in use sees.
 *
 * @param embedded As {@linkcode embedBatch} gives it.
 * @returns Hidden states after the final norm, as many rows.
 */
export function decodeBatch(
  p: Parameters,
  embedded: Tensor,
  { size, length, lengths, prefixes }: Pick<
    MinigptBatch,
    "size" | "length" | "lengths" | "prefixes"
  >,
  config: MinigptConfig,
  { recompute = false, trace, states }: MinigptLossOptions = {},
): Tensor {
  return llama(p.at("model."), embedded, config.llama, {
    batch: size,
    positions: tensor(p.device, sharedPositions(prefixes, size, length)),
    keyLengths: tensor(p.device, lengths),
    ...(prefixes && { prefixes: sharedPrefixes(p.device, prefixes, length) }),
    feedForward,
    recompute,
    trace,
    states,
  });
}

/** Logits of the rows whose prediction counts [targets, vocabulary]. */
export function targetLogits(p: Parameters, hidden: Tensor, { targetRows }: MinigptBatch): Tensor {
  return projection(p.at(""), "lm_head", gatherRows(hidden, rowIndex(p.device, targetRows)));
}

/** Mean cross-entropy of the answers' tokens, f32 [1]. */
export function answerLoss(p: Parameters, hidden: Tensor, batch: MinigptBatch): Tensor {
  return crossEntropy(targetLogits(p, hidden, batch), tensor(p.device, batch.targets));
}

/** Queues the loss of a batch, from pixels on. */
export function minigptLoss(
  p: Parameters,
  batch: MinigptBatch,
  config: MinigptConfig,
  options: MinigptLossOptions = {},
): BatchLoss {
  const pictures = batchPictures(p, batch, config, options.trace);
  const embedded = embedBatch(p, batch, pictures);
  options.trace?.("inputs_embeds", embedded);
  const hidden = decodeBatch(p, embedded, batch, config, options);
  return { total: answerLoss(p, hidden, batch) };
}
