/**
 * Row gathers: y[i, :] = source[index[i], :], and zeros where the index is outside of the source.
 *
 * The source is a float tensor or a part of a packed weight; of a weight in several parts, each dispatch writes the rows
 * that it holds. Traffic: the gathered rows once in, once out. Tiling: 64 invocations, four columns of one row each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { PackedReader, unpackWgsl, type WeightDType, weightScaleWgsl } from "./quantise.ts";

/** Dispatch ceil(count * steps / 64), where `steps` is ceil(columns / 4). */
export function gatherProgram(source: WeightDType | "tensor"): Program {
  const unpack = source === "tensor" ? undefined : unpackWgsl[source];
  return program(`gather ${source}`, () => ({
    arrays: {
      w: { type: unpack?.element ?? "f32", access: "read" },
      index: { type: "u32", access: "read" },
      y: { type: "f32", access: "read_write" },
    },
    parameters: {
      /** Rows gathered. */
      count: "u32",
      columns: "u32",
      steps: "u32",
      /** Rows of the bound part, and the number of its first one. */
      rows: "u32",
      firstRow: "u32",
      /** Rows of all parts; indices from here on give zeros, written by the dispatch of the first part. */
      totalRows: "u32",
      blocks: "u32",
      granules: "u32",
      scaleBase: "u32",
    },
    wgsl: /* wgsl */ `
${
      unpack === undefined
        ? `fn weightRun(base: u32, k4: u32) -> vec4<f32> {
  let last = base + params.columns - 1u;
  let at = base + 4u * k4;
  return vec4<f32>(w[at], w[min(at + 1u, last)], w[min(at + 2u, last)], w[min(at + 3u, last)]);
}`
        : `${unpack.loadRun}${unpack.scaled ? weightScaleWgsl : ""}`
    }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  let target_row = i / params.steps;
  if (target_row >= params.count) { return; }
  let k4 = i - target_row * params.steps;
  // A negative index is a huge unsigned one.
  let id = index[target_row];
  let outside = id >= params.totalRows;
  let row = id - params.firstRow;
  var values = vec4<f32>(0.0);
  if (outside) {
    if (params.firstRow > 0u) { return; }
  } else {
    if (id < params.firstRow || row >= params.rows) { return; }
    values = weightRun(${
      unpack === undefined
        ? "row * params.columns"
        : "(row >> 3u) * 8u * params.granules + (row & 7u)"
    }, k4)${unpack?.scaled ? " * weightScale(row, k4 >> 3u)" : ""};
  }
  let column = 4u * k4;
  let to = target_row * params.columns + column;
  y[to] = values.x;
  if (column + 1u < params.columns) { y[to + 1u] = values.y; }
  if (column + 2u < params.columns) { y[to + 2u] = values.z; }
  if (column + 3u < params.columns) { y[to + 3u] = values.w; }
}`,
    host(
      { w, index, y }: { w: Float32Array | Uint32Array; index: Uint32Array; y: Float32Array },
      { count, columns, rows, firstRow, totalRows },
    ) {
      const reader = source === "tensor" ? undefined : new PackedReader(w, rows, columns, source);
      for (let i = 0; i < count; i++) {
        const id = index[i]!;
        const target = y.subarray(i * columns, (i + 1) * columns);
        if (id >= totalRows) {
          if (firstRow === 0) target.fill(0);
          continue;
        }
        const row = id - firstRow;
        if (row < 0 || row >= rows) continue;
        if (reader === undefined) target.set(w.subarray(row * columns, (row + 1) * columns));
        else reader.read(row, target);
      }
    },
  }));
}
