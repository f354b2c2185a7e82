/**
 * From the hidden state of `<SEG>` to the mask decoder's logits; `postprocess.ts` brings them to the image's own size.
 *
 * @module
 */
import {
  densePositions,
  linearLayer,
  type Parameters,
  type ParameterScope,
  samGrid,
  samImageEncoder,
  samMaskDecoder,
  type SamMasks,
  type Trace,
} from "@medvlm/core/nn";
import { add, permute, slice, type Tensor, tensor } from "@medvlm/core/tensor";
import type { MedplibConfig } from "./config.ts";
import { names } from "./params.ts";

/** `text_hidden_fcs`: Linear, ReLU, Linear; [n, hidden] to [n, decoder width]. */
export function segEmbedding(p: Parameters, hidden: Tensor): Tensor {
  using scope = hidden.device.scope();
  const part = p.at(names.textProjector);
  const inner = linearLayer(part, "0", hidden, { activation: "relu" });
  return scope.keep(linearLayer(part, "2", inner));
}

/**
 * SAM-Med2D's image embeddings [B, width, grid, grid].
 *
 * @param p SAM's parameters.
 * @param pixels Normalised images [B, 3, S, S].
 */
export function pixelEmbeddings(
  p: ParameterScope,
  pixels: Tensor,
  config: MedplibConfig,
  trace?: Trace,
): Tensor {
  return samImageEncoder(p.at("image_encoder."), pixels, config.sam, trace);
}

/** The positional encoding of SAM's grid, token-major [grid * grid, width]; computed once per model. */
export async function gridPositions(p: ParameterScope, config: MedplibConfig): Promise<Tensor> {
  const grid = samGrid(config.sam);
  const gaussian = await p.tensor("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix")
    .readFloats();
  return tensor(p.device, densePositions(gaussian, grid, grid), [
    grid * grid,
    config.samDecoder.width,
  ]);
}

/**
 * Decodes all mask tokens with the text embedding as the only prompt.
 *
 * @param p SAM's parameters.
 * @param image Image embeddings [B, width, grid, grid].
 * @param prompt One embedding per image [B, width].
 */
export function decodeMasks(
  p: ParameterScope,
  image: Tensor,
  positions: Tensor,
  prompt: Tensor,
  config: MedplibConfig,
  trace?: Trace,
): SamMasks {
  using scope = image.device.scope();
  const noMask = p.tensor("prompt_encoder.no_mask_embed.weight");
  // The dense prompt is the same for every cell; channels-last it is one trailing row.
  const dense = permute(add(permute(image, [0, 2, 3, 1]), noMask.reshape(-1)), [0, 3, 1, 2]);
  const [batch, width] = prompt.shape as [number, number];
  const { masks, iou } = samMaskDecoder(
    p.at("mask_decoder."),
    dense,
    positions,
    prompt.reshape(batch, 1, width),
    config.samDecoder,
    trace,
  );
  return { masks: scope.keep(masks), iou: scope.keep(iou) };
}

/** Mask token 0 of every image, [B, 1, 4 grid, 4 grid] (`multimask_output=False`). */
export function singleMask({ masks }: SamMasks): Tensor {
  return slice(masks, 1, 0, 1);
}
