/**
 * target[start + t, c] = rows[t, c], with `start` on the device.
 *
 * Traffic: every element of `rows` once in, once out. Tiling: 64 invocations, one element each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/**
 * Writes rows of a table; rows outside `firstRow` to `firstRow + rows` of the target (the piece that is bound) are left
 * alone. Dispatch ceil(count / 64).
 */
export function appendProgram(): Program {
  return program("append rows", () => ({
    arrays: {
      source: { type: "u32", access: "read" },
      start: { type: "u32", access: "read" },
      destination: { type: "u32", access: "read_write" },
    },
    parameters: { count: "u32", columns: "u32", firstRow: "u32", rows: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let position = start[0] + i / params.columns;
  let row = position - params.firstRow;
  if (position < params.firstRow || row >= params.rows) { return; }
  destination[row * params.columns + i % params.columns] = source[i];
}`,
    host({ source, start, destination }, { count, columns, firstRow, rows }) {
      for (let t = 0; t < count / columns; t++) {
        const row = start[0]! + t - firstRow;
        if (row < 0 || row >= rows) continue;
        destination.set(source.subarray(t * columns, (t + 1) * columns), row * columns);
      }
    },
  }));
}
