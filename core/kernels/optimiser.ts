/**
 * AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2) as PyTorch computes it:
 *
 *     p *= 1 - rate * decay
 *     m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
 *     p -= rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
 *
 * The gradient is first multiplied by the clipping factor of a verdict (see `clip.ts`), and nothing at all changes where
 * the verdict says that gradients are not finite. Steps are therefore counted on the device.
 *
 * Traffic: 28 bytes per parameter (36 with amsgrad), bound by memory. Tiling: 64 invocations, one load each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** Which parameters and which rule. */
export interface AdamWVariant {
  /** Packed f32 weights (see `quantise.ts`) instead of a row-major tensor; gradients and moments are row-major always. */
  readonly packed: boolean;
  /** Values per load. 4 needs columns (of a tensor: the count) and the first value to be multiples of 4. */
  readonly width: 1 | 4;
  /** Divide by the largest second moment so far (Reddi et al., "On the convergence of Adam and beyond", ICLR 2018). */
  readonly amsgrad: boolean;
}

/** 1 - e^x for x <= 0, accurate near 0 where beta^t is close to 1. */
const oneMinusExpWgsl = /* wgsl */ `
fn oneMinusExp(x: f32) -> f32 {
  if (x < -0.5) { return 1.0 - exp(x); }
  var sum = 1.0;
  for (var n = 10.0; n > 1.0; n -= 1.0) { sum = 1.0 + x / n * sum; }
  return -x * sum;
}`;

/**
 * Counts a step of every parameter whose gradient is present, unless the verdict forbids: steps[i] += 1, corrections[2 i] = 1 / (1 - beta1^t)
 * and corrections[2 i + 1] = 1 / sqrt(1 - beta2^t). Dispatch ceil(count / 64).
 */
