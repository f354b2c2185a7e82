/**
 * Layers looked up by name: a linear layer or a norm with the weight and bias below that name.
 *
 * @module
 */
import { linear, type LinearOptions } from "../tensor/linear.ts";
import { adaptedRows } from "../tensor/lora.ts";
import { layerNorm, layerNorm2d } from "../tensor/norm.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ParameterScope } from "./parameters.ts";

/** x W^T with `NAME.weight` and the adapters of that matrix; f32 [..., columns] to [..., rows]. */
export function projection(
  p: ParameterScope,
  name: string,
  x: Tensor,
  options: Omit<LinearOptions, "lora"> = {},
): Tensor {
  const matrix = `${name}.weight`;
  return linear(x, p.weight(matrix), { ...options, lora: p.adaptersOf(matrix) });
}

/** x W^T + b with `NAME.weight` and `NAME.bias`; f32 [..., columns] to [..., rows]. */
export function linearLayer(
  p: ParameterScope,
  name: string,
  x: Tensor,
  options: Omit<LinearOptions, "bias" | "lora"> = {},
): Tensor {
  return projection(p, name, x, { ...options, bias: p.tensor(`${name}.bias`) });
}

/** Rows of the table `NAME.weight`, with the adapters of that matrix, by number; i32 or u32 [n] to [n, columns]. */
export function lookup(p: ParameterScope, name: string, index: Tensor): Tensor {
  const matrix = `${name}.weight`;
  return adaptedRows(p.weight(matrix), index, p.adaptersOf(matrix));
}

/** LayerNorm over the last axis with `NAME.weight` and `NAME.bias`. */
export function normLayer(p: ParameterScope, name: string, x: Tensor, epsilon: number): Tensor {
  return layerNorm(x, p.tensor(`${name}.weight`), p.tensor(`${name}.bias`), epsilon);
}

/** LayerNorm over the channels of [B, C, H, W] with `NAME.weight` and `NAME.bias`. */
export function normLayer2d(p: ParameterScope, name: string, x: Tensor, epsilon: number): Tensor {
  return layerNorm2d(x, p.tensor(`${name}.weight`), p.tensor(`${name}.bias`), epsilon);
}
