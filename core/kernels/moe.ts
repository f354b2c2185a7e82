/**
 * Kernels of mixture-of-experts routing: gate, ranks under capacity, slots, balance loss, and the weighted sum of expert
 * outputs. Nothing is read back and no float is added atomically, so results repeat exactly.
 *
 * T tokens, E experts, k choices. Ranks are counted by comparing each choice with all others: T^2 k comparisons, far below
 * the experts' T H F products for any prompt. A single token (every decode step) takes one dispatch. The number of experts is
 * baked into the loops over them: with a bound read from memory lavapipe runs such loops to its limit (2 ms a dispatch).
 *
 * Source: DeepSpeed 0.13.1, `deepspeed/moe/sharded_moe.py` (`top1gating`, `top2gating`).
 *
 * @module
 */
import { type ArraySpec, type Program, program } from "../device/mod.ts";

/** Marks a dropped choice. */
const dropped = -1;

const gateWgsl = /* wgsl */ `
fn gate(token: u32) {
  let base = token * EXPERTS;
  var top = -3.0e38;
  for (var e = 0u; e < EXPERTS; e++) { top = max(top, logits[base + e]); }
  var sum = 0.0;
  for (var e = 0u; e < EXPERTS; e++) { sum += exp(logits[base + e] - top); }
  var first = 0u;
  var best = -3.0e38;
  for (var e = 0u; e < EXPERTS; e++) {
    gates[base + e] = exp(logits[base + e] - top) / sum;
    // The lowest expert wins a tie.
    if (logits[base + e] > best) { best = logits[base + e]; first = e; }
  }
  expert[token * K] = first;
  SECOND
}`;

const secondChoice = /* wgsl */ `
  var second = select(0u, 1u, first == 0u);
  var runnerUp = -3.0e38;
  for (var e = 0u; e < EXPERTS; e++) {
    let noisy = logits[base + e] + NOISE;
    if (e != first && noisy > runnerUp) { runnerUp = noisy; second = e; }
  }
  expert[token * K + 1u] = second;`;

function gateSource(k: number, noise: boolean, experts: number): string {
  const second = k === 2 ? secondChoice.replace("NOISE", noise ? "noise[base + e]" : "0.0") : "";
  return gateWgsl.replace("SECOND", second).replaceAll("K]", `${k}u]`).replaceAll("* K", `* ${k}u`)
    .replaceAll(
      "EXPERTS",
      `${experts}u`,
    );
}

interface GateArrays {
  logits: Float32Array;
  gates: Float32Array;
  expert: Uint32Array;
  noise?: Float32Array;
}

function gateOnHost(
  { logits, gates, expert, noise }: GateArrays,
  token: number,
  experts: number,
  k: number,
): void {
  const base = token * experts;
  let first = 0;
  for (let e = 1; e < experts; e++) if (logits[base + e]! > logits[base + first]!) first = e;
  const top = logits[base + first]!;
  let sum = 0;
  for (let e = 0; e < experts; e++) sum += gates[base + e] = Math.exp(logits[base + e]! - top);
  for (let e = 0; e < experts; e++) gates[base + e]! /= sum;
  expert[token * k] = first;
  if (k === 1) return;
  let second = first === 0 ? 1 : 0, best = -Infinity;
  for (let e = 0; e < experts; e++) {
    const noisy = logits[base + e]! + (noise?.[base + e] ?? 0);
    if (e !== first && noisy > best) {
      best = noisy;
      second = e;
    }
  }
  expert[token * k + 1] = second;
}

const optional = (name: string, present: boolean): Record<string, ArraySpec> =>
  present ? { [name]: { type: "f32", access: "read" } } : {};

/** Softmax over all experts and the chosen experts of every token. Dispatch ceil(T / 64). */
export function gateProgram(k: 1 | 2, noise: boolean, experts: number): Program {
  return program(`moe.gate k${k} e${experts}${noise ? " noise" : ""}`, () => ({
    arrays: {
      logits: { type: "f32", access: "read" },
      gates: { type: "f32", access: "read_write" },
      expert: { type: "u32", access: "read_write" },
      ...optional("noise", noise),
    },
    parameters: { tokens: "u32" },
    wgsl: /* wgsl */ `
${gateSource(k, noise, experts)}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < params.tokens) { gate(id.x); }
}`,
    host(arrays, { tokens }) {
      for (let token = 0; token < tokens; token++) {
        gateOnHost(arrays as unknown as GateArrays, token, experts, k);
      }
    },
  }));
}

