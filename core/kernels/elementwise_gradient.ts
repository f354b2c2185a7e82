/**
 * Derivatives of the elementwise functions.
 *
 * Traffic: inputs and incoming gradient once, outgoing gradients once. Tiling: 64 invocations, one element each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { erf, erfWgsl, type Unary } from "./elementwise.ts";

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

const mainWgsl = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }`;

/** output[i] = gradient[i] * f'(input[i]) for i < count. Dispatch ceil(count / 64). */
export function unaryGradientProgram(f: Unary): Program {
  return program(`unary gradient ${f}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      gradient: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32" },
    wgsl: `${erfWgsl}${logisticWgsl}${mainWgsl}
  let x = input[i];
  output[i] = gradient[i] * (${derivatives[f].wgsl});
}`,
    host({ input, gradient, output }, { count }) {
      const derivative = derivatives[f].host;
      for (let i = 0; i < count; i++) output[i] = gradient[i]! * derivative(input[i]!);
    },
  }));
}

/**
 * Both gradients of silu(a) * b, for operands of equal size: outputs `left` and `right`. Dispatch ceil(count / 64).
 */
export function swigluGradientProgram(): Program {
  return program("swiglu gradient", () => ({
    arrays: {
      a: { type: "f32", access: "read" },
      b: { type: "f32", access: "read" },
      gradient: { type: "f32", access: "read" },
      left: { type: "f32", access: "read_write" },
      right: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32" },
    wgsl: `${logisticWgsl}${mainWgsl}
  let x = a[i];
  let gate = logistic(x);
  left[i] = gradient[i] * b[i] * gate * (1.0 + x * logistic(-x));
  right[i] = gradient[i] * x * gate;
}`,
    host({ a, b, gradient, left, right }, { count }) {
      for (let i = 0; i < count; i++) {
        const x = a[i]!, gate = sigmoid(x);
        left[i] = gradient[i]! * b[i]! * gate * (1 + x * sigmoid(-x));
        right[i] = gradient[i]! * x * gate;
      }
    },
  }));
}
