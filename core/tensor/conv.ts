/**
 * Convolutions on tensors.
 *
 * @module
 */
import type { ConvSpec } from "../kernels/conv.ts";
import type { Unary } from "../kernels/elementwise.ts";
import { dispatchConv } from "./conv_dispatch.ts";
import { convGradients, convTransposeGradients, patchGradients } from "./conv_gradient.ts";
import { unary } from "./elementwise.ts";
import { isDifferentiated, note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** What follows the sum of a convolution. */
export interface ConvEpilogue {
  /** Added per output channel, [Co]. */
  readonly bias?: Tensor;
  /** Applied last. */
  readonly activation?: Unary;
}

/** Options of {@linkcode convTranspose2d}. */
export interface ConvTransposeOptions extends ConvEpilogue {
  /** Distance of neighbouring input pixels in the output, both axes. Default 1. */
  readonly stride?: number;
  /** Pixels cut off at every border of the output. Default 0. */
  readonly padding?: number;
}

/** Options of {@linkcode conv2d}. */
export interface ConvOptions extends ConvEpilogue {
  /** Step between output pixels, both axes. Default 1. */
  readonly stride?: number;
  /** Zeros added at every border. Default 0. */
  readonly padding?: number;
  /** Channels are cut into this many independent groups. Default 1. */
  readonly groups?: number;
}

/**
 * Convolution (cross-correlation) with zero padding, as `torch.nn.functional.conv2d`.
 *
 * @param x [B, Ci, H, W]
 * @param weight [Co, Ci / groups, kh, kw], f32
 * @returns [B, Co, Ho, Wo] with Ho = floor((H + 2 padding - kh) / stride) + 1
 * @throws {RangeError} when shapes do not fit or the kernel is larger than the padded input.
 */
export function conv2d(x: Tensor, weight: Tensor, options: ConvOptions = {}): Tensor {
  const { stride = 1, padding = 0, groups = 1, bias, activation } = options;
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [outChannels, inChannels, kh, kw] = weight.shape as [number, number, number, number];
  if (
    x.shape.length !== 4 || weight.shape.length !== 4 || channels !== inChannels * groups ||
    outChannels % groups !== 0
  ) {
    throw new RangeError(
      `Cannot convolve ${shapeText(x.shape)} with ${shapeText(weight.shape)} in ${groups} ${
        groups === 1 ? "group" : "groups"
      }: expected [B, Ci, H, W] and [Co, Ci / groups, kh, kw]`,
    );
  }
  checkEpilogue("convolve", x, weight, stride, padding, bias, outChannels);
  const outHeight = Math.floor((height + 2 * padding - kh) / stride) + 1;
  const outWidth = Math.floor((width + 2 * padding - kw) / stride) + 1;
  if (outHeight < 1 || outWidth < 1) {
    throw new RangeError(
      `Cannot convolve ${shapeText(x.shape)} with ${
        shapeText(weight.shape)
      }: the kernel is larger than the input padded by ${padding}`,
    );
  }
  if (isTakenApart(activation, x, weight, bias)) {
    return unary(
      activation!,
      conv2d(x, weight, { stride, padding, groups, ...(bias && { bias }) }),
    );
  }
  const y = empty(x.device, [batch, outChannels, outHeight, outWidth], "f32", "conv2d");
  // A 1x1 kernel sees no neighbours: all pixels become one long row, which tiles better.
  const flat = kh === 1 && kw === 1 && stride === 1 && padding === 0;
  const [rows, columns] = flat ? [1, height * width] : [height, width];
  dispatchConv(
    { transposed: false, kh, kw, stride, ...epilogueOf(bias, activation) },
    { x, weight, bias, y },
    {
      batch,
      groups,
      inChannels,
      outChannels: outChannels / groups,
      height: rows,
      width: columns,
      outHeight: flat ? 1 : outHeight,
      outWidth: flat ? columns : outWidth,
      padding,
      imageStride: outChannels * outHeight * outWidth,
      channelStride: outHeight * outWidth,
      pixelStride: 1,
    },
  );
  note({
    name: "conv2d",
    inputs: [x, weight, bias],
    outputs: [y],
    saved: activation === undefined ? [x, weight] : [x, weight, y],
    backward: ([gradient], wanted) =>
      convGradients(
        { x, weight, y, relu: activation !== undefined, stride, padding, groups },
        gradient!,
        wanted,
      ),
  });
  return y;
}

/**
 * Transposed convolution, as `torch.nn.functional.conv_transpose2d`.
 *
 * @param x [B, Ci, H, W]
 * @param weight [Ci, Co, kh, kw], f32
 * @returns [B, Co, (H - 1) stride - 2 padding + kh, (W - 1) stride - 2 padding + kw]
 * @throws {RangeError} when shapes do not fit or nothing would be left.
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  options: ConvTransposeOptions = {},
): Tensor {
  const { stride = 1, padding = 0, bias, activation } = options;
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [inChannels, outChannels, kh, kw] = weight.shape as [number, number, number, number];
  if (x.shape.length !== 4 || weight.shape.length !== 4 || channels !== inChannels) {
    throw new RangeError(
      `Cannot convolve (transposed) ${shapeText(x.shape)} with ${
        shapeText(weight.shape)
      }: expected [B, Ci, H, W] and [Ci, Co, kh, kw]`,
    );
  }
  checkEpilogue("convolve (transposed)", x, weight, stride, padding, bias, outChannels);
  const outHeight = (height - 1) * stride - 2 * padding + kh;
  const outWidth = (width - 1) * stride - 2 * padding + kw;
  if (outHeight < 1 || outWidth < 1) {
    throw new RangeError(
      `Cannot convolve (transposed) ${shapeText(x.shape)} with ${
        shapeText(weight.shape)
      }: a padding of ${padding} leaves nothing`,
    );
  }
  if (isTakenApart(activation, x, weight, bias)) {
    return unary(
      activation!,
      convTranspose2d(x, weight, { stride, padding, ...(bias && { bias }) }),
    );
  }
  const y = empty(x.device, [batch, outChannels, outHeight, outWidth], "f32", "convTranspose2d");
  dispatchConv(
    { transposed: true, kh, kw, stride, ...epilogueOf(bias, activation) },
    { x, weight, bias, y },
    {
      batch,
      groups: 1,
      inChannels,
      outChannels,
      height,
      width,
      outHeight,
      outWidth,
      padding,
      imageStride: outChannels * outHeight * outWidth,
      channelStride: outHeight * outWidth,
      pixelStride: 1,
    },
  );
  note({
    name: "convTranspose2d",
    inputs: [x, weight, bias],
    outputs: [y],
    saved: activation === undefined ? [x, weight] : [x, weight, y],
    backward: ([gradient], wanted) =>
      convTransposeGradients(
        { x, weight, y, relu: activation !== undefined, stride, padding, groups: 1 },
        gradient!,
        wanted,
      ),
  });
  return y;
}

/**
 * Patch embedding of a vision transformer: a convolution whose stride is its kernel, with one token per patch as output.
 * Pixels right of and below the last whole patch are dropped.
 *
 * @param x [B, C, H, W]
 * @param weight [N, C * patch * patch], f32, a convolution's [N, C, patch, patch] flattened (or unflattened)
 * @param bias [N]
 * @returns [B, floor(H / patch) * floor(W / patch), N], patches row by row
 * @throws {RangeError} when shapes do not fit or there is no whole patch.
 */
export function patchEmbed(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  patch: number,
): Tensor {
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const outChannels = weight.shape[0] ?? 0;
  if (x.shape.length !== 4 || weight.size !== outChannels * channels * patch * patch) {
    throw new RangeError(
      `Cannot embed patches of ${patch} pixels of ${shapeText(x.shape)} with ${
        shapeText(weight.shape)
      }: expected [B, C, H, W] and [N, C * ${patch * patch}]`,
    );
  }
  checkEpilogue("embed patches", x, weight, patch, 0, bias, outChannels);
  const outHeight = Math.floor(height / patch), outWidth = Math.floor(width / patch);
  if (outHeight < 1 || outWidth < 1) {
    throw new RangeError(
      `Cannot embed patches of ${patch} pixels: ${shapeText(x.shape)} holds no whole patch`,
    );
  }
  const y = empty(x.device, [batch, outHeight * outWidth, outChannels], "f32", "patchEmbed");
  dispatchConv(
    {
      transposed: false,
      kh: patch,
      kw: patch,
      stride: patch,
      ...epilogueOf(bias, undefined),
    },
    { x, weight, bias, y },
    {
      batch,
      groups: 1,
      inChannels: channels,
      outChannels,
      height,
      width,
      outHeight,
      outWidth,
      padding: 0,
      imageStride: outHeight * outWidth * outChannels,
      channelStride: 1,
      pixelStride: outChannels,
    },
  );
  note({
    name: "patchEmbed",
    inputs: [x, weight, bias],
    outputs: [y],
    saved: [x, weight],
    backward: ([gradient], wanted) => patchGradients({ x, weight, patch }, gradient!, wanted),
  });
  return y;
}

/**
 * Whether an activation must follow on its own, so that its input is there for its gradient. The derivative of a ReLU can be
 * told from its output.
 */
function isTakenApart(
  activation: Unary | undefined,
  ...inputs: readonly (Tensor | undefined)[]
): boolean {
  return activation !== undefined && activation !== "relu" && isDifferentiated(...inputs);
}

function checkEpilogue(
  what: string,
  x: Tensor,
  weight: Tensor,
  stride: number,
  padding: number,
  bias: Tensor | undefined,
  outChannels: number,
): void {
  const detail = x.dtype !== "f32" || weight.dtype !== "f32"
    ? `dtypes ${x.dtype} and ${weight.dtype}, expected f32`
    : !Number.isInteger(stride) || stride < 1
    ? `stride ${stride}, expected a positive integer`
    : !Number.isInteger(padding) || padding < 0
    ? `padding ${padding}, expected 0 or a positive integer`
    : bias !== undefined && bias.size !== outChannels
    ? `bias ${shapeText(bias.shape)}, expected [${outChannels}]`
    : undefined;
  if (detail !== undefined) {
    throw new RangeError(
      `Cannot ${what} ${shapeText(x.shape)} with ${shapeText(weight.shape)}: ${detail}`,
    );
  }
}

function epilogueOf(
  bias: Tensor | undefined,
  activation: Unary | undefined,
): Pick<ConvSpec, "bias" | "activation"> {
  return { bias: bias !== undefined, ...(activation === undefined ? {} : { activation }) };
}
