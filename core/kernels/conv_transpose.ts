/**
 * Transposed convolution: y[b, n, oy, ox] = f(bias[n] + sum of w[c, n, ky, kx] x[b, c, iy, ix] over all taps with
 * oy = iy s - p + ky and ox = ix s - p + kx), the adjoint of a convolution with the same kernel, stride and padding.
 *
 * Shapes: x [B, G C, H, W], w [G C, N, kh, kw], y [B, G N, (H - 1) s - 2 p + kh, (W - 1) s - 2 p + kw], or any other height
 * and width: what lies beyond is 0 (plus the bias), as the gradient of a convolution wants it whose last window ends early.
 * FLOPs: 2 B N C H W kh kw. Nothing is scattered: output pixels with the same (oy + p) mod s and (ox + p) mod s form a
 * phase, and a phase is an ordinary convolution with every s-th tap (tap t reads input q - t, where q = (oy + p) div s).
 * So the kernels of `conv.ts` and `conv_tile.ts` run it, one phase per z workgroup. Kernels whose size is not a multiple of
 * the stride have phases with fewer taps: the missing ones weigh 0.
 *
 * @module
 */
import type { ConvParameters, ConvSpec } from "./conv.ts";
import { type ConvHostArrays, storeRow } from "./conv_host.ts";
import { unaryFunctions } from "./elementwise.ts";

/** Typed-array twin: sums row by row in double precision. */
export function convTransposeHost(
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
      const firstChannel = Math.floor(n / outChannels) * inChannels;
      for (let oy = 0; oy < outHeight; oy++) {
        sums.fill(biased ? bias[n]! : 0);
        for (let ky = (oy + padding) % stride; ky < kh; ky += stride) {
          const y = (oy + padding - ky) / stride;
          if (y < 0 || y >= height) continue;
          for (let c = firstChannel; c < firstChannel + inChannels; c++) {
            const row = ((image * groups * inChannels + c) * height + y) * width;
            const taps = ((c * outChannels + n % outChannels) * kh + ky) * kw;
            for (let kx = 0; kx < kw; kx++) {
              const w = weight[taps + kx]!;
              const shift = kx - padding;
              const from = Math.max(0, Math.ceil(-shift / stride));
              const to = Math.min(width, Math.floor((outWidth - 1 - shift) / stride) + 1);
              for (let x = from, at = from * stride + shift; x < to; x++, at += stride) {
                sums[at]! += w * input[row + x]!;
              }
            }
          }
        }
        storeRow(sums, finish, output, parameters, image, n, oy);
      }
    }
  }
}
