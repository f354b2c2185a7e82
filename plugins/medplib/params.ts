/**
 * Every tensor of MedPLIB, in the names of the release (1238 at the published sizes).
 *
 * @module
 */
import {
  clipVisionParameters,
  denseFeedForwardParameters,
  llamaHeadSize,
  llamaParameters,
  type ParameterSpec,
  samDecoderParameters,
  samEncoderParameters,
  samPromptParameters,
  specMaker,
} from "@medvlm/core/nn";
import type { MedplibConfig } from "./config.ts";

/** Prefixes of the parts. */
export const names = {
  clip: "model.vision_tower.vision_tower.vision_model.",
  sam: "model.visual_model.",
  projector: "model.mm_projector.",
  compressor: "model.mm_token_compressor.",
  maskEncoder: "model.mask_encoder.",
  textProjector: "model.text_hidden_fcs.0.",
} as const;

/** Buffers that older files carry and nobody needs, and in-context modules that a configuration does not ask for. */
export const ignoredNames: readonly RegExp[] = [
  /\.position_ids$/,
  /^model\.mm_token_compressor\./,
  /^model\.mask_encoder\./,
];

/** Number of experts of a decoder layer, 0 where the layer is dense. */
export function expertsOfLayer({ moe }: MedplibConfig, layer: number): number {
  const index = moe.layers.indexOf(layer);
  return index < 0 ? 0 : moe.experts[index]!;
}

function feedForwardParameters(
  config: MedplibConfig,
  layer: number,
  prefix: string,
): ParameterSpec[] {
  const { llama, stored } = config;
  const experts = expertsOfLayer(config, layer);
  if (experts === 0) return denseFeedForwardParameters(llama, prefix, stored);
  const moe = `${prefix}deepspeed_moe.`;
  return [
    {
      name: `${moe}gate.wg.weight`,
      shape: [experts, llama.hiddenSize],
      // The router works in float32 whatever the rest does.
      keep: "float",
      stored: "F32",
      init: { kind: "uniform", bound: 1 / Math.sqrt(llama.hiddenSize) },
    },
    ...Array.from(
      { length: experts },
      (_, e) => denseFeedForwardParameters(llama, `${moe}experts.deepspeed_experts.${e}.`, stored),
    ).flat(),
  ];
}

function rotaryFrequencies(config: MedplibConfig): ParameterSpec[] {
  const half = llamaHeadSize(config.llama) / 2;
  return Array.from({ length: config.llama.layers }, (_, n) => ({
    name: `model.layers.${n}.self_attn.rotary_emb.inv_freq`,
    shape: [half],
    keep: "tensor",
    stored: "F32",
    init: {
      kind: "computed",
      value: (i: number) =>
        1 / Math.fround(Math.pow(config.llama.theta, Math.fround(2 * i / (2 * half)))),
    },
    derived: true,
  }));
}

/** `mm_projector`: CLIP features to the language model's width. */
export function projectorParameters(config: MedplibConfig): ParameterSpec[] {
  const width = config.llama.hiddenSize;
  const { linear } = specMaker(names.projector, config.stored);
  return [...linear("0", width, config.clip.hiddenSize), ...linear("2", width, width)];
}

/** Channels of an example's mask after each convolution of the mask encoder. */
export const maskEncoderChannels: readonly number[] = [64, 128, 256, 256];

/**
 * The modules of MedPLIB-ICL that a configuration asks for: `mm_token_compressor`, `mask_encoder`. They start as modules do
 * that a released checkpoint lacks: linear layers as in a transformer, convolutions as PyTorch makes them.
 */
export function inContextParameters(
  { llama, imageTokens, maskTokens, stored }: MedplibConfig,
): ParameterSpec[] {
  const width = llama.hiddenSize;
  const compressor = specMaker(names.compressor, stored);
  const encoder = specMaker(names.maskEncoder, stored);
  const { conv } = specMaker(names.maskEncoder, stored, "pytorch");
  const channels = [1, ...maskEncoderChannels];
  const convolutions = maskEncoderChannels.flatMap((outputs, n) =>
    conv(`encoder.${2 * n}`, [outputs, channels[n]!, 3, 3], outputs)
  );
  return [
    ...(imageTokens === undefined
      ? []
      : [...compressor.norm("norm", width), ...compressor.linear("proj", width, width)]),
    ...(maskTokens === undefined ? [] : [
      ...convolutions,
      ...encoder.linear("proj", width, channels.at(-1)!),
      ...encoder.norm("norm", width),
    ]),
  ];
}

/** `region_fea_adapter`: CLIP features to region features. */
export function regionParameters(config: MedplibConfig): ParameterSpec[] {
  const { linear } = specMaker("model.", config.stored);
  return linear("region_fea_adapter", config.llama.hiddenSize, config.clip.hiddenSize);
}

/** SAM-Med2D: image encoder, prompt encoder, mask decoder, each name starting with `prefix`. */
export function samParameters(config: MedplibConfig, prefix: string): ParameterSpec[] {
  return [
    ...samEncoderParameters(config.sam, `${prefix}image_encoder.`, config.stored),
    ...samPromptParameters(
      { width: config.samDecoder.width, maskChannels: config.maskInputChannels },
      `${prefix}prompt_encoder.`,
      config.stored,
    ),
    ...samDecoderParameters(config.samDecoder, `${prefix}mask_decoder.`, config.stored),
  ];
}

/** The table of all tensors. */
export function medplibParameters(config: MedplibConfig): ParameterSpec[] {
  const { llama, clip, stored } = config;
  const width = llama.hiddenSize;
  const text = specMaker(names.textProjector, stored);
  return [
    ...llamaParameters(
      llama,
      stored,
      (layer, prefix) => feedForwardParameters(config, layer, prefix),
    ),
    ...rotaryFrequencies(config),
    ...clipVisionParameters(clip, names.clip, stored),
    ...projectorParameters(config),
    ...inContextParameters(config),
    ...regionParameters(config),
    ...samParameters(config, names.sam),
    ...text.linear("0", width, width),
    ...text.linear("2", config.samDecoder.width, width),
  ];
}
