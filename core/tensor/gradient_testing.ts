/**
 * Gradient checks: the vector-Jacobian product of an operation against central differences of the same function written
 * in double precision.
 *
 * @module
 */
import type { Device } from "../device/mod.ts";
import { assertCloseTo, normals } from "../kernels/kernel_testing.ts";
import { multiply } from "./elementwise.ts";
import { sumRows } from "./reduction.ts";
import { type Differentiable, differentiate } from "./tape.ts";
import { type Tensor, tensor } from "./tensor.ts";
import { weight, type WeightDType } from "./weight.ts";

/** An input of the operation under test. */
export interface CheckedInput {
  /** Extents; a weight has two. */
  readonly shape: readonly number[];
  /** Values. Default: seeded numbers, roughly normal. */
  readonly values?: Float32Array<ArrayBuffer>;
  /** A matrix in the packed layout of linear layers, in this storage. Default: a tensor. */
  readonly weight?: WeightDType;
  /** Not differentiated. Default false. */
  readonly constant?: boolean;
}

/** What a gradient check compares. */
export interface GradientCheck<I extends Record<string, CheckedInput>> {
  /** By name. */
  readonly inputs: I;
  /** The operation on tensors (and weights where the input says so). */
  // deno-lint-ignore no-explicit-any
  readonly operation: (inputs: any) => Tensor;
  /** The same function on plain numbers, in double precision; flat result. */
  readonly reference: (inputs: { [K in keyof I]: Float64Array }) => ArrayLike<number>;
  /** Step of the central difference. Default 1e-4. */
  readonly step?: number;
  /** Largest absolute error plus the same fraction of the expected value. Default 2e-4. */
  readonly tolerance?: number;
  /** In messages. */
  readonly what?: string;
}

/**
 * Checks the value of the operation and the gradient of a random weighting of its outputs with respect to every input that
 * is not constant. Costs two reference evaluations per input element: keep shapes small and odd.
 */
export async function checkGradients<I extends Record<string, CheckedInput>>(
  device: Device,
  { inputs, operation, reference, step = 1e-4, tolerance = 2e-4, what = "" }: GradientCheck<I>,
): Promise<void> {
  const names = Object.keys(inputs) as (keyof I & string)[];
  const values = {} as { [K in keyof I]: Float64Array };
  const onDevice: Record<string, Differentiable> = {};
  for (const [n, name] of names.entries()) {
    const input = inputs[name]!;
    const count = input.shape.reduce((product, extent) => product * extent, 1);
    const floats = input.values ?? normals(count, 17 * n + count);
    if (input.weight === undefined) {
      onDevice[name] = tensor(device, floats, input.shape);
      values[name] = Float64Array.from(floats);
    } else {
      const [rows, columns] = input.shape as [number, number];
      const matrix = onDevice[name] = weight(device, floats, rows, columns, input.weight);
      // Narrow storage rounds: the reference works on what is stored.
      values[name] = Float64Array.from(await matrix.readFloats());
    }
  }
  const expected = reference(values);
  const weights = normals(expected.length, 4711);
  const leaves = names.filter((name) => inputs[name]!.constant !== true);
  let output: Promise<Float32Array<ArrayBuffer>>;
  const { value, gradients } = differentiate(
    device,
    leaves.map((name) => onDevice[name]!),
    () => {
      const y = operation(onDevice);
      output = y.readFloats();
      const weighting = tensor(device, weights, [expected.length]);
      return sumRows(multiply(y.reshape(-1), weighting).reshape(-1, 1));
    },
  );
  assertCloseTo(await output!, expected, {
    atol: tolerance,
    rtol: tolerance,
    nmse: 1e-8,
    what: `${what} value`,
  });
  for (const [i, name] of leaves.entries()) {
    const gradient = gradients[i];
    if (gradient === undefined) throw new Error(`${what}: no gradient of ${name}`);
    const actual = await gradient.readFloats();
    gradient.dispose();
    assertCloseTo(actual, centralDifferences(values, name, reference, weights, step), {
      atol: tolerance,
      rtol: tolerance,
      nmse: 1e-6,
      what: `${what} gradient of ${name}`,
    });
  }
  value.dispose();
  for (const name of names) onDevice[name]!.dispose();
}

function centralDifferences<I>(
  values: { [K in keyof I]: Float64Array },
  name: keyof I,
  reference: (inputs: { [K in keyof I]: Float64Array }) => ArrayLike<number>,
  weights: ArrayLike<number>,
  step: number,
): Float64Array {
  const input = values[name];
  const weighted = () => {
    const y = reference(values);
    let sum = 0;
    for (let i = 0; i < weights.length; i++) sum += weights[i]! * y[i]!;
    return sum;
  };
  return Float64Array.from(input, (original, i) => {
    input[i] = original + step;
    const above = weighted();
    input[i] = original - step;
    const below = weighted();
    input[i] = original;
    return (above - below) / (2 * step);
  });
}
