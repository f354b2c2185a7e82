/**
 * Typed-array twin of the convolution kernels.
 *
 * @module
 */
import type { ConvParameters, ConvSpec } from "./conv.ts";
import { unaryFunctions } from "./elementwise.ts";

/** Arrays of a convolution on the host. */
export interface ConvHostArrays {
  readonly input: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
  readonly output: Float32Array;
}

/** Sums row by row in double precision: the inner loop runs along the output row with one weight. */
export function convHost(
  { kh, kw, stride, bias: biased, activation }: ConvSpec,
  { input, weight, bias, output }: ConvHostArrays,
  parameters: ConvParameters,
): void {
  const { batch, groups, inChannels, outChannels, height, width, outHeight, outWidth, padding } =
    parameters;
  const finish = activation === undefined ? undefined : unaryFunctions[activation].host;
  const sums = new Float64Array(outWidth);
  for (let image = 0; image < batch; image++) {
    for (let n = 0; n < groups * outChannels; n++) {
      const firstPlane = (image * groups + Math.floor(n / outChannels)) * inChannels;
      for (let oy = 0; oy < outHeight; oy++) {
        sums.fill(biased ? bias[n]! : 0);
        for (let c = 0; c < inChannels; c++) {
          for (let ky = 0; ky < kh; ky++) {
            const y = oy * stride - padding + ky;
            if (y < 0 || y >= height) continue;
            const row = ((firstPlane + c) * height + y) * width - padding;
            const taps = ((n * inChannels + c) * kh + ky) * kw;
            for (let kx = 0; kx < kw; kx++) {
              const w = weight[taps + kx]!;
              const from = Math.max(0, Math.ceil((padding - kx) / stride));
              const to = Math.min(
                outWidth,
                Math.floor((width - 1 + padding - kx) / stride) + 1,
              );
              for (let ox = from, at = row + from * stride + kx; ox < to; ox++, at += stride) {
                sums[ox]! += w * input[at]!;
              }
            }
          }
        }
        storeRow(sums, finish, output, parameters, image, n, oy);
      }
    }
  }
}

/** Applies the activation to a row of sums and stores it with the output's strides. */
export function storeRow(
  sums: Float64Array,
  finish: ((x: number) => number) | undefined,
  output: Float32Array,
  { imageStride, channelStride, pixelStride, outWidth }: ConvParameters,
  image: number,
  n: number,
  oy: number,
): void {
  let at = image * imageStride + n * channelStride + oy * outWidth * pixelStride;
  for (let ox = 0; ox < outWidth; ox++, at += pixelStride) {
    output[at] = finish === undefined ? sums[ox]! : finish(sums[ox]!);
  }
}
