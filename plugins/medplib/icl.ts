/**
 * The in-context modules of MedPLIB-ICL (official `model/medplib/model/medplib_arch.py`): a compressor that makes fewer rows
 * of an image, an encoder of masks, and the rows that every image and mask of a prompt becomes.
 *
 * @module
 */
import { clipGrid, linearLayer, normLayer, type Parameters, type Trace } from "@medvlm/core/nn";
import {
  adaptiveAvgPool2d,
  concat,
  conv2d,
  permute,
  type Tensor,
  tensor,
} from "@medvlm/core/tensor";
import { InputError } from "@medvlm/core";
import type { MedplibConfig } from "./config.ts";
import { joined } from "./joined.ts";
import { maskEncoderChannels, names } from "./params.ts";
import { clipFeatures, projectFeatures } from "./vision.ts";

/** What one `<image>` of a prompt stands for. */
export type VisualInput =
  /** Normalised input of the vision tower [3, S, S]. */
  | { readonly kind: "image"; readonly pixels: Float32Array }
  /** Input of the mask encoder [S, S], 1 inside and 0 outside. */
  | { readonly kind: "mask"; readonly plane: Float32Array };

/** Epsilon of both norms, PyTorch's default. */
const epsilon = 1e-5;

/** Rows that the language model gets of one image. */
export function imageRowCount({ clip, imageTokens }: MedplibConfig): number {
  return imageTokens ?? clipGrid(clip) ** 2;
}

/** Several images and masks for one pass each of the vision tower and the mask encoder. */
export interface VisualStack {
  /** Images, I. */
  readonly images: number;
  /** Inputs of the vision tower [I, 3, S, S], in their order. */
  readonly pixels: Float32Array<ArrayBuffer>;
  /** Masks, M. */
  readonly masks: number;
  /** Inputs of the mask encoder [M, 1, S, S], in their order. */
  readonly planes: Float32Array<ArrayBuffer>;
  /** Where the rows of every input lie in {@linkcode visualRows}, in the order of the inputs. */
  readonly spans: readonly { readonly start: number; readonly length: number }[];
}

/**
 * Sorts inputs into images and masks.
 *
 * @throws {InputError} code `UNSUPPORTED` for a mask where the model has no mask encoder.
 */
export function visualStack(inputs: readonly VisualInput[], config: MedplibConfig): VisualStack {
  const pixels: Float32Array[] = [], planes: Float32Array[] = [];
  for (const input of inputs) {
    if (input.kind === "image") pixels.push(input.pixels);
    else planes.push(input.plane);
  }
  const { maskTokens } = config;
  if (planes.length > 0 && maskTokens === undefined) {
    throw new InputError(
      "UNSUPPORTED",
      "Cannot encode a mask: this model has no mask encoder; give the mask as a picture",
    );
  }
  const imageTokens = imageRowCount(config);
  let image = 0, mask = 0;
  const spans = inputs.map(({ kind }) =>
    kind === "image"
      ? { start: imageTokens * image++, length: imageTokens }
      : { start: imageTokens * pixels.length + maskTokens! * mask++, length: maskTokens! }
  );
  return {
    images: pixels.length,
    pixels: joined(pixels),
    masks: planes.length,
    planes: joined(planes),
    spans,
  };
}

/**
 * `mm_token_compressor`: means over windows of neighbouring rows, in raster order and not in squares; LayerNorm; Linear.
 *
 * @param rows Projected rows of B images, [B * patches, H].
 * @param count Windows, that is rows left of each image; window i reaches from floor(i P / count) to ceil((i + 1) P / count).
 * @returns [B * count, H]
 */
export function compressRows(p: Parameters, rows: Tensor, images: number, count: number): Tensor {
  using scope = rows.device.scope();
  const width = rows.shape[1]!;
  const pooled = adaptiveAvgPool2d(rows.reshape(images, 1, -1, width), count, width);
  const part = p.at(names.compressor);
  const normed = normLayer(part, "norm", pooled.reshape(images * count, width), epsilon);
  return scope.keep(linearLayer(part, "proj", normed));
}

/**
 * `mask_encoder`: four 3x3 convolutions that halve the sides, exact GELU after each; means over windows of cells in raster
 * order; Linear; LayerNorm.
 *
 * @param masks [M, 1, S, S], 1 inside and 0 outside.
 * @param count Rows of each mask.
 * @param trace Gets `mask_encoder_conv`, [M, 256, ceil(S / 16), ceil(S / 16)].
 * @returns [M * count, H]
 */
export function maskRows(p: Parameters, masks: Tensor, count: number, trace?: Trace): Tensor {
  using scope = masks.device.scope();
  const part = p.at(names.maskEncoder);
  let x = masks;
  for (let n = 0; n < maskEncoderChannels.length; n++) {
    const name = `encoder.${2 * n}`;
    x = conv2d(x, part.tensor(`${name}.weight`), {
      bias: part.tensor(`${name}.bias`),
      stride: 2,
      padding: 1,
      activation: "gelu",
    });
  }
  trace?.("mask_encoder_conv", x);
  const [batch, channels] = x.shape as [number, number];
  const pooled = adaptiveAvgPool2d(x.reshape(batch, channels, 1, -1), 1, count);
  const cells = permute(pooled.reshape(batch, channels, count), [0, 2, 1])
    .reshape(batch * count, channels);
  return scope.keep(normLayer(part, "norm", linearLayer(part, "proj", cells), epsilon));
}

/** What the images and masks of a prompt become. */
export interface VisualRows {
  /** Rows of the images, then of the masks, [rows, H]. */
  readonly rows: Tensor;
  /** CLIP features of the images [I * patches, clip width], which regions are sampled from. */
  readonly features: Tensor;
}

/**
 * Rows that the language model reads: images through CLIP, projector and, where there is one, compressor; masks through
 * their encoder.
 *
 * @param stack At least one image.
 * @param trace Gets `clip_features`, `projected`, `compressed`, `mask_encoder_conv`, `mask_tokens`.
 */
export function visualRows(
  p: Parameters,
  { images, pixels, masks, planes }: Omit<VisualStack, "spans">,
  config: MedplibConfig,
  trace?: Trace,
): VisualRows {
  const { device } = p;
  const { clip: { imageSize: side }, imageTokens, maskTokens } = config;
  const input = tensor(device, pixels, [images, 3, side, side]);
  const planeInput = masks === 0 ? undefined : tensor(device, planes, [masks, 1, side, side]);
  using scope = device.scope();
  const features = clipFeatures(p, input, config);
  trace?.("clip_features", features);
  let rows = projectFeatures(p, features);
  trace?.("projected", rows);
  if (imageTokens !== undefined) {
    rows = compressRows(p, rows, images, imageTokens);
    trace?.("compressed", rows);
  }
  if (planeInput !== undefined) {
    const encoded = maskRows(p, planeInput, maskTokens!, trace);
    trace?.("mask_tokens", encoded);
    rows = concat([rows, encoded], 0);
  }
  const result = { rows: scope.keep(rows), features: scope.keep(features) };
  input.dispose();
  planeInput?.dispose();
  return result;
}
