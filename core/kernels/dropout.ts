/**
 * Dropout with a mask drawn by counter, so that the way back draws the same mask again instead of keeping it.
 *
 * Traffic: one read and one write per value. Tiling: 64 invocations, four values each, which one Philox block serves.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { philox4x32, philoxWgsl, uniformOf } from "./random.ts";

/**
 * output[i] = draw(seed, stream, i) < rate ? 0 : scale * input[i] for i < count, with the draws of `randomProgram`.
 * Dispatch ceil(count / 256).
 */
export function dropoutProgram(): Program {
  return program("dropout", () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: {
      count: "u32",
      seedLow: "u32",
      seedHigh: "u32",
      stream: "u32",
      rate: "f32",
      scale: "f32",
    },
    wgsl: /* wgsl */ `
${philoxWgsl}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let block = workgroupIndex(group, groups) * 64u + lane;
  if (4u * block >= params.count) { return; }
  let words = philox(vec4<u32>(block, 0u, params.stream, 0u), vec2<u32>(params.seedLow, params.seedHigh));
  let end = min(4u, params.count - 4u * block);
  for (var i = 0u; i < end; i++) {
    let at = 4u * block + i;
    output[at] = select(params.scale * input[at], 0.0, uniformOf(words[i]) < params.rate);
  }
}`,
    host({ input, output }, { count, seedLow, seedHigh, stream, rate, scale }) {
      for (let i = 0; i < count; i += 4) {
        const words = philox4x32([i / 4, 0, stream, 0], [seedLow, seedHigh]);
        for (let lane = 0; lane < 4 && i + lane < count; lane++) {
          output[i + lane] = uniformOf(words[lane]!) < rate ? 0 : scale * input[i + lane]!;
        }
      }
    },
  }));
}
