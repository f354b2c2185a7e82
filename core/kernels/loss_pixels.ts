/**
 * Losses of single pixels (or any other yes/no predictions) between a logit x and a target t in [0, 1]: binary cross-entropy
 * and two forms of focal loss, their means over rows, and their derivatives.
 *
 * Source of the forms: `torch.nn.functional.binary_cross_entropy_with_logits`; MONAI `sigmoid_focal_loss`
 * (`monai/losses/focal_loss.py`), which VividMed uses; `FocalLoss` of MedPLIB (`model/MedPLIB.py`).
 *
 * Traffic: logits and targets once, on the way back one write more. About 30 operations per value. Means: a team of lanes per row
 * (see `row_team.ts`); otherwise 64 invocations, one value each.
 *
 * @module
 */
import { type ArraySpec, type Program, program } from "../device/mod.ts";
import {
  type RowTeam,
  teamKey,
  teamMain,
  teamReductions,
  teamSubgroups,
  teamWalk,
} from "./row_team.ts";

/**
 * `bce`: x - x t - log sigmoid(x). `focal`: sigmoid(-x (2t - 1))^gamma times that. `probabilityFocal`: with p = sigmoid(x),
 * -t (1 - p)^gamma log(p + 1e-12) - (1 - t) p^gamma log(1 - p + 1e-12), where 1 - p is 0 from x = 17 on.
 */
export type PixelLoss = "bce" | "focal" | "probabilityFocal";

/**
 * `log1pExp(x)` is log(1 + exp(-|x|)), exact to a few units in the last place also where it is tiny: the series of
 * 2 artanh(e / (2 + e)) for e = exp(-|x|) <= 1.
 */
export const logisticWgsl = /* wgsl */ `
fn logistic(x: f32) -> f32 { return 1.0 / (1.0 + exp(-x)); }
fn log1pExp(x: f32) -> f32 {
  let e = exp(-abs(x));
  let z = e / (2.0 + e);
  let s = z * z;
  return 2.0 * z * (1.0 + s * (0.33333333 + s * (0.2 + s * (0.14285714 + s * (0.11111111 + s * (0.09090909 + s * 0.07692308))))));
}
fn logSigmoid(x: f32) -> f32 { return min(x, 0.0) - log1pExp(x); }
`;

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const logSigmoid = (x: number) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));

/** WGSL of `loss(x, t)` and `slope(x, t)` (by x) before the class weight; `params.gamma` is the exponent. */
const forms: Readonly<Record<PixelLoss, string>> = {
  bce: /* wgsl */ `
fn loss(x: f32, t: f32) -> f32 { return max(x, 0.0) - x * t + log1pExp(x); }
fn slope(x: f32, t: f32) -> f32 { return (1.0 - t) * logistic(x) - t * logistic(-x); }`,
  focal: /* wgsl */ `
fn loss(x: f32, t: f32) -> f32 {
  return exp(params.gamma * logSigmoid(x * (1.0 - 2.0 * t))) * (max(x, 0.0) - x * t + log1pExp(x));
}
fn slope(x: f32, t: f32) -> f32 {
  let sign = 1.0 - 2.0 * t;
  let hard = exp(params.gamma * logSigmoid(x * sign));
  let entropy = max(x, 0.0) - x * t + log1pExp(x);
  return hard * ((1.0 - t) * logistic(x) - t * logistic(-x) +
    params.gamma * sign * logistic(-x * sign) * entropy);
}`,
  probabilityFocal: /* wgsl */ `
fn power(base: f32, exponent: f32) -> f32 {
  // The usual exponents without a logarithm.
  if (exponent == 2.0) { return base * base; }
  return select(pow(base, exponent), base, exponent == 1.0);
}
// 1 - p is 0 or at least 6e-8. The small number is its least value, not added to it: compilers add constants up first.
fn loss(x: f32, t: f32) -> f32 {
  let p = logistic(x);
  let q = 1.0 - p;
  return -t * power(q, params.gamma) * log(p + 1e-12) -
    (1.0 - t) * power(p, params.gamma) * log(max(q, 1e-12));
}
fn slope(x: f32, t: f32) -> f32 {
  let p = logistic(x);
  let q = 1.0 - p;
  // A saturated probability has no derivative.
  if (p * q == 0.0) { return 0.0; }
  let one = params.gamma * power(q, params.gamma - 1.0) * log(p + 1e-12) - power(q, params.gamma) / (p + 1e-12);
  let zero = power(p, params.gamma) / max(q, 1e-12) - params.gamma * power(p, params.gamma - 1.0) * log(max(q, 1e-12));
  return (t * one + (1.0 - t) * zero) * p * q;
}`,
};

interface HostForm {
  loss(x: number, t: number, gamma: number): number;
  slope(x: number, t: number, gamma: number): number;
}

const entropyOf = (x: number, t: number) =>
  Math.max(x, 0) - x * t + Math.log1p(Math.exp(-Math.abs(x)));
const bceSlope = (x: number, t: number) => (1 - t) * sigmoid(x) - t * sigmoid(-x);

