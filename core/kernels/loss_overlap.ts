/**
 * Losses of how far a predicted mask and its target overlap: soft Dice per mask, and the squared error of a predicted IoU.
 *
 * Both are quotients of sums of p and p t with p = sigmoid(x), so that their derivative by a probability is a + b t with two
 * numbers per mask, which the forward pass writes down. Traffic: logits and targets once, on the way back one write more; about 8
 * operations per pixel. A team of lanes per mask (see `row_team.ts`), 64 invocations for the gradient.
 *
 * Source: MedPLIB `model/MedPLIB.py` (`dice_loss`, `MaskIoULoss`); VividMed `mmmm/models/loss.py` (`DiceFocalLoss`).
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import {
  type RowTeam,
  teamKey,
  teamMain,
  teamReductions,
  teamSubgroups,
  teamWalk,
} from "./row_team.ts";

const logisticWgsl = "fn logistic(x: f32) -> f32 { return 1.0 / (1.0 + exp(-x)); }";
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

const overlapArrays = {
  input: { type: "f32", access: "read" },
  targets: { type: "f32", access: "read" },
} as const;

const overlapWgsl = (team: RowTeam) => /* wgsl */ `
  let start = row * params.length;
  let end = start + params.length;
  var sums = vec4<f32>(0.0);
  ${
  teamWalk(
    team,
    "let p = logistic(input[i]); let t = targets[i]; sums += vec4<f32>(p, t, p * t, 0.0);",
    "start",
    "end",
  )
}
  let all = sumRow(sums);`;

function overlapOnHost(
  input: Float32Array,
  targets: Float32Array,
  row: number,
  length: number,
): [predicted: number, target: number, both: number] {
  let predicted = 0, target = 0, both = 0;
  for (let i = row * length; i < (row + 1) * length; i++) {
    const p = sigmoid(input[i]!), t = targets[i]!;
    predicted += p;
    target += t;
    both += p * t;
  }
  return [predicted, target, both];
}

/**
 * output[row] = 1 - (2 sum(p t) + added) / max(sum(p) + sum(t) + added, least), and slopes[row] = (a, b). Dispatch
 * `teamGroups(team, rows)`.
 */
export function diceProgram(team: RowTeam): Program {
  return program(`dice ${teamKey(team)}`, () => ({
    arrays: {
      ...overlapArrays,
      output: { type: "f32", access: "read_write" },
      slopes: { type: "vec2<f32>", access: "read_write" },
    },
    parameters: { rows: "u32", length: "u32", added: "f32", least: "f32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      logisticWgsl,
      teamReductions(team, [{ name: "sumRow", type: "vec4<f32>", operation: "add" }]),
      teamMain(
        team,
        /* wgsl */ `${overlapWgsl(team)}
  if (lane == 0u) {
    let whole = all.x + all.y + params.added;
    let under = max(whole, params.least);
    let ratio = (2.0 * all.z + params.added) / under;
    output[row] = 1.0 - ratio;
    // Below the least denominator the sums no longer change it.
    slopes[row] = vec2<f32>(select(0.0, ratio / under, whole >= params.least), -2.0 / under);
  }`,
      ),
    ].join("\n"),
    host({ input, targets, output, slopes }, { rows, length, added, least }) {
      for (let row = 0; row < rows; row++) {
        const [predicted, target, both] = overlapOnHost(input, targets, row, length);
        const whole = predicted + target + added, under = Math.max(whole, least);
        const ratio = (2 * both + added) / under;
        output[row] = 1 - ratio;
        slopes[2 * row] = whole >= least ? ratio / under : 0;
        slopes[2 * row + 1] = -2 / under;
      }
    },
  }));
}

/** overlaps[row] = (sum p, sum t, sum p t, 0). Dispatch `teamGroups(team, rows)`. */
export function overlapProgram(team: RowTeam): Program {
  return program(`overlap ${teamKey(team)}`, () => ({
    arrays: { ...overlapArrays, overlaps: { type: "vec4<f32>", access: "read_write" } },
    parameters: { rows: "u32", length: "u32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      logisticWgsl,
      teamReductions(team, [{ name: "sumRow", type: "vec4<f32>", operation: "add" }]),
      teamMain(team, `${overlapWgsl(team)}\n  if (lane == 0u) { overlaps[row] = all; }`),
    ].join("\n"),
    host({ input, targets, overlaps }, { rows, length }) {
      for (let row = 0; row < rows; row++) {
        overlaps.set([...overlapOnHost(input, targets, row, length), 0], 4 * row);
      }
    },
  }));
}

