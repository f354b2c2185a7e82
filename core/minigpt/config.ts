/**
 * Configuration of the MiniGPT-v2 family: published sizes and small ones.
 *
 * @module
 */
import type { FloatDType } from "../checkpoint/mod.ts";
import { evaGrid, type EvaVitConfig } from "../nn/eva_vit.ts";
import type { LlamaConfig } from "../nn/llama.ts";

/** Low-rank adapters of the language model. */
export interface MinigptAdapters {
  /** Rank r. */
  readonly rank: number;
  /** The update counts alpha / rank times. */
  readonly alpha: number;
  /** Fraction of the adapters' input that is dropped in training. */
  readonly dropout: number;
  /** The adapted matrices of every layer's attention. */
  readonly targets: readonly string[];
}

/** Everything that decides tensor shapes and the forward pass. */
export interface MinigptConfig {
  /** The language model. */
  readonly llama: LlamaConfig;
  /** The vision tower. */
  readonly vision: EvaVitConfig;
  /** Epsilon of the LayerNorm behind the tower, `ln_vision`. */
  readonly visionEpsilon: number;
  /** Neighbouring patches, in reading order, that become one row of the language model; divides the number of patches. */
  readonly patchesPerRow: number;
  /** The trained part of the language model. */
  readonly adapters: MinigptAdapters;
  /** Element types of the official files; what is trained is always float32. */
  readonly stored: {
    /** Of the LLaMA directory. */
    readonly language: FloatDType;
    /** Of the vision tower's file. */
    readonly vision: FloatDType;
  };
}

/** Rows of the language model that a picture becomes. */
export function imageRowCount({ vision, patchesPerRow }: MinigptConfig): number {
  return evaGrid(vision) ** 2 / patchesPerRow;
}

/** MiniGPT-v2 with LLaMA-2-chat 7B and EVA ViT-G at 448 pixels (`minigpt4/models/minigpt_v2.py`): 7.78 billion parameters. */
export const paper: MinigptConfig = {
  llama: {
    vocabulary: 32000,
    hiddenSize: 4096,
    intermediateSize: 11008,
    layers: 32,
    heads: 32,
    keyHeads: 32,
    maxPositions: 4096,
    epsilon: 1e-5,
    theta: 10000,
  },
  vision: {
    hiddenSize: 1408,
    intermediateSize: 6144,
    layers: 39,
    heads: 16,
    imageSize: 448,
    patchSize: 14,
    storedGrid: 16,
    epsilon: 1e-6,
  },
  visionEpsilon: 1e-5,
  patchesPerRow: 4,
  adapters: { rank: 64, alpha: 16, dropout: 0.05, targets: ["q_proj", "v_proj"] },
  stored: { language: "F16", vision: "F16" },
};

/** Vocabulary of the built-in tokenizer. */
export const builtInVocabulary = 1024;

/** The same architecture, small enough for any machine; the vocabulary is the built-in tokenizer's. */
export const tiny: MinigptConfig = {
  ...paper,
  llama: {
    ...paper.llama,
    vocabulary: builtInVocabulary,
    hiddenSize: 128,
    intermediateSize: 344,
    layers: 4,
    heads: 4,
    keyHeads: 4,
    maxPositions: 512,
  },
  vision: {
    ...paper.vision,
    hiddenSize: 96,
    intermediateSize: 418,
    layers: 4,
    heads: 4,
    imageSize: 112,
    storedGrid: 8,
  },
  adapters: { ...paper.adapters, rank: 8, alpha: 8 },
};