/**
 * Which choices are kept: rank[t, j] counts the choices of the same expert that go before, and a choice is kept when fewer
 * than `capacity` do. First choices go before second ones; among first choices the larger `priority` goes first where there
 * is one, else the earlier token. Dispatch ceil(T / 64).
 */
export function keepProgram(k: 1 | 2, priority: boolean): Program {
  return program(`moe.keep k${k}${priority ? " priority" : ""}`, () => ({
    arrays: {
      expert: { type: "u32", access: "read" },
      kept: { type: "u32", access: "read_write" },
      ...optional("priority", priority),
    },
    parameters: { tokens: "u32", experts: "u32", capacity: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = id.x;
  if (token >= params.tokens) { return; }
  let mine = expert[token * ${k}u];
  var rank = 0u;
  for (var other = 0u; other < params.tokens; other++) {
    if (expert[other * ${k}u] != mine || other == token) { continue; }
    ${
      priority
        ? `let a = priority[other * params.experts + mine];
    let b = priority[token * params.experts + mine];
    if (a > b || (a == b && other < token)) { rank++; }`
        : "if (other < token) { rank++; }"
    }
  }
  kept[token * ${k}u] = u32(rank < params.capacity);
  ${
      k === 2
        ? `let next = expert[token * 2u + 1u];
  var after = 0u;
  for (var other = 0u; other < params.tokens; other++) {
    if (expert[other * 2u] == next) { after++; }
    if (other < token && expert[other * 2u + 1u] == next) { after++; }
  }
  kept[token * 2u + 1u] = u32(after < params.capacity);`
        : ""
    }
}`,
    host(arrays, { tokens, experts, capacity }) {
      const { expert, kept, priority: order } = arrays as unknown as {
        expert: Uint32Array;
        kept: Uint32Array;
        priority?: Float32Array;
      };
      for (let token = 0; token < tokens; token++) {
        const mine = expert[token * k]!;
        const own = order?.[token * experts + mine] ?? 0;
        let rank = 0;
        for (let other = 0; other < tokens; other++) {
          if (other === token || expert[other * k] !== mine) continue;
          const theirs = order?.[other * experts + mine] ?? 0;
          if (theirs > own || (theirs === own && other < token)) rank++;
        }
        kept[token * k] = rank < capacity ? 1 : 0;
        if (k === 1) continue;
        const next = expert[token * 2 + 1]!;
        let after = 0;
        for (let other = 0; other < tokens; other++) {
          if (expert[other * 2] === next) after++;
          if (other < token && expert[other * 2 + 1] === next) after++;
        }
        kept[token * 2 + 1] = after < capacity ? 1 : 0;
      }
    },
  }));
}

const weightWgsl: Record<1 | 2, string> = {
  1: /* wgsl */ `
  weight[token] = select(0.0, gates[token * params.experts + expert[token]], kept[token] == 1u);`,
  // Renormalised over what was kept, with DeepSpeed's float32 epsilon.
  2: /* wgsl */ `
  let a = select(0.0, gates[token * params.experts + expert[token * 2u]], kept[token * 2u] == 1u);
  let b = select(0.0, gates[token * params.experts + expert[token * 2u + 1u]], kept[token * 2u + 1u] == 1u);
  let total = max(a + b, 1.1920929e-7);
  weight[token * 2u] = a / total;
  weight[token * 2u + 1u] = b / total;`,
};

interface SlotArrays {
  gates: Float32Array;
  expert: Uint32Array;
  kept: Uint32Array;
  slot: Int32Array;
  weight: Float32Array;
  tokenOf: Uint32Array;
}

function weightsOnHost(
  { gates, expert, kept, weight }: SlotArrays,
  token: number,
  experts: number,
  k: number,
): void {
  let total = 0;
  for (let j = token * k; j < (token + 1) * k; j++) {
    total += weight[j] = kept[j] === 1 ? gates[token * experts + expert[j]!]! : 0;
  }
  if (k === 1) return;
  for (let j = token * k; j < (token + 1) * k; j++) weight[j]! /= Math.max(total, 1.1920929e-7);
}

/**
 * Slots of kept choices (first choices in token order, then second choices in token order), the token of every slot, and the
 * weights of the expert outputs. Dispatch ceil(T / 64).
 */
export function slotProgram(k: 1 | 2): Program {
  return program(`moe.slot k${k}`, () => ({
    arrays: {
      gates: { type: "f32", access: "read" },
      expert: { type: "u32", access: "read" },
      kept: { type: "u32", access: "read" },
      slot: { type: "i32", access: "read_write" },
      weight: { type: "f32", access: "read_write" },
      tokenOf: { type: "u32", access: "read_write" },
    },
    parameters: { tokens: "u32", experts: "u32", capacity: "u32" },
    wgsl: /* wgsl */ `
fn place(token: u32, j: u32) {
  let at = token * ${k}u + j;
  if (kept[at] == 0u) { slot[at] = ${dropped}; return; }
  let mine = expert[at];
  var before = 0u;
  for (var other = 0u; other < params.tokens; other++) {
    for (var choice = 0u; choice <= j; choice++) {
      let index = other * ${k}u + choice;
      if (expert[index] == mine && kept[index] == 1u && (choice < j || other < token)) { before++; }
    }
  }
  slot[at] = i32(before);
  tokenOf[mine * params.capacity + before] = token;
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = id.x;
  if (token >= params.tokens) { return; }
  ${Array.from({ length: k }, (_, j) => `place(token, ${j}u);`).join("\n  ")}
  ${weightWgsl[k]}
}`,
    host(arrays, { tokens, experts, capacity }) {
      const { expert, kept, slot, tokenOf } = arrays;
      const filled = new Uint32Array(experts);
      for (let j = 0; j < k; j++) {
        for (let token = 0; token < tokens; token++) {
          const at = token * k + j, mine = expert[at]!;
          slot[at] = kept[at] === 1 ? filled[mine]!++ : dropped;
          if (kept[at] === 1) tokenOf[mine * capacity + slot[at]!] = token;
        }
      }
      for (let token = 0; token < tokens; token++) {
        weightsOnHost(arrays as unknown as SlotArrays, token, experts, k);
      }
    },
  }));
}

/**
 * First choices and filled slots per expert, and the balance loss E * sum_e(mean gate_e * fraction of first choices_e).
 * One workgroup, which shares the tokens of one expert after the other.
 */
export function balanceProgram(k: 1 | 2): Program {
  return program(`moe.balance k${k}`, () => ({
    arrays: {
      gates: { type: "f32", access: "read" },
      expert: { type: "u32", access: "read" },
      kept: { type: "u32", access: "read" },
      counts: { type: "u32", access: "read_write" },
      used: { type: "u32", access: "read_write" },
      loss: { type: "f32", access: "read_write" },
    },
    parameters: { tokens: "u32", experts: "u32" },
    wgsl: /* wgsl */ `
// First choices, filled slots and sum of gates; counts are exact in float32 up to 2^24 tokens.
var<workgroup> parts: array<vec3<f32>, 256>;
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  let tokens = f32(params.tokens);
  for (var e = 0u; e < params.experts; e++) {
    var part = vec3<f32>(0.0);
    for (var token = lane; token < params.tokens; token += 256u) {
      part.z += gates[token * params.experts + e];
      ${
      Array.from({ length: k }, (_, j) =>
        `let at${j} = token * ${k}u + ${j}u;
      if (expert[at${j}] == e) { ${j === 0 ? "part.x += 1.0; " : ""}part.y += f32(kept[at${j}]); }`)
        .join("\n      ")
    }
    }
    parts[lane] = part;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half >>= 1u) {
      if (lane < half) { parts[lane] += parts[lane + half]; }
      workgroupBarrier();
    }
    let all = parts[0];
    workgroupBarrier();
    if (lane == 0u) {
      counts[e] = u32(all.x);
      used[e] = u32(all.y);
      sum += (all.z / tokens) * (all.x / tokens);
    }
  }
  if (lane == 0u) { loss[0] = sum * f32(params.experts); }
}`,
    host({ gates, expert, kept, counts, used, loss }, { tokens, experts }) {
      let sum = 0;
      for (let e = 0; e < experts; e++) {
        let first = 0, filled = 0, mean = 0;
        for (let token = 0; token < tokens; token++) {
          mean += gates[token * experts + e]!;
          for (let j = 0; j < k; j++) {
            if (expert[token * k + j] !== e) continue;
            if (j === 0) first++;
            filled += kept[token * k + j]!;
          }
        }
        counts[e] = first;
        used[e] = filled;
        sum += (mean / tokens) * (first / tokens);
      }
      loss[0] = sum * experts;
    },
  }));
}

/** Everything above for one token, whose choices always fit: one invocation. */
export function singleTokenProgram(k: 1 | 2, noise: boolean, experts: number): Program {
  return program(`moe.single k${k} e${experts}${noise ? " noise" : ""}`, () => ({
    arrays: {
      logits: { type: "f32", access: "read" },
      gates: { type: "f32", access: "read_write" },
      expert: { type: "u32", access: "read_write" },
      slot: { type: "i32", access: "read_write" },
      weight: { type: "f32", access: "read_write" },
      tokenOf: { type: "u32", access: "read_write" },
      counts: { type: "u32", access: "read_write" },
      used: { type: "u32", access: "read_write" },
      loss: { type: "f32", access: "read_write" },
      ...optional("noise", noise),
    },
    parameters: { capacity: "u32" },
    wgsl: /* wgsl */ `
${gateSource(k, noise, experts)}
@compute @workgroup_size(1)
fn main() {
  gate(0u);
  let first = expert[0];
  for (var e = 0u; e < ${experts}u; e++) {
    counts[e] = u32(e == first);
    used[e] = u32(${k === 2 ? "e == first || e == expert[1]" : "e == first"});
    tokenOf[e * params.capacity] = 0u;
  }
  loss[0] = f32(${experts}u) * gates[first];
  slot[0] = 0;
  ${
      k === 1 ? "weight[0] = gates[first];" : `slot[1] = 0;
  let total = max(gates[first] + gates[expert[1]], 1.1920929e-7);
  weight[0] = gates[first] / total;
  weight[1] = gates[expert[1]] / total;`
    }
}`,
    host(arrays, { capacity }) {
      const { gates, expert, slot, weight, tokenOf, counts, used, loss } = arrays;
      gateOnHost(arrays as unknown as GateArrays, 0, experts, k);
      const chosen = [...expert.subarray(0, k)];
      const total = k === 1
        ? 1
        : Math.max(1.1920929e-7, chosen.reduce((sum, e) => sum + gates[e]!, 0));
      for (let e = 0; e < experts; e++) {
        counts[e] = e === chosen[0] ? 1 : 0;
        used[e] = chosen.includes(e) ? 1 : 0;
        tokenOf[e * capacity] = 0;
      }
      chosen.forEach((e, j) => {
        slot[j] = 0;
        weight[j] = gates[e]! / total;
      });
      loss[0] = experts * gates[chosen[0]!]!;
    },
  }));
}

/** y[t] = sum_j weight[t, j] * outputs[expert[t, j] * capacity + slot[t, j]] (+ residual[t]). Dispatch ceil(T H / 64). */
export function combineProgram(k: 1 | 2, residual: boolean): Program {
  return program(`moe.combine k${k}${residual ? " residual" : ""}`, () => ({
    arrays: {
      outputs: { type: "f32", access: "read" },
      expert: { type: "u32", access: "read" },
      slot: { type: "i32", access: "read" },
      weight: { type: "f32", access: "read" },
      result: { type: "f32", access: "read_write" },
      ...optional("residual", residual),
    },
    parameters: { tokens: "u32", width: "u32", capacity: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.tokens * params.width) { return; }
  let token = i / params.width;
  let column = i % params.width;
  var sum = ${residual ? "residual[i]" : "0.0"};
  for (var j = token * ${k}u; j < (token + 1u) * ${k}u; j++) {
    if (slot[j] >= 0) {
      sum += weight[j] * outputs[(expert[j] * params.capacity + u32(slot[j])) * params.width + column];
    }
  }
  result[i] = sum;
}`,
    host(arrays, { tokens, width, capacity }) {
      const { outputs, expert, slot, weight, result } = arrays;
      const added = (arrays as unknown as { residual?: Float32Array }).residual;
      for (let token = 0, i = 0; token < tokens; token++) {
        for (let column = 0; column < width; column++, i++) {
          let sum = added === undefined ? 0 : added[i]!;
          for (let j = token * k; j < (token + 1) * k; j++) {
            if (slot[j]! >= 0) {
              sum += weight[j]! * outputs[(expert[j]! * capacity + slot[j]!) * width + column]!;
            }
          }
          result[i] = sum;
        }
      }
    },
  }));
}
