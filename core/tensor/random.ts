/**
 * Seeded random tensors, the same bits on every device up to the accuracy of `log`, `sin` and `cos`.
 *
 * @module
 */
import type { Device } from "../device/mod.ts";
import { type Distribution, randomProgram, seedWords } from "../kernels/random.ts";
import { empty, type Tensor } from "./tensor.ts";

export { philox4x32, seedWords, uniformOf, type Words } from "../kernels/random.ts";

function draw(
  device: Device,
  distribution: Distribution,
  count: number,
  seed: number,
  stream: number,
  scale: number,
): Tensor {
  const [seedLow, seedHigh] = seedWords(seed);
  const output = empty(device, [count], "f32", distribution);
  device.dispatch(
    randomProgram(distribution),
    { output: output.range },
    { count, seedLow, seedHigh, stream, scale },
    [Math.ceil(count / 64)],
    { flops: 60 * count, bytes: 4 * count },
  );
  return output;
}

/**
 * Uniform numbers strictly between 0 and 1, [count].
 *
 * @param seed Whole number from 0 to 2^53 - 1.
 * @param stream Tells draws of the same seed apart, 0 to 2^32 - 1.
 */
export function uniforms(device: Device, count: number, seed: number, stream: number): Tensor {
  return draw(device, "uniform", count, seed, stream, 1);
}

/** Normal numbers with mean 0, [count]. Parameters as of {@linkcode uniforms}. */
export function gaussians(
  device: Device,
  count: number,
  seed: number,
  stream: number,
  std = 1,
): Tensor {
  return draw(device, "gaussian", count, seed, stream, std);
}

/** Standard Gumbel noise -log(-log(u)), [count]. Parameters as of {@linkcode uniforms}. */
export function gumbels(device: Device, count: number, seed: number, stream: number): Tensor {
  return draw(device, "gumbel", count, seed, stream, 1);
}
