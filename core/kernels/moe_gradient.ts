/**
 * Gradients of mixture-of-experts routing, and the dispatch of tokens to the slots of experts. Everything is gathered: a token
 * looks up its slots, a slot its token. No float is added atomically, so results repeat exactly.
 *
 * T tokens, E experts, k choices. Which expert is chosen, and which choice is dropped, has no derivative; a dropped choice gives
 * none. As in `moe.ts` the number of experts is baked into the loops over them.
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

/** Which results of the routing have a gradient. */
export interface RoutingGradients {
  readonly gates: boolean;
  readonly weight: boolean;
  readonly loss: boolean;
}

/** The least sum of two kept gates, as in the forward pass. */
const leastSum = 1.1920929e-7;

const weightWgsl: Readonly<Record<1 | 2, string>> = {
  1: /* wgsl */ `
  if (slot[token] >= 0) { byGate[expert[token]] += weightGradient[token]; }`,
  2: /* wgsl */ `
  {
    let i = token * 2u;
    let a = select(0.0, gates[base + expert[i]], slot[i] >= 0);
    let b = select(0.0, gates[base + expert[i + 1u]], slot[i + 1u] >= 0);
    let total = max(a + b, ${leastSum});
    let average = select(0.0, (a * weightGradient[i] + b * weightGradient[i + 1u]) / total, a + b >= ${leastSum});
    if (slot[i] >= 0) { byGate[expert[i]] += (weightGradient[i] - average) / total; }
    if (slot[i + 1u] >= 0) { byGate[expert[i + 1u]] += (weightGradient[i + 1u] - average) / total; }
  }`,
};

interface RoutingArrays {
  readonly gates: Float32Array;
  readonly expert: Uint32Array;
  readonly slot: Int32Array;
  readonly counts: Uint32Array;
  readonly output: Float32Array;
  readonly gatesGradient?: Float32Array;
  readonly weightGradient?: Float32Array;
  readonly lossGradient?: Float32Array;
}

function byGatesOnHost(
  { gates, expert, slot, counts, gatesGradient, weightGradient, lossGradient }: RoutingArrays,
  token: number,
  tokens: number,
  experts: number,
  k: 1 | 2,
): Float64Array {
  const base = token * experts;
  const byGate = Float64Array.from(
    { length: experts },
    (_, e) =>
      (gatesGradient?.[base + e] ?? 0) +
      (lossGradient === undefined ? 0 : lossGradient[0]! * experts * counts[e]! / tokens / tokens),
  );
  if (weightGradient === undefined) return byGate;
  const choices = Array.from({ length: k }, (_, j) => token * k + j).filter((i) => slot[i]! >= 0);
  const sum = choices.reduce((all, i) => all + gates[base + expert[i]!]!, 0);
  const total = k === 1 ? 1 : Math.max(sum, leastSum);
  const average = k === 1 || sum < leastSum ? 0 : choices.reduce(
    (all, i) => all + gates[base + expert[i]!]! * weightGradient[i]! / total,
    0,
  );
  for (const i of choices) byGate[expert[i]!]! += (weightGradient[i]! - average) / total;
  return byGate;
}

/**
 * Gradient of the logits [T, E] from those of the gates [T, E], the combine weights [T, k] and the balance loss [1], as far as
 * they are there. Dispatch ceil(T / 64).
 */
