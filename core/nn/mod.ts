/**
 * Building blocks of the models, made of tensor operations only.
 *
 * @module
 */
export { Adapter, type AdapterModule, type AdapterOptions, savedParameters } from "./adapter.ts";
export { AdapterSet } from "./adapters.ts";
export { consensus, drawAnswers, type DrawnAnswer, type DrawOptions } from "./answer_draws.ts";
export { attentionLogits } from "./attention_logits.ts";
export {
  type BeamAnswer,
  type BeamCandidates,
  type BeamModel,
  type BeamOptions,
  beamSearch,
} from "./beam_search.ts";
export { type ClipBlockConfig } from "./clip_block.ts";
export {
  type ClipContrastConfig,
  clipContrastParameters,
  clipImageEmbedding,
  clipLoss,
  clipSimilarities,
  clipTextEmbedding,
} from "./clip_contrast.ts";
export {
  clipText,
  type ClipTextConfig,
  clipTextParameters,
  type ClipTexts,
  clipTexts,
} from "./clip_text.ts";
export {
  clipGrid,
  clipVision,
  type ClipVisionConfig,
  clipVisionParameters,
} from "./clip_vision.ts";
export { evaGrid, evaPositions, evaVit, type EvaVitConfig, evaVitParameters } from "./eva_vit.ts";
export { type GenerateSetup, Generation, type SamplingOptions } from "./generate.ts";
export { type Initialiser, initialValues } from "./initialise.ts";
export { initialEntry, initialSource } from "./initial_source.ts";
export {
  denseFeedForward,
  denseFeedForwardParameters,
  type FeedForward,
  KeyValueCache,
  llama,
  type LlamaConfig,
  llamaHeadSize,
  llamaParameters,
  type LlamaPass,
} from "./llama.ts";
export { LlamaBeams } from "./llama_beams.ts";
export { moeFeedForward, type MoeLayer, type MoeOptions, type MoeResult } from "./moe.ts";
export {
  initialParameters,
  loadParameters,
  parameterBytes,
  Parameters,
  ParameterScope,
  type ParameterSpec,
  type PlaceOptions,
  type WeightStorage,
} from "./parameters.ts";
export {
  type SamDecoderConfig,
  samDecoderParameters,
  samMaskDecoder,
  type SamMasks,
} from "./sam_decoder.ts";
export {
  type SamEncoderConfig,
  samEncoderParameters,
  samGrid,
  samImageEncoder,
} from "./sam_encoder.ts";
export { type SamLoss, samLoss } from "./sam_loss.ts";
export {
  addDensePrompt,
  densePositions,
  type PlacedPrompts,
  placePrompts,
  type PromptPoint,
  type SamPrompt,
  samPromptParameters,
  samPromptTokens,
} from "./sam_prompt.ts";
export {
  type Continuation,
  type MaybeShared,
  rowsInUse,
  sampleOf,
  type SharedLayout,
  sharedLayout,
  type SharedStart,
} from "./shared_layout.ts";
export { sharedPositions, type SharedPrefixes, sharedPrefixes } from "./shared_prefix.ts";
export { type Trace, traceAt, TraceCollector } from "./trace.ts";
export { type Trained, trainedEntries } from "./trained_entries.ts";
export { type LayerInit, type SpecMaker, specMaker, usualInit } from "./specs.ts";
export { linearLayer, lookup, normLayer, normLayer2d, projection } from "./layers.ts";
