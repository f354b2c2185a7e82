/**
 * A layer behind a trained tower begins with whitened inputs (data-dependent initialisation, after Krähenbühl et al., ICLR 2016):
 * most of what the patches of chest pictures have in common is where they are, and a small language model that sees the rest as a
 * few hundredths of its input does not learn to read it.
 *
 * @module
 */
import type { Parameters } from "@medvlm/core/nn";

/** Share of the mean variance that is added to every variance: what hardly varies is not blown up. */
const shrinkage = 0.003;

/** Mean and lower Cholesky factor of the covariance of rows. */
function moments(rows: Float32Array, width: number): { mean: Float64Array; factor: Float64Array } {
  const count = rows.length / width;
  const mean = new Float64Array(width), factor = new Float64Array(width * width);
  rows.forEach((value, i) => mean[i % width]! += value / count);
  const centred = new Float64Array(width);
  for (let row = 0; row < count; row++) {
    for (let i = 0; i < width; i++) centred[i] = rows[row * width + i]! - mean[i]!;
    for (let i = 0; i < width; i++) {
      for (let j = 0; j <= i; j++) factor[i * width + j]! += centred[i]! * centred[j]! / count;
    }
  }
  let trace = 0;
  for (let i = 0; i < width; i++) trace += factor[i * width + i]!;
  for (let i = 0; i < width; i++) factor[i * width + i]! += shrinkage * trace / width + 1e-12;
  for (let i = 0; i < width; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = factor[i * width + j]!;
      for (let k = 0; k < j; k++) sum -= factor[i * width + k]! * factor[j * width + k]!;
      factor[i * width + j] = i === j ? Math.sqrt(sum) : sum / factor[j * width + j]!;
    }
  }
  return { mean, factor };
}

/**
 * Replaces a linear layer by one whose every output has the same small variance over the given inputs: its rows, as they were
 * initialised, become directions among whitened inputs.
 *
 * @param layer Name of the layer; it has a weight [outputs, width] and a bias.
 * @param inputs Rows that the layer gets [n, width], n well above the width.
 * @param deviation Standard deviation of each output.
 */
export async function whitenLinear(
  parameters: Parameters,
  layer: string,
  inputs: Float32Array,
  deviation: number,
): Promise<void> {
  const weight = parameters.weight(`${layer}.weight`), bias = parameters.tensor(`${layer}.bias`);
  const values = await weight.readFloats();
  const { rows: outputs, columns: width } = weight;
  const { mean, factor } = moments(inputs, width);
  const shift = new Float32Array(outputs);
  for (let o = 0; o < outputs; o++) {
    const row = Float64Array.from(values.subarray(o * width, (o + 1) * width));
    const norm = Math.hypot(...row);
    // row L^-1, from the last column on: x L = row.
    for (let j = width - 1; j >= 0; j--) {
      let sum = row[j]! * deviation / norm;
      for (let i = j + 1; i < width; i++) sum -= row[i]! * factor[i * width + j]!;
      row[j] = sum / factor[j * width + j]!;
    }
    values.set(row, o * width);
    shift[o] = -row.reduce((sum, value, i) => sum + value * mean[i]!, 0);
  }
  weight.write(values);
  bias.write(shift);
}
