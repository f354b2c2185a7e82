/**
 * MedPLIB's configuration: published sizes and small ones.
 *
 * @module
 */
import type {
  ClipVisionConfig,
  LlamaConfig,
  SamDecoderConfig,
  SamEncoderConfig,
} from "@medvlm/core/nn";

/** The mixture of experts that replaces the feed-forward layer. */
export interface MoeConfig {
  /** Decoder layers that have experts; the others are dense. */
  readonly layers: readonly number[];
  /** Experts of each of these layers. */
  readonly experts: readonly number[];
  /** Experts per token, 1 or 2. */
  readonly topK: 1 | 2;
  /** Slots per expert over the even share, in training. */
  readonly capacityFactor: number;
  /** The same at inference; with two experts and factor 2 nothing is dropped. */
  readonly evalCapacityFactor: number;
  /** Least slots per expert, whatever the factor gives. */
  readonly minCapacity: number;
  /** Weight of the load-balancing loss. */
  readonly auxLossWeight: number;
}

/** Everything that decides tensor shapes and the forward pass. */
export interface MedplibConfig {
  /** The language model. */
  readonly llama: LlamaConfig;
  /** Which decoder layers have experts, and how tokens are routed to them. */
  readonly moe: MoeConfig;
  /** The vision tower whose patch features the language model reads. */
  readonly clip: ClipVisionConfig;
  /** Hidden state of the tower that is used, counted from the end (-2: one block is skipped). */
  readonly visionLayer: number;
  /** The pixel encoder of SAM-Med2D, for masks. */
  readonly sam: SamEncoderConfig;
  /** The mask decoder of SAM-Med2D. */
  readonly samDecoder: SamDecoderConfig;
  /** Channels inside the prompt encoder's mask branch (loaded and saved, unused by MedPLIB). */
  readonly maskInputChannels: number;
  /** Most grid points that make up a region feature. */
  readonly maxRegionPoints: number;
  /** Rows that an image is compressed to (`mm_token_compress` of MedPLIB-ICL). Absent: one row per patch. */
  readonly imageTokens?: number;
  /** Rows of an example's mask (`icl_mask_encoder` of MedPLIB-ICL). Absent: there is no mask encoder. */
  readonly maskTokens?: number;
  /** Logit probability above which a pixel belongs to the mask. */
  readonly maskThreshold: number;
  /** Element type of the official files. */
  readonly stored: "F32" | "BF16";
}

const samDecoderBase = {
  depth: 2,
  heads: 8,
  mlpWidth: 2048,
  maskTokens: 4,
  iouLayers: 3,
  iouWidth: 256,
  width: 256,
};

/** Vocabulary of the built-in tokenizer with the added tokens. */
export const builtInVocabulary = 1280;

/** `Huangxs/MedPLIB-7b-2e`: 11.69 billion parameters. */
export const paper: MedplibConfig = {
  llama: {
    vocabulary: 32267,
    hiddenSize: 4096,
    intermediateSize: 11008,
    layers: 32,
    heads: 32,
    keyHeads: 32,
    maxPositions: 4096,
    epsilon: 1e-5,
    theta: 10000,
  },
  moe: {
    layers: Array.from({ length: 32 }, (_, n) => n),
    experts: Array.from({ length: 32 }, () => 2),
    topK: 1,
    capacityFactor: 1.5,
    evalCapacityFactor: 2,
    minCapacity: 0,
    auxLossWeight: 0,
  },
  clip: {
    hiddenSize: 1024,
    intermediateSize: 4096,
    layers: 24,
    heads: 16,
    imageSize: 336,
    patchSize: 14,
    activation: "quickGelu",
    epsilon: 1e-5,
  },
  visionLayer: -2,
  sam: {
    imageSize: 256,
    patchSize: 16,
    width: 768,
    depth: 12,
    heads: 12,
    mlpRatio: 4,
    window: 14,
    globalBlocks: [2, 5, 8, 11],
    outputWidth: 256,
    adapter: true,
  },
  samDecoder: samDecoderBase,
  maskInputChannels: 16,
  maxRegionPoints: 512,
  maskThreshold: 0.1,
  stored: "BF16",
};

/** The same architecture, small enough for any machine; the vocabulary is the built-in tokenizer's (see `tokenizer.ts`). */
function small(scale: {
  hidden: number;
  intermediate: number;
  layers: number;
  heads: number;
  clip: number;
  sam: number;
}): MedplibConfig {
  const { hidden, layers, heads } = scale;
  return {
    ...paper,
    llama: {
      ...paper.llama,
      vocabulary: builtInVocabulary,
      hiddenSize: hidden,
      intermediateSize: scale.intermediate,
      layers,
      heads,
      keyHeads: heads,
      maxPositions: 1024,
    },
    moe: {
      ...paper.moe,
      layers: Array.from({ length: layers }, (_, n) => n),
      experts: Array.from({ length: layers }, () => 2),
    },
    clip: {
      ...paper.clip,
      hiddenSize: scale.clip,
      intermediateSize: 4 * scale.clip,
      layers: 4,
      heads: scale.clip / 24,
      imageSize: 112,
    },
    sam: {
      ...paper.sam,
      imageSize: 192,
      patchSize: 12,
      width: scale.sam,
      depth: 4,
      heads: scale.sam / 16,
      window: 8,
      globalBlocks: [1, 3],
      outputWidth: 64,
    },
    samDecoder: { ...samDecoderBase, width: 64, heads: 4, mlpWidth: 128, iouWidth: 64 },
    maskInputChannels: 8,
    stored: "F32",
  };
}

/** Named configurations. */
export const presets: Readonly<Record<"paper" | "tiny" | "small", MedplibConfig>> = {
  paper,
  tiny: small({ hidden: 128, intermediate: 256, layers: 4, heads: 4, clip: 96, sam: 64 }),
  small: small({ hidden: 256, intermediate: 672, layers: 8, heads: 8, clip: 192, sam: 128 }),
};
