/**
 * Gradients of convolutions: what `conv.ts` notes on the tape.
 *
 * A convolution's input gradient is the transposed convolution of the gradient with the same weights, and the other way round.
 * The gradient of the weights is a matrix product over all pixels of all images, of one side unfolded (see `unfold.ts`).
 *
 * @module
 */
import { elementwiseGroups, lanesFor } from "../kernels/elementwise.ts";
import { unaryGradientProgram } from "../kernels/elementwise_gradient.ts";
import { unfoldProgram, type UnfoldSpec } from "../kernels/unfold.ts";
import { dispatchConv } from "./conv_dispatch.ts";
import { permute } from "./movement.ts";
import { sumPlanes } from "./norm_gradient.ts";
import { multiplyTensor } from "./product.ts";
import { sumRows } from "./reduction.ts";
import { accumulate } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";

/** A convolution that was computed. */
export interface ConvStep {
  /** [B, Ci, H, W] */
  readonly x: Tensor;
  /** [Co, Ci / groups, kh, kw], of a transposed one [Ci, Co, kh, kw]. */
  readonly weight: Tensor;
  /** The result, read only after a ReLU. */
  readonly y: Tensor;
  /** A ReLU was applied last. */
  readonly relu: boolean;
  readonly stride: number;
  readonly padding: number;
  readonly groups: number;
}

/** Gradients of input, weight and bias, in this order; those not wanted are undefined. */
export type ConvGradients = readonly [Tensor?, Tensor?, Tensor?];

type Wanted = readonly boolean[];

