/**
 * A learned factor kept as its logarithm: y = exp(min(x, most)), and the way back, which ends where the limit acts.
 *
 * A handful of values: one read and one write each; 64 invocations, one value each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

const main = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }`;

/** output[i] = exp(min(input[i], most)) for i < count. Dispatch ceil(count / 64). */
export function temperatureProgram(): Program {
  return program("temperature", () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32", most: "f32" },
    wgsl: `${main}
  output[i] = exp(min(input[i], params.most));
}`,
    host({ input, output }, { count, most }) {
      for (let i = 0; i < count; i++) output[i] = Math.exp(Math.min(input[i]!, most));
    },
  }));
}

/** output[i] = gradient[i] * exp(input[i]), 0 above the limit, for i < count. Dispatch ceil(count / 64). */
export function temperatureGradientProgram(): Program {
  return program("temperature gradient", () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      gradient: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32", most: "f32" },
    wgsl: `${main}
  let x = input[i];
  output[i] = select(0.0, gradient[i] * exp(min(x, params.most)), x <= params.most);
}`,
    host({ input, gradient, output }, { count, most }) {
      for (let i = 0; i < count; i++) {
        output[i] = input[i]! <= most ? gradient[i]! * Math.exp(input[i]!) : 0;
      }
    },
  }));
}
