/**
 * CLIP as a whole: both towers, their projections into one space, and the contrastive objective (Radford et al., "Learning
 * Transferable Visual Models From Natural Language Supervision", 2021). Tensor names of Hugging Face's `CLIPModel`.
 *
 * @module
 */
import { limitedExp, pairLoss, similarities } from "../tensor/contrast.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { clipBlock } from "./clip_block.ts";
import { clipText, type ClipTextConfig, clipTextParameters, type ClipTexts } from "./clip_text.ts";
import { clipVision, type ClipVisionConfig } from "./clip_vision.ts";
import { normLayer, projection } from "./layers.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { specMaker } from "./specs.ts";

/** Sizes of everything besides the vision tower. */
export interface ClipContrastConfig {
  /** The text tower. */
  readonly text: ClipTextConfig;
  /** Width of the space both towers are projected into. */
  readonly projectionWidth: number;
}

/** Where the temperature starts: similarities are cosines over 0.07. */
const initialTemperature = 0.07;
/** Similarities are at most 100 times the cosine. */
const mostFactor = 100;

/**
 * The text tower, the projections and the temperature: what CLIP has besides `vision_model.`.
 *
 * @param visionWidth Width of the vision tower.
 * @param prefix In front of `text_model.`, `visual_projection.` and so on; usually empty.
 */
export function clipContrastParameters(
  { text, projectionWidth }: ClipContrastConfig,
  visionWidth: number,
  prefix: string,
  stored: "F32" | "BF16",
): ParameterSpec[] {
  const { tensor: single, matrix } = specMaker(prefix, stored);
  const projectionFrom = (name: string, width: number): ParameterSpec => ({
    ...matrix(name, projectionWidth, width),
    init: { kind: "normal", std: width ** -0.5 },
  });
  return [
    ...clipTextParameters(text, `${prefix}text_model.`, stored),
    projectionFrom("visual_projection", visionWidth),
    projectionFrom("text_projection", text.hiddenSize),
    single("logit_scale", [], { kind: "computed", value: () => -Math.log(initialTemperature) }),
  ];
}

/**
 * Embeddings of images [B, projectionWidth], of any length.
 *
 * @param vision Parameters below `vision_model.`.
 * @param contrast Parameters of {@linkcode clipContrastParameters}.
 * @param pixels Normalised images [B, 3, S, S].
 */
export function clipImageEmbedding(
  vision: ParameterScope,
  contrast: ParameterScope,
  pixels: Tensor,
  config: ClipVisionConfig,
): Tensor {
  using scope = pixels.device.scope();
  const batch = pixels.shape[0]!, last = config.layers - 1;
  const hidden = clipVision(vision, pixels, config, last);
  const tokens = hidden.shape[1]!;
  // The last block is read at the class token alone.
  const only = tensor(pixels.device, Int32Array.from({ length: batch }, (_, b) => b * tokens));
  const classes = clipBlock(
    vision.at(`encoder.layers.${last}.`),
    hidden.reshape(batch * tokens, config.hiddenSize),
    batch,
    config,
    { only },
  );
  const pooled = normLayer(vision, "post_layernorm", classes, config.epsilon);
  return scope.keep(projection(contrast, "visual_projection", pooled));
}

/**
 * Embeddings of texts [B, projectionWidth], of any length.
 *
 * @param contrast Parameters of {@linkcode clipContrastParameters}.
 */
export function clipTextEmbedding(
  contrast: ParameterScope,
  texts: ClipTexts,
  config: ClipTextConfig,
): Tensor {
  using scope = contrast.device.scope();
  const pooled = clipText(contrast.at("text_model."), texts, config);
  return scope.keep(projection(contrast, "text_projection", pooled));
}

/**
 * Similarities of embeddings [B, N]: cosines over the learned temperature, which is at least 1/100.
 *
 * @param contrast Parameters of {@linkcode clipContrastParameters}.
 */
export function clipSimilarities(contrast: ParameterScope, left: Tensor, right: Tensor): Tensor {
  return similarities(left, right, limitedExp(contrast.tensor("logit_scale"), mostFactor));
}

/**
 * The contrastive objective of pairs: symmetric cross-entropy of their similarities, f32 [1].
 *
 * @param contrast Parameters of {@linkcode clipContrastParameters}.
 * @param images Embeddings [B, projectionWidth].
 * @param texts Embeddings [B, projectionWidth], in the order of their images.
 */
export function clipLoss(contrast: ParameterScope, images: Tensor, texts: Tensor): Tensor {
  return pairLoss(clipSimilarities(contrast, images, texts));
}
