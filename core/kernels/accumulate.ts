/**
 * In-place accumulation: y[i] += scale * x[i].
 *
 * Traffic: two reads and one write per element. Tiling: 64 invocations, one element each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** total[i] += scale * input[i] for i < count. Dispatch ceil(count / 64). */
export function accumulateProgram(): Program {
  return program("accumulate", () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      total: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32", scale: "f32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  total[i] += params.scale * input[i];
}`,
    host({ input, total }, { count, scale }) {
      for (let i = 0; i < count; i++) total[i] += scale * input[i]!;
    },
  }));
}