export function routingGradientProgram(
  k: 1 | 2,
  experts: number,
  { gates, weight, loss }: RoutingGradients,
): Program {
  const key = [gates && "gates", weight && "weight", loss && "loss"].filter(Boolean).join(" ");
  const given = (name: string, there: boolean): Record<string, ArraySpec> =>
    there ? { [name]: { type: "f32", access: "read" } } : {};
  return program(`moe.route gradient k${k} e${experts} ${key}`, () => ({
    arrays: {
      gates: { type: "f32", access: "read" },
      expert: { type: "u32", access: "read" },
      slot: { type: "i32", access: "read" },
      counts: { type: "u32", access: "read" },
      output: { type: "f32", access: "read_write" },
      ...given("gatesGradient", gates),
      ...given("weightGradient", weight),
      ...given("lossGradient", loss),
    },
    parameters: { tokens: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = id.x;
  if (token >= params.tokens) { return; }
  let base = token * ${experts}u;
  var byGate: array<f32, ${experts}>;
  let share = f32(${experts}u) / (f32(params.tokens) * f32(params.tokens));
  for (var e = 0u; e < ${experts}u; e++) {
    byGate[e] = ${gates ? "gatesGradient[base + e]" : "0.0"}${
      loss ? " + lossGradient[0] * share * f32(counts[e])" : ""
    };
  }
  ${weight ? weightWgsl[k] : ""}
  var mean = 0.0;
  for (var e = 0u; e < ${experts}u; e++) { mean += gates[base + e] * byGate[e]; }
  for (var e = 0u; e < ${experts}u; e++) { output[base + e] = gates[base + e] * (byGate[e] - mean); }
}`,
    host(given, { tokens }) {
      const arrays = given as unknown as RoutingArrays;
      for (let token = 0; token < tokens; token++) {
        const byGate = byGatesOnHost(arrays, token, tokens, experts, k);
        const base = token * experts;
        const mean = byGate.reduce((sum, one, e) => sum + arrays.gates[base + e]! * one, 0);
        byGate.forEach((one, e) => {
          arrays.output[base + e] = arrays.gates[base + e]! * (one - mean);
        });
      }
    },
  }));
}

const slotMain = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;`;

/**
 * slots[r, h] = x[token of slot r, h] for the filled slots of every expert, 0 for the others; `rows` = E * capacity. Dispatch
 * ceil(rows * width / 64).
 */
export function dispatchTokensProgram(): Program {
  return program("moe.dispatch", () => ({
    arrays: {
      x: { type: "f32", access: "read" },
      tokenOf: { type: "u32", access: "read" },
      used: { type: "u32", access: "read" },
      slots: { type: "f32", access: "read_write" },
    },
    parameters: { rows: "u32", width: "u32", capacity: "u32" },
    wgsl: /* wgsl */ `${slotMain}
  let row = i / params.width;
  if (row >= params.rows) { return; }
  if (row % params.capacity >= used[row / params.capacity]) {
    slots[i] = 0.0;
    return;
  }
  slots[i] = x[tokenOf[row] * params.width + i % params.width];
}`,
    host({ x, tokenOf, used, slots }, { rows, width, capacity }) {
      for (let row = 0; row < rows; row++) {
        const target = slots.subarray(row * width, (row + 1) * width);
        if (row % capacity >= used[Math.floor(row / capacity)]!) target.fill(0);
        else target.set(x.subarray(tokenOf[row]! * width, (tokenOf[row]! + 1) * width));
      }
    },
  }));
}

/** output[t, h] = sum over the kept choices of token t of gradient[slot, h]. Dispatch ceil(T * width / 64). */
export function dispatchGradientProgram(k: 1 | 2): Program {
  return program(`moe.dispatch gradient k${k}`, () => ({
    arrays: {
      gradient: { type: "f32", access: "read" },
      expert: { type: "u32", access: "read" },
      slot: { type: "i32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { tokens: "u32", width: "u32", capacity: "u32" },
    wgsl: /* wgsl */ `${slotMain}
  let token = i / params.width;
  if (token >= params.tokens) { return; }
  var sum = 0.0;
  ${
      Array.from({ length: k }, (_, j) =>
        `{
    let at = token * ${k}u + ${j}u;
    if (slot[at] >= 0) {
      sum += gradient[(expert[at] * params.capacity + u32(slot[at])) * params.width + i % params.width];
    }
  }`).join("\n  ")
    }
  output[i] = sum;
}`,
    host({ gradient, expert, slot, output }, { tokens, width, capacity }) {
      for (let token = 0, i = 0; token < tokens; token++) {
        for (let column = 0; column < width; column++, i++) {
          let sum = 0;
          for (let at = token * k; at < (token + 1) * k; at++) {
            if (slot[at]! < 0) continue;
            sum += gradient[(expert[at]! * capacity + slot[at]!) * width + column]!;
          }
          output[i] = sum;
        }
      }
    },
  }));
}

/**
 * Gradient of the expert outputs: output[r, h] = weight of the choice that slot r serves * gradient[its token, h], 0 for empty
 * slots; `rows` = E * capacity. Dispatch ceil(rows * width / 64).
 */
export function combineGradientProgram(k: 1 | 2): Program {
  return program(`moe.combine gradient k${k}`, () => ({
    arrays: {
      gradient: { type: "f32", access: "read" },
      tokenOf: { type: "u32", access: "read" },
      used: { type: "u32", access: "read" },
      expert: { type: "u32", access: "read" },
      weight: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { rows: "u32", width: "u32", capacity: "u32" },
    wgsl: /* wgsl */ `${slotMain}
  let row = i / params.width;
  if (row >= params.rows) { return; }
  let mine = row / params.capacity;
  if (row % params.capacity >= used[mine]) {
    output[i] = 0.0;
    return;
  }
  let token = tokenOf[row];
  let at = token * ${k}u;
  let factor = ${
      k === 1 ? "weight[at]" : "select(weight[at + 1u], weight[at], expert[at] == mine)"
    };
  output[i] = factor * gradient[token * params.width + i % params.width];
}`,
    host({ gradient, tokenOf, used, expert, weight, output }, { rows, width, capacity }) {
      for (let row = 0, i = 0; row < rows; row++) {
        const mine = Math.floor(row / capacity), filled = row % capacity < used[mine]!;
        const token = filled ? tokenOf[row]! : 0, at = token * k;
        const factor = !filled ? 0 : k === 1 || expert[at] === mine ? weight[at]! : weight[at + 1]!;
        for (let column = 0; column < width; column++, i++) {
          output[i] = filled ? factor * gradient[token * width + column]! : 0;
        }
      }
    },
  }));
}

/**
 * Gradient of the combine weights: output[t, j] = gradient[t] . outputs[slot of the choice], 0 when dropped. Rows are the T * k
 * choices, dispatch `teamGroups(team, rows)`.
 */
export function combineWeightGradientProgram(team: RowTeam, k: 1 | 2): Program {
  return program(`moe.combine weight gradient k${k} ${teamKey(team)}`, () => ({
    arrays: {
      gradient: { type: "f32", access: "read" },
      outputs: { type: "f32", access: "read" },
      expert: { type: "u32", access: "read" },
      slot: { type: "i32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { rows: "u32", width: "u32", capacity: "u32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      teamReductions(team, [{ name: "sumRow", type: "f32", operation: "add" }]),
      teamMain(
        team,
        /* wgsl */ `
  let kept = slot[row] >= 0;
  let mine = (expert[row] * params.capacity + u32(max(slot[row], 0))) * params.width;
  let start = row / ${k}u * params.width;
  // Every lane takes part in the exchange, also where there is nothing to read.
  let end = select(start, start + params.width, kept);
  var sum = 0.0;
${teamWalk(team, "sum += gradient[i] * outputs[mine + i - start];", "start", "end")}
  let total = sumRow(sum);
  if (lane == 0u) { output[row] = total; }`,
      ),
    ].join("\n"),
    host({ gradient, outputs, expert, slot, output }, { rows, width, capacity }) {
      for (let row = 0; row < rows; row++) {
        let sum = 0;
        const from = (expert[row]! * capacity + slot[row]!) * width;
        const token = Math.floor(row / k) * width;
        for (let column = 0; slot[row]! >= 0 && column < width; column++) {
          sum += gradient[token + column]! * outputs[from + column]!;
        }
        output[row] = sum;
      }
    },
  }));
}
