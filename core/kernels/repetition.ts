/**
 * Penalty on the logits of tokens that were already generated: divided by the penalty where positive, multiplied where negative
 * (Keskar et al. 2019, "CTRL"; `RepetitionPenaltyLogitsProcessor` of transformers).
 *
 * Traffic: n of the V logits once in and out, and n^2 / 2 reads of the history from the cache, n being the tokens so far.
 * Tiling: 64 invocations, one entry of the history each; of equal entries the first one acts, so that no two write to a place.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/**
 * Changes `logits` in place. Entries 0 to `count[0]` - 1 of the history count, at most `capacity`; besides them the token `also`,
 * if it is below `columns`. Dispatch ceil((capacity + 1) / 64).
 */
export function repetitionProgram(): Program {
  return program("repetition penalty", () => ({
    arrays: {
      history: { type: "u32", access: "read" },
      count: { type: "u32", access: "read" },
      logits: { type: "f32", access: "read_write" },
    },
    parameters: { columns: "u32", capacity: "u32", also: "u32", penalty: "f32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  let known = min(count[0], params.capacity);
  if (i >= known && i != params.capacity) { return; }
  var token = params.also;
  if (i < params.capacity) { token = history[i]; }
  if (token >= params.columns || (i < params.capacity && token == params.also)) { return; }
  if (i < params.capacity) {
    for (var j = 0u; j < i; j++) {
      if (history[j] == token) { return; }
    }
  }
  let logit = logits[token];
  logits[token] = select(logit / params.penalty, logit * params.penalty, logit < 0.0);
}`,
    host({ history, count, logits }, { columns, capacity, also, penalty }) {
      const tokens = new Set(history.subarray(0, Math.min(count[0]!, capacity)));
      for (const token of tokens.add(also)) {
        if (token >= columns) continue;
        const logit = logits[token]!;
        logits[token] = logit < 0 ? logit * penalty : logit / penalty;
      }
    },
  }));
}
