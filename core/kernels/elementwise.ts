/**
 * Elementwise kernels: y[i] = f(a[i]) and y[i] = f(a[i], b[i mod period]).
 *
 * Traffic: one read per input and one write per element; FLOPs as counted per function below (they are bound by memory).
 * Tiling: 64 invocations, one element each or four where every count is a multiple of four; `b` repeats with its own
 * length, which covers biases over the last axis and full-size operands alike.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** Name of a function of one argument. */
export type Unary = "relu" | "sigmoid" | "tanh" | "silu" | "quickGelu" | "gelu";

/** The functions of one argument, in WGSL and on the host. */
export const unaryFunctions = {
  relu: { wgsl: "max(x, 0.0)", host: (x: number): number => Math.max(x, 0) },
  // exp of a large positive number is infinite and 1 / inf is 0: both ends saturate without NaN.
  sigmoid: { wgsl: "1.0 / (1.0 + exp(-x))", host: (x: number): number => 1 / (1 + Math.exp(-x)) },
  tanh: { wgsl: "tanh(clamp(x, -15.0, 15.0))", host: (x: number): number => Math.tanh(x) },
  /** x * sigmoid(x). */
  silu: { wgsl: "x / (1.0 + exp(-x))", host: (x: number): number => x / (1 + Math.exp(-x)) },
  /** x * sigmoid(1.702 x), OpenAI CLIP's activation. */
  quickGelu: {
    wgsl: "x / (1.0 + exp(-1.702 * x))",
    host: (x: number): number => x / (1 + Math.exp(-1.702 * x)),
  },
  /** Exact GELU, x * Phi(x) with the error function. */
  gelu: {
    wgsl: "0.5 * x * (1.0 + erf(x * 0.7071067811865476))",
    host: (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  },
} as const satisfies Record<Unary, { wgsl: string; host: (x: number) => number }>;

/** WGSL `erf`, to be included once by every kernel that applies an activation. Absolute error below 5e-7. */
export const erfWgsl = /* wgsl */ `
fn erf(x: f32) -> f32 {
  let a = abs(x);
  if (a < 1.0) {
    let s = x * x;
    return x * (1.1283791671 + s * (-0.3761263890 + s * (0.1128379167 + s * (-0.0268661706 + s * (0.0052239776 +
      s * (-0.0008548327 + s * (0.0001205533 - s * 0.0000149257)))))));
  }
  // Complementary error function as exp(-a^2) * rational(1 / (1 + p a)), Abramowitz and Stegun 7.1.26 refined.
  let t = 1.0 / (1.0 + 0.5 * a);
  let tail = t * exp(-a * a - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 +
    t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))));
  return select(1.0 - tail, tail - 1.0, x < 0.0);
}
`;

/** The error function in double precision: series near 0, continued fraction in the tails. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= -x * x / n;
      sum += term / (2 * n + 1);
    }
    return sum * 2 / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction);
  const tail = Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction);
  return Math.sign(x) * (1 - tail);
}

/** Elements of one invocation: four at a time where every count is a multiple of four. */
export type Lanes = 1 | 4;

/** Four elements at a time if all counts allow. */
export function lanesFor(...counts: number[]): Lanes {
  return counts.every((count) => count % 4 === 0) ? 4 : 1;
}

/** Workgroups of an elementwise kernel. */
export function elementwiseGroups(count: number, lanes: Lanes): readonly [number] {
  return [Math.ceil(count / lanes / 64)];
}

/** WGSL of a kernel whose outputs are functions of inputs at the same place. */
export interface Elementwise {
  /** Arrays read, and where: an expression of `i`, which counts invocations. */
  readonly inputs: Readonly<Record<string, string>>;
  /** Arrays written, each a scalar expression of the inputs by their names. */
  readonly outputs: Readonly<Record<string, string>>;
  /** Definitions that the expressions use. */
  readonly functions?: string;
}

/** Element type of the arrays. */
export function lanesType(lanes: Lanes): "vec4<f32>" | "f32" {
  return lanes === 4 ? "vec4<f32>" : "f32";
}

/** The kernel; `params.count` counts invocations, that is elements over lanes. */
export function elementwiseWgsl(
  { inputs, outputs, functions = "" }: Elementwise,
  lanes: Lanes,
): string {
  const names = Object.keys(inputs);
  const parameters = names.map((name) => `${name}_: f32`).join(", ");
  const scalar = (expression: string) =>
    names.reduce(
      (text, name) => text.replaceAll(new RegExp(`\\b${name}\\b`, "g"), `${name}_`),
      expression,
    );
  const definitions = Object.entries(outputs).map(([name, expression]) =>
    `fn ${name}Of(${parameters}) -> f32 { return ${scalar(expression)}; }`
  );
  const call = (name: string, component: string) =>
    `${name}Of(${names.map((input) => `${input}Value${component}`).join(", ")})`;
  const stores = Object.keys(outputs).map((name) =>
    lanes === 1
      ? `${name}[i] = ${call(name, "")};`
      : `${name}[i] = vec4<f32>(${[".x", ".y", ".z", ".w"].map((c) => call(name, c)).join(", ")});`
  );
  return /* wgsl */ `
${functions}
${definitions.join("\n")}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
${names.map((name) => `  let ${name}Value = ${name}[${inputs[name]}];`).join("\n")}
  ${stores.join("\n  ")}
}`;
}

/** y[i] = f(x[i]); `count` in elements over lanes. Dispatch {@linkcode elementwiseGroups}. */
export function unaryProgram(f: Unary, lanes: Lanes): Program {
  return program(`unary ${f} x${lanes}`, () => ({
    arrays: {
      input: { type: lanesType(lanes), access: "read" },
      output: { type: lanesType(lanes), access: "read_write" },
    },
    parameters: { count: "u32" },
    wgsl: elementwiseWgsl({
      inputs: { input: "i" },
      outputs: { output: "evaluate(input)" },
      functions: `${erfWgsl}\nfn evaluate(x: f32) -> f32 { return ${unaryFunctions[f].wgsl}; }`,
    }, lanes),
    host({ input, output }, { count }) {
      const apply = unaryFunctions[f].host;
      for (let i = 0; i < lanes * count; i++) output[i] = apply(input[i]!);
    },
  }));
}

/** Name of a function of two arguments. */
export type Binary = "add" | "subtract" | "multiply" | "swiglu";

/** The functions of two arguments. */
export const binaryFunctions = {
  add: { wgsl: "a + b", host: (a: number, b: number): number => a + b },
  subtract: { wgsl: "a - b", host: (a: number, b: number): number => a - b },
  multiply: { wgsl: "a * b", host: (a: number, b: number): number => a * b },
  /** silu(a) * b, the gated unit of LLaMA's feed-forward layer. */
  swiglu: {
    wgsl: "a / (1.0 + exp(-a)) * b",
    host: (a: number, b: number): number => a / (1 + Math.exp(-a)) * b,
  },
} as const satisfies Record<Binary, { wgsl: string; host: (a: number, b: number) => number }>;

/** y[i] = f(a[i], b[i mod period]); `count` and `period` in elements over lanes. */
export function binaryProgram(f: Binary, lanes: Lanes): Program {
  return program(`binary ${f} x${lanes}`, () => ({
    arrays: {
      left: { type: lanesType(lanes), access: "read" },
      right: { type: lanesType(lanes), access: "read" },
      output: { type: lanesType(lanes), access: "read_write" },
    },
    parameters: { count: "u32", period: "u32" },
    wgsl: elementwiseWgsl({
      inputs: { left: "i", right: "i % params.period" },
      outputs: { output: "evaluate(left, right)" },
      functions: `fn evaluate(a: f32, b: f32) -> f32 { return ${binaryFunctions[f].wgsl}; }`,
    }, lanes),
    host({ left, right, output }, { count, period }) {
      const apply = binaryFunctions[f].host;
      for (let i = 0; i < lanes * count; i++) {
        output[i] = apply(left[i]!, right[i % (lanes * period)]!);
      }
    },
  }));
}

/** y[i] = factor * x[i] + offset; `count` in elements over lanes. */
export function affineProgram(lanes: Lanes): Program {
  return program(`affine x${lanes}`, () => ({
    arrays: {
      input: { type: lanesType(lanes), access: "read" },
      output: { type: lanesType(lanes), access: "read_write" },
    },
    parameters: { count: "u32", factor: "f32", offset: "f32" },
    wgsl: elementwiseWgsl({
      inputs: { input: "i" },
      outputs: { output: "params.factor * input + params.offset" },
    }, lanes),
    host({ input, output }, { count, factor, offset }) {
      for (let i = 0; i < lanes * count; i++) output[i] = factor * input[i]! + offset;
    },
  }));
}