/** Images whose values lie any way in memory. */
interface Images {
  readonly tensor: Tensor;
  readonly batch: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly imageStride: number;
  readonly channelStride: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/** Images [B, C, H, W]. */
function planar(tensor: Tensor): Images {
  const [batch, channels, height, width] = tensor.shape as [number, number, number, number];
  return {
    tensor,
    batch,
    channels,
    height,
    width,
    imageStride: channels * height * width,
    channelStride: height * width,
    rowStride: width,
    columnStride: 1,
  };
}

/** The gradient before the ReLU, which lets through where its result is positive. */
function beforeRelu({ y, relu }: ConvStep, gradient: Tensor): Tensor {
  if (!relu) return gradient;
  const output = empty(y.device, y.shape, "f32", "relu gradient");
  const lanes = lanesFor(y.size);
  y.device.dispatch(
    unaryGradientProgram("relu", lanes),
    { input: y.range, gradient: gradient.range, output: output.range },
    { count: y.size / lanes },
    elementwiseGroups(y.size, lanes),
    { flops: y.size, bytes: 12 * y.size },
  );
  return output;
}

/**
 * Gradients of `conv2d`.
 *
 * @param words Most words of an unfolded matrix: a larger one is made and multiplied piece by piece. Default 64 MiB.
 */
export function convGradients(
  step: ConvStep,
  arrived: Tensor,
  [wantsX = false, wantsWeight = false, wantsBias = false]: Wanted,
  words: number = unfoldedWords,
): ConvGradients {
  const { x, weight, stride, padding, groups } = step;
  const gradient = beforeRelu(step, arrived);
  const [, , kh, kw] = weight.shape as [number, number, number, number];
  return [
    wantsX ? transposed(gradient, weight, x.shape, { kh, kw, stride, padding, groups }) : undefined,
    wantsWeight
      ? weightGradient(planar(gradient), planar(x), { kh, kw, stride, padding, groups }, words)
      : undefined,
    wantsBias ? sumPlanes(gradient) : undefined,
  ];
}

/** Gradients of `convTranspose2d`. */
export function convTransposeGradients(
  step: ConvStep,
  arrived: Tensor,
  [wantsX = false, wantsWeight = false, wantsBias = false]: Wanted,
): ConvGradients {
  const { x, weight, stride, padding } = step;
  const gradient = beforeRelu(step, arrived);
  const [inChannels, outChannels, kh, kw] = weight.shape as [number, number, number, number];
  const [batch, , height, width] = x.shape as [number, number, number, number];
  const [, , outHeight, outWidth] = gradient.shape as [number, number, number, number];
  let dx: Tensor | undefined;
  if (wantsX) {
    dx = empty(x.device, x.shape, "f32", "convTranspose2d gradient");
    // A 1x1 kernel sees no neighbours: all pixels become one long row, which tiles better.
    const flat = kh === 1 && kw === 1 && stride === 1 && padding === 0;
    const extents = flat
      ? { height: 1, width: height * width, outHeight: 1, outWidth: height * width }
      : { height: outHeight, width: outWidth, outHeight: height, outWidth: width };
    dispatchConv(
      { transposed: false, kh, kw, stride, bias: false },
      { x: gradient, weight, bias: undefined, y: dx },
      {
        batch,
        groups: 1,
        inChannels: outChannels,
        outChannels: inChannels,
        ...extents,
        padding,
        imageStride: inChannels * height * width,
        channelStride: height * width,
        pixelStride: 1,
      },
    );
  }
  return [
    dx,
    wantsWeight
      ? weightGradient(planar(x), planar(gradient), { kh, kw, stride, padding, groups: 1 })
      : undefined,
    wantsBias ? sumPlanes(gradient) : undefined,
  ];
}

/** Gradients of `patchEmbed`, `gradient` being [B, patches, N]. */
export function patchGradients(
  { x, weight, patch }: { readonly x: Tensor; readonly weight: Tensor; readonly patch: number },
  gradient: Tensor,
  [wantsX = false, wantsWeight = false, wantsBias = false]: Wanted,
): ConvGradients {
  const [batch, , height, width] = x.shape as [number, number, number, number];
  const outHeight = Math.floor(height / patch), outWidth = Math.floor(width / patch);
  const [, tokens, channels] = gradient.shape as [number, number, number];
  const geometry = { kh: patch, kw: patch, stride: patch, padding: 0, groups: 1 };
  // Nothing but an image's own tokens: the rows of a plane of tokens are channels.
  const image: Images = {
    tensor: gradient,
    batch,
    channels,
    height: outHeight,
    width: outWidth,
    imageStride: tokens * channels,
    channelStride: 1,
    rowStride: outWidth * channels,
    columnStride: channels,
  };
  const planes = () => permute(gradient, [0, 2, 1]).reshape(batch, channels, outHeight, outWidth);
  return [
    wantsX ? transposed(planes(), weight, x.shape, geometry) : undefined,
    wantsWeight ? weightGradient(image, planar(x), geometry) : undefined,
    wantsBias ? sumRows(gradient) : undefined,
  ];
}

/** Where the windows of a convolution lie. */
interface Geometry extends UnfoldSpec {
  readonly padding: number;
  readonly groups: number;
}

/** The input gradient of a convolution: its gradient spread by its weights over an input of the given shape. */
function transposed(
  gradient: Tensor,
  weight: Tensor,
  shape: readonly number[],
  { kh, kw, stride, padding, groups }: Geometry,
): Tensor {
  const [batch, channels, height, width] = shape as [number, number, number, number];
  const [, outChannels, outHeight, outWidth] = gradient.shape as [number, number, number, number];
  const dx = empty(gradient.device, shape, "f32", "convolution gradient");
  const flat = kh === 1 && kw === 1 && stride === 1 && padding === 0;
  const extents = flat
    ? { height: 1, width: height * width, outHeight: 1, outWidth: height * width }
    : { height: outHeight, width: outWidth, outHeight: height, outWidth: width };
  dispatchConv(
    { transposed: true, kh, kw, stride, bias: false },
    { x: gradient, weight, bias: undefined, y: dx },
    {
      batch,
      groups,
      inChannels: outChannels / groups,
      outChannels: channels / groups,
      ...extents,
      padding,
      imageStride: channels * height * width,
      channelStride: height * width,
      pixelStride: 1,
    },
  );
  return dx;
}

/** Words of an unfolded matrix at most. */
const unfoldedWords = 2 ** 24;

/** Words of the partial sums at most. */
const partialWords = 2 ** 22;

/**
 * dw[n, c, ky, kx] = sum over images and positions of left[n, position] times the pixel of `right` under that tap.
 *
 * @param left [B, N, Ho, Wo], what the kernel was multiplied with at every window position.
 * @param right [B, C, H, W], over which the windows slide.
 * @returns [N, C / groups * kh * kw]
 */
function weightGradient(
  left: Images,
  right: Images,
  geometry: Geometry,
  words = unfoldedWords,
): Tensor {
  const { device } = left.tensor;
  const { kh, kw, groups } = geometry;
  const taps = kh * kw, channels = right.channels / groups, columns = channels * taps;
  const pixels = left.height * left.width;
  const whole = Math.floor(words / (right.channels * taps * fours(pixels)));
  const images = Math.min(left.batch, Math.max(1, whole));
  const taken = whole > 0
    ? channels
    : Math.max(1, Math.floor(words / (groups * taps * fours(pixels))));
  let total: Tensor | undefined;
  for (let first = 0; first < left.batch; first += images) {
    const part = withSlabs(first, Math.min(images, left.batch - first));
    if (total === undefined) total = part;
    else accumulate(total, part);
  }
  return total ?? empty(device, [left.channels, columns], "f32", "weight gradient");

  /** The sum over some images. They are cut into slabs, whose sums run side by side. */
  function withSlabs(firstImage: number, count: number): Tensor {
    const most = Math.min(count, Math.max(1, Math.floor(partialWords / (left.channels * columns))));
    const perSlab = count <= most && isDirectCheaper()
      ? 1
      : Math.ceil(count / Math.min(most, wantedSlabs()));
    const slabs = Math.ceil(count / perSlab);
    using scope = device.scope();
    const range = { firstImage, endImage: firstImage + count, images: perSlab, slabs };
    const sums = empty(
      device,
      [slabs, left.channels * columns],
      "f32",
      "weight gradient",
    );
    const rows = unfold(left, pointwise, { ...range, firstChannel: 0, taken: left.channels });
    for (let firstChannel = 0; firstChannel < channels; firstChannel += taken) {
      using _patches = device.scope();
      const some = Math.min(taken, channels - firstChannel);
      const patches = unfold(right, geometry, { ...range, firstChannel, taken: some });
      const length = fours(perSlab * pixels), perGroup = left.channels / groups;
      multiplyTensor(
        device,
        { range: rows.range, rows: perGroup, batchStride: perGroup * length },
        { range: patches.range, transposed: true, batchStride: some * taps * length },
        {
          range: sums.range,
          stride: columns,
          firstColumn: firstChannel * taps,
          batchStride: perGroup * columns,
        },
        { rows: perGroup, columns: some * taps, inner: length },
        { batches: slabs * groups },
      );
    }
    return scope.keep(slabs === 1 ? sums : sumRows(sums));
  }

  /** Slabs that keep the device busy. */
  function wantedSlabs(): number {
    const { software } = device.capabilities;
    const side = software ? 32 : 64, busy = software ? 16 : 132;
    const tiles = Math.ceil(left.channels / groups / side) * Math.ceil(columns / side) * groups;
    return Math.ceil(busy / tiles);
  }

  /** Slabs of single images need no reordering of planes, but one partial sum per image. */
  function isDirectCheaper(): boolean {
    const spared = (isDirect(left, pointwise) ? left.channels * pixels : 0) +
      (isDirect(right, geometry) ? right.channels * pixels : 0);
    return spared > 2 * left.channels * columns;
  }

  function isDirect(images: Images, { kh, kw, stride, padding }: Geometry): boolean {
    const { height, width, channelStride, rowStride, columnStride } = images;
    return pixels % 4 === 0 && kh === 1 && kw === 1 && stride === 1 && padding === 0 &&
      columnStride === 1 && rowStride === width && channelStride === height * width;
  }

  function unfold(
    images: Images,
    geometry: Geometry,
    { slabs, ...range }: {
      firstImage: number;
      endImage: number;
      images: number;
      slabs: number;
      firstChannel: number;
      taken: number;
    },
  ): Tensor {
    const { tensor, batch: _, channels: all, ...source } = images;
    const { padding, groups, ...spec } = geometry;
    if (
      range.images === 1 && range.firstImage === 0 && groups * range.taken === all &&
      isDirect(images, geometry)
    ) {
      return tensor;
    }
    const rows = groups * range.taken * spec.kh * spec.kw;
    const length = fours(range.images * pixels);
    const u = empty(device, [slabs, rows, length], "f32", "unfolded");
    const count = u.size / 4;
    device.dispatch(
      unfoldProgram(spec),
      { input: tensor.range, output: u.range },
      {
        ...source,
        ...range,
        count,
        length,
        groups,
        channels: all / groups,
        outHeight: left.height,
        outWidth: left.width,
        padding,
      },
      [Math.ceil(count / 64)],
      { bytes: 8 * u.size },
    );
    return u;
  }
}

const pointwise: Geometry = { kh: 1, kw: 1, stride: 1, padding: 0, groups: 1 };

/** The next multiple of four. */
function fours(count: number): number {
  return 4 * Math.ceil(count / 4);
}