const hostForms: Readonly<Record<PixelLoss, HostForm>> = {
  bce: { loss: entropyOf, slope: bceSlope },
  focal: {
    loss: (x, t, gamma) => Math.exp(gamma * logSigmoid(x * (1 - 2 * t))) * entropyOf(x, t),
    slope(x, t, gamma) {
      const sign = 1 - 2 * t;
      return Math.exp(gamma * logSigmoid(x * sign)) *
        (bceSlope(x, t) + gamma * sign * sigmoid(-x * sign) * entropyOf(x, t));
    },
  },
  // The probability is rounded to float32: where that makes it 1, the loss is log(1e-12).
  probabilityFocal: {
    loss(x, t, gamma) {
      const p = Math.fround(sigmoid(x)), q = 1 - p;
      return -t * q ** gamma * Math.log(p + 1e-12) -
        (1 - t) * p ** gamma * Math.log(q + 1e-12);
    },
    slope(x, t, gamma) {
      const p = Math.fround(sigmoid(x)), q = 1 - p;
      if (p * q === 0) return 0;
      const one = gamma * q ** (gamma - 1) * Math.log(p + 1e-12) - q ** gamma / (p + 1e-12);
      const zero = p ** gamma / (q + 1e-12) - gamma * p ** (gamma - 1) * Math.log(q + 1e-12);
      return (t * one + (1 - t) * zero) * p * q;
    },
  },
};

/** The weight of a target: `positive` for 1, `negative` for 0, between them in proportion. */
const weightWgsl =
  "fn classWeight(t: f32) -> f32 { return params.negative + (params.positive - params.negative) * t; }";
const weightOf = (t: number, negative: number, positive: number) =>
  negative + (positive - negative) * t;

const targetArray = (targets: boolean): Record<string, ArraySpec> =>
  targets ? { targets: { type: "f32", access: "read" } } : {};
const target = (targets: boolean) => targets ? "targets[i]" : "0.0";
type WithTargets = { readonly targets?: Float32Array };

/** output[i] = weight * loss for i < count; without targets all are 0. Dispatch ceil(count / 64). */
export function pixelLossProgram(form: PixelLoss, targets: boolean): Program {
  return program(`pixel loss ${form}${targets ? "" : " negative"}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      ...targetArray(targets),
      output: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32", gamma: "f32", negative: "f32", positive: "f32" },
    wgsl: /* wgsl */ `${logisticWgsl}${forms[form]}
${weightWgsl}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let t = ${target(targets)};
  output[i] = classWeight(t) * loss(input[i], t);
}`,
    host(arrays, { count, gamma, negative, positive }) {
      const { input, output } = arrays, given = (arrays as unknown as WithTargets).targets;
      const { loss } = hostForms[form];
      for (let i = 0; i < count; i++) {
        const t = given?.[i] ?? 0;
        output[i] = weightOf(t, negative, positive) * loss(input[i]!, t, gamma);
      }
    },
  }));
}

/** output[row] = mean over its `length` values of weight * loss. Dispatch `teamGroups(team, rows)`. */
export function pixelLossMeanProgram(team: RowTeam, form: PixelLoss, targets: boolean): Program {
  return program(`pixel loss mean ${form}${targets ? "" : " negative"} ${teamKey(team)}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      ...targetArray(targets),
      output: { type: "f32", access: "read_write" },
    },
    parameters: { rows: "u32", length: "u32", gamma: "f32", negative: "f32", positive: "f32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      logisticWgsl,
      forms[form],
      weightWgsl,
      teamReductions(team, [{ name: "sumRow", type: "f32", operation: "add" }]),
      teamMain(
        team,
        /* wgsl */ `
  let start = row * params.length;
  let end = start + params.length;
  var sum = 0.0;
  ${
          teamWalk(
            team,
            `let t = ${target(targets)}; sum += classWeight(t) * loss(input[i], t);`,
            "start",
            "end",
          )
        }
  let total = sumRow(sum);
  if (lane == 0u) { output[row] = total / f32(params.length); }`,
      ),
    ].join("\n"),
    host(arrays, { rows, length, gamma, negative, positive }) {
      const { input, output } = arrays, given = (arrays as unknown as WithTargets).targets;
      const { loss } = hostForms[form];
      for (let row = 0, i = 0; row < rows; row++) {
        let sum = 0;
        for (const end = i + length; i < end; i++) {
          const t = given?.[i] ?? 0;
          sum += weightOf(t, negative, positive) * loss(input[i]!, t, gamma);
        }
        output[row] = sum / length;
      }
    },
  }));
}

/** output[i] = gradient[i / length] * scale * weight * d loss / d x for i < count. Dispatch ceil(count / 64). */
export function pixelLossGradientProgram(form: PixelLoss, targets: boolean): Program {
  return program(`pixel loss gradient ${form}${targets ? "" : " negative"}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      ...targetArray(targets),
      gradient: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: {
      count: "u32",
      length: "u32",
      scale: "f32",
      gamma: "f32",
      negative: "f32",
      positive: "f32",
    },
    wgsl: /* wgsl */ `${logisticWgsl}${forms[form]}
${weightWgsl}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let t = ${target(targets)};
  output[i] = gradient[i / params.length] * params.scale * classWeight(t) * slope(input[i], t);
}`,
    host(arrays, { count, length, scale, gamma, negative, positive }) {
      const { input, gradient, output } = arrays,
        given = (arrays as unknown as WithTargets).targets;
      const { slope } = hostForms[form];
      for (let i = 0; i < count; i++) {
        const t = given?.[i] ?? 0, factor = gradient[Math.floor(i / length)]! * scale;
        output[i] = factor * weightOf(t, negative, positive) * slope(input[i]!, t, gamma);
      }
    },
  }));
}
