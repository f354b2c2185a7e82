/**
 * Shorthands for parameter tables.
 *
 * @module
 */
import type { FloatDType } from "../checkpoint/mod.ts";
import type { Initialiser } from "./initialise.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { ParameterSpec } from "./parameters.ts";

/** Weights of transformers start normal with deviation 0.02 (BERT, GPT-2, LLaMA, CLIP). */
export const usualInit: Initialiser = { kind: "normal", std: 0.02 };

/**
 * How linear layers and convolutions start. `transformer`: weights normal with deviation 0.02, biases 0. `pytorch`: both
 * uniform within 1 / sqrt(fan-in), the default of PyTorch's modules, which keeps the size of what passes through.
 */
export type LayerInit = "transformer" | "pytorch";

/** Makes the specifications of one module, all names starting with its prefix. */
export interface SpecMaker {
  /** A tensor kept in f32. Default initialisation: normal, deviation 0.02. */
  tensor(name: string, shape: readonly number[], init?: Initialiser): ParameterSpec;
  /** `NAME.weight` of a linear layer, [rows, columns]. */
  matrix(name: string, rows: number, columns: number, keep?: "matrix" | "half"): ParameterSpec;
  /** `NAME.weight` [rows, columns] and `NAME.bias` [rows]. @param init Of the weight; the bias then starts at 0. */
  linear(name: string, rows: number, columns: number, init?: Initialiser): ParameterSpec[];
  /** `NAME.weight` of the given shape and `NAME.bias` of the given length: a convolution. */
  conv(name: string, shape: readonly number[], biases: number): ParameterSpec[];
  /** `NAME.weight` and `NAME.bias` of a LayerNorm, [size] each. */
  norm(name: string, size: number): ParameterSpec[];
}

/**
 * Makes specifications whose names start with a prefix.
 *
 * @param prefix Put in front of every name.
 * @param stored Element type in the official files.
 * @param layers How linear layers and convolutions start. Default `transformer`.
 */
export function specMaker(
  prefix: string,
  stored: FloatDType,
  layers: LayerInit = "transformer",
): SpecMaker {
  /** Of a layer whose weight has this shape, [out, in, ...]. */
  const layerInit = (shape: readonly number[]): Initialiser =>
    layers === "transformer"
      ? usualInit
      : { kind: "uniform", bound: 1 / Math.sqrt(elementCount(shape.slice(1))) };
  const tensor: SpecMaker["tensor"] = (name, shape, init = usualInit) => ({
    name: prefix + name,
    shape,
    keep: "tensor",
    stored,
    init,
  });
  const matrix: SpecMaker["matrix"] = (name, rows, columns, keep = "half") => ({
    name: `${prefix}${name}.weight`,
    shape: [rows, columns],
    keep,
    stored,
    init: layerInit([rows, columns]),
  });
  const bias = (name: string, size: number, init: Initialiser = { kind: "zeros" }) =>
    tensor(`${name}.bias`, [size], init);
  const layerBias = (name: string, size: number, shape: readonly number[]) =>
    layers === "transformer" ? bias(name, size) : bias(name, size, layerInit(shape));
  return {
    tensor,
    matrix,
    linear: (name, rows, columns, init) =>
      init === undefined
        ? [matrix(name, rows, columns), layerBias(name, rows, [rows, columns])]
        : [{ ...matrix(name, rows, columns), init }, bias(name, rows)],
    conv: (name, shape, biases) => [
      tensor(`${name}.weight`, shape, layerInit(shape)),
      layerBias(name, biases, shape),
    ],
    norm: (name, size) => [tensor(`${name}.weight`, [size], { kind: "ones" }), bias(name, size)],
  };
}
