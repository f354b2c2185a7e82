/**
 * Seeded random tensors, the same bits on every device up to the accuracy of `log`, `sin` and `cos`.
 *
 * @module
 */
import type { Device } from "../device/mod.ts";
import { dropoutProgram } from "../kernels/dropout.ts";
import { type Distribution, randomProgram, seedWords } from "../kernels/random.ts";
import { note } from "./tape.ts";
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

/**
 * Sets values to zero with probability `rate` and multiplies the others by 1 / (1 - rate). Which ones depends on the seed, the
 * stream and the place alone: value i is dropped where draw i of {@linkcode uniforms} is below the rate.
 *
 * @param x f32 of any shape.
 * @param rate From 0, which gives `x` itself, to 1, which gives zeros.
 * @param seed Whole number from 0 to 2^53 - 1.
 * @param stream Tells draws of the same seed apart, 0 to 2^32 - 1.
 * @throws {RangeError} when the rate is out of range, or for other dtypes.
 */
export function dropout(x: Tensor, rate: number, seed: number, stream: number): Tensor {
  if (!(rate >= 0 && rate <= 1) || x.dtype !== "f32") {
    throw new RangeError(
      `Cannot drop ${x.dtype} values with probability ${rate}: expected f32 and 0 to 1`,
    );
  }
  if (rate === 0) return x;
  const y = drop(x, rate, seed, stream);
  note({
    name: "dropout",
    inputs: [x],
    outputs: [y],
    saved: [],
    backward: ([gradient]) => [drop(gradient!, rate, seed, stream)],
  });
  return y;
}

function drop(x: Tensor, rate: number, seed: number, stream: number): Tensor {
  const [seedLow, seedHigh] = seedWords(seed);
  const y = empty(x.device, x.shape, "f32", "dropout");
  // Rounded here, so that host and device compare with the same number.
  const rounded = Math.fround(rate);
  x.device.dispatch(
    dropoutProgram(),
    { input: x.range, output: y.range },
    {
      count: x.size,
      seedLow,
      seedHigh,
      stream,
      rate: rounded,
      scale: rate < 1 ? 1 / (1 - rate) : 0,
    },
    [Math.ceil(x.size / 256)],
    { flops: 16 * x.size, bytes: 8 * x.size },
  );
  return y;
}