export function adamwAdvanceProgram(): Program {
  return program("adamw advance", () => ({
    arrays: {
      verdict: { type: "u32", access: "read" },
      present: { type: "u32", access: "read" },
      steps: { type: "u32", access: "read_write" },
      corrections: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32", logBeta1: "f32", logBeta2: "f32" },
    wgsl: /* wgsl */ `
${oneMinusExpWgsl}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count || verdict[2] == 0u || present[i] == 0u) { return; }
  let t = steps[i] + 1u;
  steps[i] = t;
  corrections[2u * i] = 1.0 / oneMinusExp(f32(t) * params.logBeta1);
  corrections[2u * i + 1u] = inverseSqrt(oneMinusExp(f32(t) * params.logBeta2));
}`,
    host({ verdict, present, steps, corrections }, { count, logBeta1, logBeta2 }) {
      if (verdict[2] === 0) return;
      for (let i = 0; i < count; i++) {
        if (present[i] === 0) continue;
        const t = ++steps[i]!;
        corrections[2 * i] = -1 / Math.expm1(t * logBeta1);
        corrections[2 * i + 1] = 1 / Math.sqrt(-Math.expm1(t * logBeta2));
      }
    },
  }));
}

/**
 * q + new1 g with a single rounding, as PyTorch adds the gradient. First moments cancel, so that two roundings would show.
 * `fma` is no help: adapters without one multiply and add. Exact products of halves give what the rounded product lost, and
 * a two-sum what the rounded sum lost. `zero` is known at run time only and keeps compilers from simplifying s - q to p.
 */
const addOnceWgsl = (type: string, words: string) => /* wgsl */ `
fn addOnce(q: ${type}, g: ${type}, zero: u32) -> ${type} {
  let p = params.new1 * g;
  let top = bitcast<${type}>(bitcast<${words}>(g) & ${words}(0xfffff000u));
  let rest = g - top;
  let lost = ((params.new1Top * top - p) + params.new1Top * rest + params.new1Rest * top) + params.new1Rest * rest;
  let s = bitcast<${type}>(bitcast<${words}>(q + p) ^ ${words}(zero));
  let z = bitcast<${type}>(bitcast<${words}>(s - q) ^ ${words}(zero));
  return s + (((q - (s - z)) + (p - z)) + lost);
}`;

/** The parameters of {@linkcode adamwProgram} that follow from 1 - beta1: itself in two halves of few bits. */
export function splitNew1(new1: number): { new1: number; new1Top: number; new1Rest: number } {
  const floats = Float32Array.of(new1, new1), words = new Uint32Array(floats.buffer);
  words[1]! &= 0xfffff000;
  return { new1, new1Top: floats[1]!, new1Rest: floats[0]! - floats[1]! };
}

/** Where value `i` (in loads) of a row-major matrix lies in packed rows of `params.loads` loads. */
const packedPlace = {
  4: "(row >> 3u) * 8u * params.granules + 8u * column + (row & 7u)",
  1: "4u * ((row >> 3u) * 8u * params.granules + 8u * (column >> 2u) + (row & 7u)) + (column & 3u)",
} as const;

/**
 * One step of `count` values (in loads, as `first` and `loads` are too). Gradients are read from `first` on; corrections
 * are those of parameter `index`. Dispatch ceil(count / 64).
 */
export function adamwProgram({ packed, width, amsgrad }: AdamWVariant): Program {
  const key = `adamw${packed ? " packed" : ""}${amsgrad ? " amsgrad" : ""} x${width}`;
  return program(key, () => {
    const type = width === 4 ? "vec4<f32>" : "f32";
    const words = width === 4 ? "vec4<u32>" : "u32";
    const arrays = {
      verdict: { type: "u32", access: "read" },
      corrections: { type: "f32", access: "read" },
      gradient: { type, access: "read" },
      values: { type, access: "read_write" },
      m: { type, access: "read_write" },
      v: { type, access: "read_write" },
    } as const;
    const largest = { largest: { type, access: "read_write" } } as const;
    return {
      arrays: (amsgrad ? { ...arrays, ...largest } : arrays) as typeof arrays & typeof largest,
      parameters: {
        count: "u32",
        first: "u32",
        loads: "u32",
        granules: "u32",
        index: "u32",
        rate: "f32",
        keep: "f32",
        beta1: "f32",
        new1: "f32",
        new1Top: "f32",
        new1Rest: "f32",
        beta2: "f32",
        new2: "f32",
        epsilon: "f32",
      },
      wgsl: /* wgsl */ `
${addOnceWgsl(type, words)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count || verdict[2] == 0u) { return; }
  ${
        packed
          ? `let row = i / params.loads;
  let column = i - row * params.loads;
  let at = ${packedPlace[width]};`
          : "let at = i;"
      }
  let g = gradient[params.first + i] * bitcast<f32>(verdict[1]);
  let first = addOnce(params.beta1 * m[i], g, verdict[2] - 1u);
  let second = params.beta2 * v[i] + params.new2 * g * g;
  m[i] = first;
  v[i] = second;
  ${
        amsgrad
          ? "let spread = max(largest[i], second);\n  largest[i] = spread;"
          : "let spread = second;"
      }
  let step = params.rate * corrections[2u * params.index];
  let deviation = sqrt(spread) * corrections[2u * params.index + 1u] + params.epsilon;
  values[at] = params.keep * values[at] - step * first / deviation;
}`,
      host({ verdict, corrections, gradient, values, m, v, largest }, parameters) {
        if (verdict[2] === 0) return;
        const factor = new Float32Array(verdict.buffer, verdict.byteOffset, verdict.length)[1]!;
        const { granules, index, rate } = parameters;
        // Rounded where PyTorch rounds, with its single-precision constants.
        const { fround } = Math;
        const beta1 = fround(parameters.beta1), new1 = fround(parameters.new1);
        const beta2 = fround(parameters.beta2), new2 = fround(parameters.new2);
        const keep = fround(parameters.keep), epsilon = fround(parameters.epsilon);
        const count = width * parameters.count, start = width * parameters.first;
        const columns = width * parameters.loads;
        const step = rate * corrections[2 * index]!, root = corrections[2 * index + 1]!;
        for (let i = 0; i < count; i++) {
          const g = fround(gradient[start + i]! * factor);
          const first = m[i] = fround(fround(beta1 * m[i]!) + new1 * g);
          const second = v[i] = beta2 * v[i]! + new2 * g * g;
          const spread = amsgrad ? (largest[i] = Math.max(largest[i]!, second)) : second;
          let at = i;
          if (packed) {
            const row = Math.floor(i / columns), column = i - row * columns;
            at = 4 * (8 * (row >> 3) * granules + 8 * (column >> 2) + (row & 7)) + (column & 3);
          }
          const change = step * first / (Math.sqrt(spread) * root + epsilon);
          values[at] = fround(keep * values[at]!) - change;
        }
      },
    };
  });
}
