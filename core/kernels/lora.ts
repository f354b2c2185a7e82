/**
 * Helpers of low-rank adapters, W' = W + sum_i scale_i * B_i A_i (Hu et al., LoRA, section 4.1). The update itself
 * continues the sum of the matrix product (see `matmul_operands.ts`).
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/**
 * Copies b [rows, rank] into columns from `offset` on of a matrix [rows, total], so that several adapters make one.
 * Dispatch ceil(rows * rank / 64). Traffic: 8 bytes per value.
 */
export function loraPackProgram(): Program {
  return program("lora pack", () => ({
    arrays: {
      b: { type: "f32", access: "read" },
      packed: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32", rank: "u32", total: "u32", offset: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let row = i / params.rank;
  packed[row * params.total + params.offset + i - row * params.rank] = b[i];
}`,
    host({ b, packed }, { count, rank, total, offset }) {
      for (let i = 0; i < count; i++) {
        const row = Math.floor(i / rank);
        packed[row * total + offset + i - row * rank] = b[i]!;
      }
    },
  }));
}

/**
 * Adds scale * b a to packed f32 weights (layout of `quantise.ts`), one granule of four columns per invocation.
 * a: [rank, columns], b: rows of [N, rank] from `firstRow` on. Dispatch ceil(granules of the part / 64).
 * FLOPs: 2 N K rank.
 */
export function loraMergeProgram(): Program {
  return program("lora merge", () => ({
    arrays: {
      a: { type: "f32", access: "read" },
      b: { type: "f32", access: "read" },
      w: { type: "vec4<f32>", access: "read_write" },
    },
    parameters: {
      rows: "u32",
      columns: "u32",
      granules: "u32",
      firstRow: "u32",
      rank: "u32",
      count: "u32",
      scale: "f32",
    },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let panel = i / (8u * params.granules);
  let row = 8u * panel + (i & 7u);
  let column = 4u * ((i >> 3u) - panel * params.granules);
  if (row >= params.rows || column >= params.columns) { return; }
  let last = params.columns - 1u;
  var sum = vec4<f32>(0.0);
  for (var j = 0u; j < params.rank; j++) {
    let start = j * params.columns;
    sum += b[(params.firstRow + row) * params.rank + j] * vec4<f32>(a[start + column], a[start + min(column + 1u, last)],
      a[start + min(column + 2u, last)], a[start + min(column + 3u, last)]);
  }
  // The padding behind a row stays zero.
  let inside = vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(last);
  w[i] = w[i] + params.scale * select(vec4<f32>(0.0), sum, inside);
}`,
    host({ a, b, w }, { rows, columns, granules, firstRow, rank, scale }) {
      for (let row = 0; row < rows; row++) {
        const base = 8 * granules * (row >> 3) + (row & 7);
        for (let column = 0; column < columns; column++) {
          let sum = 0;
          for (let j = 0; j < rank; j++) {
            sum += b[(firstRow + row) * rank + j]! * a[j * columns + column]!;
          }
          w[4 * (base + 8 * (column >> 2)) + (column & 3)]! += scale * sum;
        }
      }
    },
  }));
}
