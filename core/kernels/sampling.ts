/**
 * Choosing tokens on the device: greedy, or temperature with top-p, and the bookkeeping of a decode step.
 *
 * One workgroup walks over the V logits; a step of top-p sampling reads them about 35 times, V is at most some 10^5. Which
 * tokens survive top-p is found by bisection over the bits of the smallest kept probability, so nothing is sorted.
 *
 * Source of the rule: Transformers `TopPLogitsWarper` (the token that crosses the mass is kept).
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { philox4x32, philoxWgsl, uniformOf } from "./random.ts";

const width = 128;

/** Lowest index of the largest value of each row. Dispatch (rows). */
export function argmaxProgram(): Program {
  return program("argmax", () => ({
    arrays: {
      x: { type: "f32", access: "read" },
      index: { type: "u32", access: "read_write" },
    },
    parameters: { rows: "u32", columns: "u32" },
    wgsl: /* wgsl */ `
var<workgroup> values: array<f32, ${width}>;
var<workgroup> places: array<u32, ${width}>;
@compute @workgroup_size(${width})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = workgroupIndex(group, groups);
  if (row < params.rows) {
    var best = -3.4028234e38;
    var place = 0u;
    for (var i = lane; i < params.columns; i += ${width}u) {
      let value = x[row * params.columns + i];
      if (value > best) { best = value; place = i; }
    }
    values[lane] = best;
    places[lane] = place;
  }
  workgroupBarrier();
  if (row < params.rows && lane == 0u) {
    var best = values[0];
    var place = places[0];
    for (var i = 1u; i < ${width}u; i++) {
      if (values[i] > best || (values[i] == best && places[i] < place)) { best = values[i]; place = places[i]; }
    }
    index[row] = place;
  }
}`,
    host({ x, index }, { rows, columns }) {
      for (let row = 0; row < rows; row++) {
        index[row] = argmaxOnHost(x.subarray(row * columns, (row + 1) * columns));
      }
    },
  }));
}

function argmaxOnHost(values: Float32Array): number {
  let place = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[place]!) place = i;
  return place;
}

const finish = /* wgsl */ `
    token[0] = chosen;
    ring[step[0] % params.capacity] = chosen;
    step[0] = step[0] + 1u;
    position[0] = position[0] + 1u;
    length[0] = length[0] + 1u;`;

interface SampleArrays {
  logits: Float32Array;
  token: Uint32Array;
  position: Uint32Array;
  length: Uint32Array;
  step: Uint32Array;
  ring: Uint32Array;
}

function finishOnHost(
  { token, position, length, step, ring }: SampleArrays,
  chosen: number,
  capacity: number,
): void {
  token[0] = chosen;
  ring[step[0]! % capacity] = chosen;
  step[0]!++;
  position[0]!++;
  length[0]!++;
}

const state = {
  logits: { type: "f32", access: "read" },
  token: { type: "u32", access: "read_write" },
  position: { type: "u32", access: "read_write" },
  length: { type: "u32", access: "read_write" },
  step: { type: "u32", access: "read_write" },
  ring: { type: "u32", access: "read_write" },
} as const;

/** The most probable token, lowest index on ties; then token, ring, step, position and length move on. Dispatch 1. */
export function greedyProgram(): Program {
  return program("sample greedy", () => ({
    arrays: state,
    parameters: { columns: "u32", capacity: "u32" },
    wgsl: /* wgsl */ `
var<workgroup> values: array<f32, ${width}>;
var<workgroup> places: array<u32, ${width}>;
@compute @workgroup_size(${width})
fn main(@builtin(local_invocation_index) lane: u32) {
  var best = -3.4028234e38;
  var place = 0u;
  for (var i = lane; i < params.columns; i += ${width}u) {
    let value = logits[i];
    if (value > best) { best = value; place = i; }
  }
  values[lane] = best;
  places[lane] = place;
  workgroupBarrier();
  if (lane == 0u) {
    var top = values[0];
    var chosen = places[0];
    for (var i = 1u; i < ${width}u; i++) {
      if (values[i] > top || (values[i] == top && places[i] < chosen)) { top = values[i]; chosen = places[i]; }
    }${finish}
  }
}`,
    host(arrays, { columns, capacity }) {
      finishOnHost(arrays, argmaxOnHost(arrays.logits.subarray(0, columns)), capacity);
    },
  }));
}

/**
 * A token drawn from softmax(logits / temperature) restricted to the smallest set of most probable tokens whose mass reaches
 * `topP`; the uniform number is Philox of the seed at the step. Then the state moves on. Dispatch 1.
 */
