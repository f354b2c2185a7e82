/**
 * Convolutions on tensors.
 *
 * @module
 */
import type { Capabilities, Program } from "../device/mod.ts";
import {
  type ConvParameters,
  convProgram,
  type ConvSpec,
  type ConvTiling,
} from "../kernels/conv.ts";
import { convTileProgram } from "../kernels/conv_tile.ts";
import type { Unary } from "../kernels/elementwise.ts";
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
  return y;
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

function dispatchConv(
  spec: ConvSpec,
  { x, weight, bias, y }: { x: Tensor; weight: Tensor; bias: Tensor | undefined; y: Tensor },
  sizes: Omit<ConvParameters, "gridHeight" | "gridWidth" | "blocks">,
): void {
  const { transposed, kh, kw, stride } = spec;
  const { batch, groups, inChannels, outChannels, outHeight, outWidth } = sizes;
  const { capabilities } = x.device;
  const phases = transposed ? stride * stride : 1;
  const gridHeight = transposed ? Math.ceil(outHeight / stride) : outHeight;
  const gridWidth = transposed ? Math.ceil(outWidth / stride) : outWidth;
  const planes = batch * phases;
  const launch = (program: Program, tiles: number, rows: number): void => {
    const blocks = Math.ceil(outChannels / rows);
    x.device.dispatch(
      program,
      { input: x.range, weight: weight.range, bias: (bias ?? weight).range, output: y.range },
      { ...sizes, gridHeight, gridWidth, blocks },
      [tiles, groups * blocks, planes],
      {
        flops: 2 * y.size * inChannels * kh * kw / phases,
        bytes: 4 * (x.size + weight.size + y.size),
      },
    );
  };
  if (!capabilities.software && outChannels >= 16) {
    const pixels = gridHeight * gridWidth;
    const large = Math.ceil(pixels / 64) * Math.ceil(outChannels / 64) * groups * planes;
    const side = large >= busyTiles ? 64 : 32;
    launch(convTileProgram(spec, side), Math.ceil(pixels / side), side);
  } else {
    const tiling = registerTiling(capabilities, outChannels, gridWidth);
    const tiles = gridHeight * Math.ceil(gridWidth / tiling.pixels);
    launch(convProgram(spec, tiling), Math.ceil(tiles / tiling.lanes), tiling.rows);
  }
}

/** Large tiles that occupy a large GPU; with fewer, smaller tiles spread the work better. */
const busyTiles = 256;

/** Register tiles as large as the shape allows; on software adapters with subgroups of one size weights are broadcast. */
function registerTiling(
  { software, subgroups, subgroupSizes: [smallest, largest] }: Capabilities,
  outChannels: number,
  gridWidth: number,
): ConvTiling {
  const most = software ? 8 : 4;
  const pixels = gridWidth > 4 ? most : gridWidth > 2 ? 4 : 2;
  const rows = outChannels > 8 ? 16 : outChannels > 4 ? 8 : outChannels > 1 ? 4 : 1;
  if (!software) return { lanes: 64, rows: Math.min(rows, 8), pixels, broadcast: false };
  const broadcast = subgroups && smallest === largest && 16 % smallest === 0 &&
    outChannels >= smallest;
  return broadcast
    ? { lanes: smallest, rows: Math.max(smallest, rows), pixels, broadcast }
    : { lanes: 8, rows, pixels, broadcast };
}