/** What MedPLIB adds to both sides of the quotient. */
const iouSmooth = 1e-7;

/**
 * output[0] = mean over the masks of (IoU of all of them together - predicted)^2, slopes[0] = (a, b) of this value, iou[0] = the
 * IoU. One team: rows = 1, `length` masks.
 */
export function iouErrorProgram(team: RowTeam): Program {
  return program(`iou error ${teamKey(team)}`, () => ({
    arrays: {
      overlaps: { type: "vec4<f32>", access: "read" },
      predicted: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
      slopes: { type: "vec2<f32>", access: "read_write" },
      iou: { type: "f32", access: "read_write" },
    },
    parameters: { rows: "u32", length: "u32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      teamReductions(team, [
        { name: "sumRow", type: "vec4<f32>", operation: "add" },
        { name: "sumErrors", type: "vec2<f32>", operation: "add" },
      ]),
      teamMain(
        team,
        /* wgsl */ `
  var part = vec4<f32>(0.0);
  ${teamWalk(team, "part += overlaps[i];", "0u", "params.length")}
  let all = sumRow(part);
  let under = all.x + all.y - all.z + ${iouSmooth};
  let ratio = (all.z + ${iouSmooth}) / under;
  var errors = vec2<f32>(0.0);
  ${
          teamWalk(
            team,
            "let error = ratio - predicted[i]; errors += vec2<f32>(error, error * error);",
            "0u",
            "params.length",
          )
        }
  let mean = sumErrors(errors) / f32(params.length);
  if (lane == 0u) {
    iou[0] = ratio;
    output[0] = mean.y;
    slopes[0] = 2.0 * mean.x / under * vec2<f32>(-ratio, 1.0 + ratio);
  }`,
      ),
    ].join("\n"),
    host({ overlaps, predicted, output, slopes, iou }, { length }) {
      const all = [0, 0, 0];
      for (let i = 0; i < length; i++) all.forEach((sum, n) => all[n] = sum + overlaps[4 * i + n]!);
      const under = all[0]! + all[1]! - all[2]! + iouSmooth;
      const ratio = (all[2]! + iouSmooth) / under;
      let errors = 0, squares = 0;
      for (let i = 0; i < length; i++) {
        const error = ratio - predicted[i]!;
        errors += error / length;
        squares += error * error / length;
      }
      iou[0] = ratio;
      output[0] = squares;
      slopes[0] = -2 * errors * ratio / under;
      slopes[1] = 2 * errors * (1 + ratio) / under;
    },
  }));
}

/** output[i] = gradient[0] * 2 (predicted[i] - iou[0]) / count for i < count. Dispatch ceil(count / 64). */
export function iouErrorGradientProgram(): Program {
  return program("iou error gradient", () => ({
    arrays: {
      predicted: { type: "f32", access: "read" },
      iou: { type: "f32", access: "read" },
      gradient: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.count) { return; }
  output[id.x] = gradient[0] * 2.0 * (predicted[id.x] - iou[0]) / f32(params.count);
}`,
    host({ predicted, iou, gradient, output }, { count }) {
      for (let i = 0; i < count; i++) {
        output[i] = gradient[0]! * 2 * (predicted[i]! - iou[0]!) / count;
      }
    },
  }));
}

/** output[i] = gradient[row] * (a + b t) p (1 - p) for i < count, row = i / length. Dispatch ceil(count / 64). */
export function overlapGradientProgram(): Program {
  return program("overlap gradient", () => ({
    arrays: {
      ...overlapArrays,
      slopes: { type: "vec2<f32>", access: "read" },
      gradient: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32", length: "u32" },
    wgsl: /* wgsl */ `${logisticWgsl}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let row = i / params.length;
  let slope = slopes[row].x + slopes[row].y * targets[i];
  output[i] = gradient[row] * slope * logistic(input[i]) * logistic(-input[i]);
}`,
    host({ input, targets, slopes, gradient, output }, { count, length }) {
      for (let i = 0; i < count; i++) {
        const row = Math.floor(i / length), x = input[i]!;
        const slope = slopes[2 * row]! + slopes[2 * row + 1]! * targets[i]!;
        output[i] = gradient[row]! * slope * sigmoid(x) * sigmoid(-x);
      }
    },
  }));
}