export function sampleProgram(): Program {
  return program("sample top-p", () => ({
    arrays: state,
    parameters: {
      columns: "u32",
      capacity: "u32",
      inverse: "f32",
      topP: "f32",
      seedLow: "u32",
      seedHigh: "u32",
    },
    wgsl: /* wgsl */ `
${philoxWgsl}
var<workgroup> parts: array<f32, ${width}>;
var<workgroup> shared_: f32;
fn total(lane: u32, part: f32) -> f32 {
  workgroupBarrier();
  parts[lane] = part;
  workgroupBarrier();
  if (lane == 0u) {
    var sum = 0.0;
    for (var i = 0u; i < ${width}u; i++) { sum += parts[i]; }
    shared_ = sum;
  }
  return workgroupUniformLoad(&shared_);
}
@compute @workgroup_size(${width})
fn main(@builtin(local_invocation_index) lane: u32) {
  var best = -3.4028234e38;
  for (var i = lane; i < params.columns; i += ${width}u) { best = max(best, logits[i]); }
  parts[lane] = best;
  workgroupBarrier();
  if (lane == 0u) {
    for (var i = 1u; i < ${width}u; i++) { best = max(best, parts[i]); }
    shared_ = best;
  }
  let top = workgroupUniformLoad(&shared_);
  // Invocation l owns the tokens [l * chunk, (l + 1) * chunk), in order.
  let chunk = (params.columns + ${width - 1}u) / ${width}u;
  let first = min(lane * chunk, params.columns);
  let last = min(first + chunk, params.columns);
  var mass = 0.0;
  for (var i = first; i < last; i++) { mass += exp((logits[i] - top) * params.inverse); }
  let wanted = params.topP * total(lane, mass);
  // Largest threshold whose survivors still have the wanted mass; weights are in [0, 1] and their bits sort as they do.
  var low = 0u;
  var high = 0x3f800000u;
  if (params.topP < 1.0) {
    for (var round = 0u; round < 30u; round++) {
      let middle = (low + high + 1u) / 2u;
      mass = 0.0;
      for (var i = first; i < last; i++) {
        let weight = exp((logits[i] - top) * params.inverse);
        if (bitcast<u32>(weight) >= middle) { mass += weight; }
      }
      if (total(lane, mass) >= wanted) { low = middle; } else { high = middle - 1u; }
    }
  }
  mass = 0.0;
  for (var i = first; i < last; i++) {
    let weight = exp((logits[i] - top) * params.inverse);
    if (bitcast<u32>(weight) >= low) { mass += weight; }
  }
  let kept = total(lane, mass);
  if (lane == 0u) {
    let words = philox(vec4<u32>(step[0], 0u, 0x73616d70u, 0u), vec2<u32>(params.seedLow, params.seedHigh));
    let goal = uniformOf(words.x) * kept;
    var before = 0.0;
    var owner = 0u;
    while (owner + 1u < ${width}u && before + parts[owner] < goal) { before += parts[owner]; owner++; }
    var chosen = 0u;
    // Rounding may carry the goal past the owner's last survivor: the last one seen stands.
    for (var i = owner * chunk; i < params.columns; i++) {
      let weight = exp((logits[i] - top) * params.inverse);
      if (bitcast<u32>(weight) < low || weight == 0.0) { continue; }
      chosen = i;
      before += weight;
      if (before >= goal) { break; }
    }${finish}
  }
}`.replaceAll("shared_", "broadcast"),
    host(arrays, { columns, capacity, inverse, topP, seedLow, seedHigh }) {
      const { logits, step } = arrays;
      const top = logits[argmaxOnHost(logits.subarray(0, columns))]!;
      const weights = Float32Array.from(
        logits.subarray(0, columns),
        (value) => Math.exp((value - top) * inverse),
      );
      let threshold = 0;
      if (topP < 1) {
        const sorted = weights.slice().sort().reverse();
        const wanted = topP * sorted.reduce((sum, weight) => sum + weight, 0);
        for (let i = 0, mass = 0; i < columns; i++) {
          mass += threshold = sorted[i]!;
          if (mass >= wanted) break;
        }
      }
      let kept = 0;
      for (const weight of weights) if (weight >= threshold) kept += weight;
      const goal = uniformOf(philox4x32([step[0]!, 0, 0x73616d70, 0], [seedLow, seedHigh])[0]) *
        kept;
      let chosen = 0;
      for (let i = 0, before = 0; i < columns; i++) {
        if (weights[i]! < threshold || weights[i] === 0) continue;
        chosen = i;
        before += weights[i]!;
        if (before >= goal) break;
      }
      finishOnHost(arrays, chosen, capacity);
    },
  }));
}
