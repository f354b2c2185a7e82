/**
 * Elementwise operations on tensors.
 *
 * @module
 */
import { type Binary, binaryProgram, type Unary, unaryProgram } from "../kernels/elementwise.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** f(x) element by element. Shape of `x`. */
export function unary(f: Unary, x: Tensor): Tensor {
  const y = empty(x.device, x.shape, "f32", f);
  x.device.dispatch(
    unaryProgram(f),
    { input: x.range, output: y.range },
    { count: x.size },
    [Math.ceil(x.size / 64)],
    { flops: 4 * x.size, bytes: 8 * x.size },
  );
  return y;
}

/**
 * f(a, b) element by element. `b` has the shape of `a` or of its last axes, over which it repeats. Shape of `a`.
 *
 * @throws {RangeError} when the shapes do not fit.
 */
export function binary(f: Binary, a: Tensor, b: Tensor): Tensor {
  const tail = b.shape.every((extent, i) =>
    extent === a.shape[a.shape.length - b.shape.length + i]
  );
  if (!tail || b.shape.length > a.shape.length) {
    throw new RangeError(
      `Cannot ${f} ${shapeText(a.shape)} and ${
        shapeText(b.shape)
      }: expected equal or trailing shapes`,
    );
  }
  const y = empty(a.device, a.shape, "f32", f);
  a.device.dispatch(
    binaryProgram(f),
    { left: a.range, right: b.range, output: y.range },
    { count: a.size, period: Math.max(1, b.size) },
    [Math.ceil(a.size / 64)],
    { flops: a.size, bytes: 8 * a.size + 4 * b.size },
  );
  return y;
}

/** a + b. See {@linkcode binary}. */
export function add(a: Tensor, b: Tensor): Tensor {
  return binary("add", a, b);
}

/** a * b. See {@linkcode binary}. */
export function multiply(a: Tensor, b: Tensor): Tensor {
  return binary("multiply", a, b);
}
