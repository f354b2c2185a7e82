/**
 * Weighted sums of equally many values, as a loss is made of its terms.
 *
 * Traffic: every term read once, the sum written once. Tiling: 64 invocations, one value each.
 *
 * @module
 */
import { type ArraySpec, type Program, program, type Scalar } from "../device/mod.ts";

/** Terms that one dispatch adds; with the result they are the bindings that every device has. */
export const mostTerms = 7;

/** output[i] = sum over n < terms of weight{n} * term{n}[i] for i < count. Dispatch ceil(count / 64). */
export function weightedSumProgram(terms: number): Program {
  const names = Array.from({ length: terms }, (_, n) => n);
  return program(`weighted sum ${terms}`, () => {
    const arrays: Record<string, ArraySpec> = {};
    const parameters: Record<string, Scalar> = { count: "u32" };
    for (const n of names) {
      arrays[`term${n}`] = { type: "f32", access: "read" };
      parameters[`weight${n}`] = "f32";
    }
    arrays.output = { type: "f32", access: "read_write" };
    return {
      arrays,
      parameters,
      wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  output[i] = ${names.map((n) => `params.weight${n} * term${n}[i]`).join(" + ")};
}`,
      host(values, given) {
        const arrays = values as unknown as Readonly<Record<string, Float32Array>>;
        const output = arrays.output!;
        for (let i = 0; i < given.count!; i++) {
          output[i] = names.reduce(
            (sum, n) => sum + given[`weight${n}`]! * arrays[`term${n}`]![i]!,
            0,
          );
        }
      },
    };
  });
}
