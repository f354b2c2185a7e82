/**
 * Derivatives of the elementwise functions.
 *
 * Traffic: inputs and incoming gradient once, outgoing gradients once. Tiling as in `elementwise.ts`.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { elementwiseWgsl, erf, erfWgsl, type Lanes, lanesType, type Unary } from "./elementwise.ts";

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** f'(x) of every function of one argument. */
const derivatives = {
  // PyTorch's choice at the kink: no gradient at 0.
  relu: { wgsl: "select(0.0, 1.0, x > 0.0)", host: (x: number) => x > 0 ? 1 : 0 },
  sigmoid: { wgsl: "logistic(x) * logistic(-x)", host: (x: number) => sigmoid(x) * sigmoid(-x) },
  tanh: {
    wgsl: "4.0 * logistic(2.0 * x) * logistic(-2.0 * x)",
    host: (x: number) => 4 * sigmoid(2 * x) * sigmoid(-2 * x),
  },
  silu: {
    wgsl: "logistic(x) * (1.0 + x * logistic(-x))",
    host: (x: number) => sigmoid(x) * (1 + x * sigmoid(-x)),
  },
  quickGelu: {
    wgsl: "logistic(1.702 * x) * (1.0 + 1.702 * x * logistic(-1.702 * x))",
    host: (x: number) => sigmoid(1.702 * x) * (1 + 1.702 * x * sigmoid(-1.702 * x)),
  },
  gelu: {
    wgsl: "0.5 * (1.0 + erf(x * 0.7071067811865476)) + x * 0.3989422804014327 * exp(-0.5 * x * x)",
    host: (x: number) =>
      0.5 * (1 + erf(x * Math.SQRT1_2)) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI),
  },
} as const satisfies Record<Unary, { wgsl: string; host: (x: number) => number }>;

const logisticWgsl = "fn logistic(x: f32) -> f32 { return 1.0 / (1.0 + exp(-x)); }";

/** output[i] = gradient[i] * f'(input[i]); `count` in elements over lanes. */
export function unaryGradientProgram(f: Unary, lanes: Lanes): Program {
  return program(`unary gradient ${f} x${lanes}`, () => ({
    arrays: {
      input: { type: lanesType(lanes), access: "read" },
      gradient: { type: lanesType(lanes), access: "read" },
      output: { type: lanesType(lanes), access: "read_write" },
    },
    parameters: { count: "u32" },
    wgsl: elementwiseWgsl({
      inputs: { input: "i", gradient: "i" },
      outputs: { output: "gradient * slope(input)" },
      functions: `${erfWgsl}${logisticWgsl}\nfn slope(x: f32) -> f32 { return ${
        derivatives[f].wgsl
      }; }`,
    }, lanes),
    host({ input, gradient, output }, { count }) {
      const derivative = derivatives[f].host;
      for (let i = 0; i < lanes * count; i++) output[i] = gradient[i]! * derivative(input[i]!);
    },
  }));
}

/** Both gradients of silu(a) * b, for operands of equal size; `count` in elements over lanes. */
export function swigluGradientProgram(lanes: Lanes): Program {
  return program(`swiglu gradient x${lanes}`, () => ({
    arrays: {
      a: { type: lanesType(lanes), access: "read" },
      b: { type: lanesType(lanes), access: "read" },
      gradient: { type: lanesType(lanes), access: "read" },
      left: { type: lanesType(lanes), access: "read_write" },
      right: { type: lanesType(lanes), access: "read_write" },
    },
    parameters: { count: "u32" },
    wgsl: elementwiseWgsl({
      inputs: { a: "i", b: "i", gradient: "i" },
      outputs: {
        left: "gradient * b * logistic(a) * (1.0 + a * logistic(-a))",
        right: "gradient * a * logistic(a)",
      },
      functions: logisticWgsl,
    }, lanes),
    host({ a, b, gradient, left, right }, { count }) {
      for (let i = 0; i < lanes * count; i++) {
        const x = a[i]!, gate = sigmoid(x);
        left[i] = gradient[i]! * b[i]! * gate * (1 + x * sigmoid(-x));
        right[i] = gradient[i]! * x * gate;
      }
    },
  }));
}
