/**
 * Constrained decoding: logits of tokens that an automaton does not allow in its present state, and the step to its next state.
 * Tokens have classes, and a table has the next state of every state and class, 0xffffffff where there is none.
 *
 * Traffic: every logit and its class once in, the forbidden ones out; the row of the table from the cache. Tiling: 64 invocations,
 * one token each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** What forbidden logits become: below every other, and finite so that differences stay numbers. */
export const forbiddenLogit = -3e38;

/** logits[i] = {@linkcode forbiddenLogit} for tokens not allowed in `state[0]`. Dispatch ceil(columns / 64). */
export function constrainProgram(): Program {
  return program("constrain logits", () => ({
    arrays: {
      classOf: { type: "u32", access: "read" },
      next: { type: "u32", access: "read" },
      state: { type: "u32", access: "read" },
      logits: { type: "f32", access: "read_write" },
    },
    parameters: { columns: "u32", classes: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.columns) { return; }
  if (next[state[0] * params.classes + classOf[i]] == 0xffffffffu) { logits[i] = ${forbiddenLogit}; }
}`,
    host({ classOf, next, state, logits }, { columns, classes }) {
      const row = next.subarray(state[0]! * classes, (state[0]! + 1) * classes);
      for (let i = 0; i < columns; i++) {
        if (row[classOf[i]!] === 0xffffffff) logits[i] = forbiddenLogit;
      }
    },
  }));
}

/** state[0] = the state after `token[0]`; it stays where the token is not allowed. Dispatch 1. */
export function advanceProgram(): Program {
  return program("advance constraint", () => ({
    arrays: {
      classOf: { type: "u32", access: "read" },
      next: { type: "u32", access: "read" },
      token: { type: "u32", access: "read" },
      state: { type: "u32", access: "read_write" },
    },
    parameters: { columns: "u32", classes: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(1)
fn main() {
  let chosen = token[0];
  if (chosen >= params.columns) { return; }
  let to = next[state[0] * params.classes + classOf[chosen]];
  if (to != 0xffffffffu) { state[0] = to; }
}`,
    host({ classOf, next, token, state }, { columns, classes }) {
      if (token[0]! >= columns) return;
      const to = next[state[0]! * classes + classOf[token[0]!]!]!;
      if (to !== 0xffffffff) state[0] = to;
    },
  }));
}
