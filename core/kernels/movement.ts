/**
 * Kernels that move values without computing: the strided copy behind permute, slice, concat and broadcast; rows scattered by
 * index; fills; and the mean over one axis.
 *
 * Values are moved as 32-bit words, so every dtype is served. Traffic: one read and one write per element. Tiling: 64
 * invocations, one element each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** Most axes of a strided copy. */
export const copyRank = 6;

const axes = Array.from({ length: copyRank }, (_, axis) => axis);

type CopyParameters = Record<`extent${number}` | `from${number}` | `to${number}`, number>;

/**
 * target[targetOffset + sum_a i_a to_a] = source[sourceOffset + sum_a i_a from_a] for all i below the extents. Strides count
 * elements; a source stride of 0 repeats. Dispatch ceil(count / 64).
 */
export function stridedCopyProgram(): Program {
  const parameters: Record<string, "u32"> = {
    count: "u32",
    sourceOffset: "u32",
    targetOffset: "u32",
  };
  for (const axis of axes) {
    parameters[`extent${axis}`] = parameters[`from${axis}`] = parameters[`to${axis}`] = "u32";
  }
  const walk = axes.toReversed().map((axis) => `
  index = rest % params.extent${axis};
  rest = rest / params.extent${axis};
  origin += index * params.from${axis};
  place += index * params.to${axis};`).join("");
  return program("copy strided", () => ({
    arrays: {
      source: { type: "u32", access: "read" },
      result: { type: "u32", access: "read_write" },
    },
    parameters,
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  var rest = i;
  var index = 0u;
  var origin = params.sourceOffset;
  var place = params.targetOffset;${walk}
  result[place] = source[origin];
}`,
    host({ source, result }, p) {
      const { extent0, extent1, extent2, extent3, extent4, extent5, from5, to5 } =
        p as unknown as CopyParameters;
      const at = p as unknown as CopyParameters;
      for (let a = 0; a < extent0!; a++) {
        for (let b = 0; b < extent1!; b++) {
          for (let c = 0; c < extent2!; c++) {
            for (let d = 0; d < extent3!; d++) {
              for (let e = 0; e < extent4!; e++) {
                let from = p.sourceOffset! + a * at.from0! + b * at.from1! + c * at.from2! +
                  d * at.from3! + e * at.from4!;
                let to = p.targetOffset! + a * at.to0! + b * at.to1! + c * at.to2! + d * at.to3! +
                  e * at.to4!;
                for (let f = 0; f < extent5!; f++, from += from5!, to += to5!) {
                  result[to] = source[from]!;
                }
              }
            }
          }
        }
      }
    },
  }));
}

/** target[index[r]] = rows[r], rows of `columns` words. Rows with an index beyond `limit` are left out. */
export function scatterRowsProgram(): Program {
  return program("scatter rows", () => ({
    arrays: {
      rows: { type: "u32", access: "read" },
      index: { type: "u32", access: "read" },
      result: { type: "u32", access: "read_write" },
    },
    parameters: { count: "u32", columns: "u32", limit: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let row = index[i / params.columns];
  if (row < params.limit) { result[row * params.columns + i % params.columns] = rows[i]; }
}`,
    host({ rows, index, result }, { count, columns, limit }) {
      for (let i = 0, r = 0; i < count; i += columns, r++) {
        const row = index[r]!;
        if (row < limit) result.set(rows.subarray(i, i + columns), row * columns);
      }
    },
  }));
}

/** Every word becomes `bits`. */
export function fillProgram(): Program {
  return program("fill", () => ({
    arrays: { result: { type: "u32", access: "read_write" } },
    parameters: { count: "u32", bits: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i < params.count) { result[i] = params.bits; }
}`,
    host({ result }, { count, bits }) {
      result.fill(bits, 0, count);
    },
  }));
}

/** y[o, i] = mean over n of x[o, n, i]. One invocation per output. Dispatch ceil(outer * inner / 64). */
export function meanProgram(): Program {
  return program("mean", () => ({
    arrays: {
      x: { type: "f32", access: "read" },
      y: { type: "f32", access: "read_write" },
    },
    parameters: { outer: "u32", length: "u32", inner: "u32", scale: "f32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.outer * params.inner) { return; }
  let base = (i / params.inner) * params.length * params.inner + i % params.inner;
  // Four partial sums keep the rounding error of long axes low.
  var sums = vec4<f32>(0.0);
  for (var n = 0u; n < params.length; n++) {
    sums[n % 4u] += x[base + n * params.inner];
  }
  y[i] = (sums.x + sums.y + sums.z + sums.w) * params.scale;
}`,
    host({ x, y }, { outer, length, inner, scale }) {
      const sums = new Float64Array(inner);
      for (let o = 0, at = 0; o < outer; o++) {
        sums.fill(0);
        for (let n = 0; n < length; n++) for (let i = 0; i < inner; i++, at++) sums[i]! += x[at]!;
        for (let i = 0; i < inner; i++) y[o * inner + i] = sums[i]! * scale;
      }
    },
  }));
}
