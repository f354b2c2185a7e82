/**
 * Shorthands for parameter tables.
 *
 * @module
 */
import type { Initialiser } from "./initialise.ts";
import type { ParameterSpec } from "./parameters.ts";

/** Weights of transformers start normal with deviation 0.02 (BERT, GPT-2, LLaMA, CLIP). */
export const usualInit: Initialiser = { kind: "normal", std: 0.02 };

/** Makes the specifications of one module, all names starting with its prefix. */
export interface SpecMaker {
  /** A tensor kept in f32. Default initialisation: normal, deviation 0.02. */
  tensor(name: string, shape: readonly number[], init?: Initialiser): ParameterSpec;
  /** `NAME.weight` of a linear layer, [rows, columns]. */
  matrix(name: string, rows: number, columns: number, keep?: "matrix" | "half"): ParameterSpec;
  /** `NAME.weight` [rows, columns] and `NAME.bias` [rows]. */
  linear(name: string, rows: number, columns: number): ParameterSpec[];
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
 */
export function specMaker(prefix: string, stored: "F32" | "BF16"): SpecMaker {
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
    init: usualInit,
  });
  const bias = (name: string, size: number) => tensor(`${name}.bias`, [size], { kind: "zeros" });
  return {
    tensor,
    matrix,
    linear: (name, rows, columns) => [matrix(name, rows, columns), bias(name, rows)],
    conv: (name, shape, biases) => [tensor(`${name}.weight`, shape), bias(name, biases)],
    norm: (name, size) => [tensor(`${name}.weight`, [size], { kind: "ones" }), bias(name, size)],
  };
}
