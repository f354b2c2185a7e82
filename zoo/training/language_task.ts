/**
 * Pretraining of a small language model by its published objective, the next token (Touvron et al., "LLaMA", 2023), on the
 * texts of phantoms: what stands in for the language model that a paper takes pretrained.
 *
 * @module
 */
import {
  llama,
  type LlamaConfig,
  type LlamaPass,
  type Parameters,
  projection,
} from "@medvlm/core/nn";
import { crossEntropy, gatherRows, tensor } from "@medvlm/core/tensor";
import { decayGroups, decaysLinearWeights, type TrainingTask } from "@medvlm/core/train";
import type { Random } from "../phantoms/random.ts";
import { stepRandom } from "./pool.ts";

/** Texts of equal length [B, T]. */
export interface TextBatch {
  /** Token ids, padded on the right. */
  readonly ids: Int32Array<ArrayBuffer>;
  /** The token after each, -100 behind the end of a text. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** Length of each text. */
  readonly lengths: Uint32Array<ArrayBuffer>;
}

/** How a language model is pretrained. */
export interface LanguageTaskOptions {
  /** Draws a text, token ids with begin and end. */
  readonly draw: (random: Random) => readonly number[];
  /** Texts per step. */
  readonly batch: number;
  /** Of the draws. */
  readonly seed: number;
  /** Decay of matrices. Default 0.1. */
  readonly weightDecay?: number;
}

/** Marks the draws of batches. */
const BATCH_DRAWS = 0x74657874;

/** Texts as a batch. */
export function textBatch(texts: readonly (readonly number[])[]): TextBatch {
  const length = Math.max(...texts.map((text) => text.length));
  const ids = new Int32Array(texts.length * length);
  const labels = new Int32Array(ids.length).fill(-100);
  texts.forEach((text, b) => {
    ids.set(text, b * length);
    labels.set(text.slice(1), b * length);
  });
  return { ids, labels, lengths: Uint32Array.from(texts, (text) => text.length) };
}

/** The next token of texts as a task for a trainer. All of the language model is trained. */
export function languageTask(
  parameters: Parameters,
  config: LlamaConfig,
  feedForward: LlamaPass["feedForward"],
  { draw, batch, seed, weightDecay = 0.1 }: LanguageTaskOptions,
): TrainingTask<TextBatch> {
  const trained = parameters.specs
    .filter(({ name, derived }) =>
      derived !== true && /^(model\.(embed_tokens|layers|norm)|lm_head)\b/.test(name)
    )
    .map(({ name }) => ({ name, value: parameters.value(name) }));
  return {
    parameters: decayGroups(trained, decaysLinearWeights, weightDecay),
    batches(step) {
      const random = stepRandom(seed, step, BATCH_DRAWS);
      return Promise.resolve([textBatch(Array.from({ length: batch }, () => draw(random)))]);
    },
    loss({ ids, labels, lengths }) {
      const { device } = parameters;
      const count = lengths.length, length = ids.length / count;
      const positions = Uint32Array.from(ids, (_, i) => i % length);
      const embedded = gatherRows(
        parameters.weight("model.embed_tokens.weight"),
        tensor(device, ids),
      );
      const hidden = llama(parameters.at("model."), embedded, config, {
        batch: count,
        positions: tensor(device, positions),
        keyLengths: tensor(device, lengths),
        feedForward,
      });
      const logits = projection(parameters.at(""), "lm_head", hidden);
      return { total: crossEntropy(logits, tensor(device, labels)) };
    },
    tokens: ({ lengths }) => lengths.reduce((sum, length) => sum + length, 0),
  };
}
