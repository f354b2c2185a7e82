/**
 * Elementwise operations on tensors.
 *
 * @module
 */
import {
  affineProgram,
  type Binary,
  binaryProgram,
  elementwiseGroups,
  lanesFor,
  type Unary,
  unaryProgram,
} from "../kernels/elementwise.ts";
import { swigluGradientProgram, unaryGradientProgram } from "../kernels/elementwise_gradient.ts";
import { sumRows } from "./reduction.ts";
import { isDifferentiated, note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** f(x) element by element. Shape of `x`. */
export function unary(f: Unary, x: Tensor): Tensor {
  const y = empty(x.device, x.shape, "f32", f);
  const lanes = lanesFor(x.size);
  x.device.dispatch(
    unaryProgram(f, lanes),
    { input: x.range, output: y.range },
    { count: x.size / lanes },
    elementwiseGroups(x.size, lanes),
    { flops: 4 * x.size, bytes: 8 * x.size },
  );
  note({
    name: f,
    inputs: [x],
    outputs: [y],
    saved: [x],
    backward: ([gradient]) => [unaryGradient(f, x, gradient!)],
  });
  return y;
}

function unaryGradient(f: Unary, x: Tensor, gradient: Tensor): Tensor {
  const output = empty(x.device, x.shape, "f32", `${f} gradient`);
  const lanes = lanesFor(x.size);
  x.device.dispatch(
    unaryGradientProgram(f, lanes),
    { input: x.range, gradient: gradient.range, output: output.range },
    { count: x.size / lanes },
    elementwiseGroups(x.size, lanes),
    { flops: 8 * x.size, bytes: 12 * x.size },
  );
  return output;
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
  const lanes = lanesFor(a.size, b.size);
  a.device.dispatch(
    binaryProgram(f, lanes),
    { left: a.range, right: b.range, output: y.range },
    { count: a.size / lanes, period: Math.max(1, b.size / lanes) },
    elementwiseGroups(a.size, lanes),
    { flops: a.size, bytes: 8 * a.size + 4 * b.size },
  );
  note({
    name: f,
    inputs: [a, b],
    outputs: [y],
    saved: f === "swiglu"
      ? [a, b]
      : f === "multiply"
      ? [...isDifferentiated(a) ? [b] : [], ...isDifferentiated(b) ? [a] : []]
      : [],
    backward: ([gradient], [wantsA, wantsB]) => {
      const [left, right] = binaryGradients[f](a, b, gradient!);
      return [wantsA ? left() : undefined, wantsB ? overRepeats(right(), b) : undefined];
    },
  });
  return y;
}

/** Sums the gradient of a repeated operand over its repeats. */
function overRepeats(gradient: Tensor, operand: Tensor): Tensor {
  return gradient.size === operand.size ? gradient : sumRows(gradient.reshape(-1, operand.size));
}

/** Makers of the gradient of `a`, and of that of `b` before it is summed over its repeats. */
type BinaryGradient = (
  a: Tensor,
  b: Tensor,
  gradient: Tensor,
) => readonly [() => Tensor, () => Tensor];

const binaryGradients: Readonly<Record<Binary, BinaryGradient>> = {
  add: (_a, _b, gradient) => [() => gradient, () => gradient],
  subtract: (_a, _b, gradient) => [() => gradient, () => scale(gradient, -1)],
  multiply: (a, b, gradient) => [() => multiply(gradient, b), () => multiply(gradient, a)],
  swiglu(a, b, gradient) {
    if (b.size !== a.size) {
      throw new RangeError(
        `Cannot differentiate swiglu of ${shapeText(a.shape)} and ${
          shapeText(b.shape)
        }: expected equal shapes`,
      );
    }
    const left = empty(a.device, a.shape, "f32", "swiglu gradient");
    const right = empty(a.device, a.shape, "f32", "swiglu gradient");
    const lanes = lanesFor(a.size);
    a.device.dispatch(
      swigluGradientProgram(lanes),
      {
        a: a.range,
        b: b.range,
        gradient: gradient.range,
        left: left.range,
        right: right.range,
      },
      { count: a.size / lanes },
      elementwiseGroups(a.size, lanes),
      { flops: 16 * a.size, bytes: 20 * a.size },
    );
    return [() => left, () => right];
  },
};

/** a + b. See {@linkcode binary}. */
export function add(a: Tensor, b: Tensor): Tensor {
  return binary("add", a, b);
}

/** a * b. See {@linkcode binary}. */
export function multiply(a: Tensor, b: Tensor): Tensor {
  return binary("multiply", a, b);
}

/** factor * x + offset, element by element. */
export function scale(x: Tensor, factor: number, offset = 0): Tensor {
  const y = empty(x.device, x.shape, "f32", "scaled");
  const lanes = lanesFor(x.size);
  x.device.dispatch(
    affineProgram(lanes),
    { input: x.range, output: y.range },
    { count: x.size / lanes, factor, offset },
    elementwiseGroups(x.size, lanes),
    { flops: 2 * x.size, bytes: 8 * x.size },
  );
  note({
    name: "scale",
    inputs: [x],
    outputs: [y],
    saved: [],
    backward: ([gradient]) => [scale(gradient!, factor)],
  });
  return y;
}
