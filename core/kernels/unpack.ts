/**
 * Unpacks a range of columns of a packed weight to row-major floats, for products that sum over its rows.
 *
 * Traffic: the packed columns once in, four bytes per value out. Tiling: 64 invocations, four columns of one row each;
 * neighbouring invocations take neighbouring runs of a row.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { PackedReader, unpackWgsl, type WeightDType, weightScaleWgsl } from "./quantise.ts";

/**
 * y[row, c] = w[row, firstColumn + c] for `rows` rows and `width` columns; `firstColumn` is a multiple of 32. Dispatch
 * ceil(rows * steps / 64), where `steps` is ceil(width / 4).
 */
export function unpackProgram(dtype: WeightDType): Program {
  const unpack = unpackWgsl[dtype];
  return program(`unpack ${dtype}`, () => ({
    arrays: {
      w: { type: unpack.element, access: "read" },
      y: { type: "f32", access: "read_write" },
    },
    parameters: {
      rows: "u32",
      /** Columns of the whole weight. */
      columns: "u32",
      firstColumn: "u32",
      width: "u32",
      steps: "u32",
      blocks: "u32",
      granules: "u32",
      scaleBase: "u32",
    },
    wgsl: /* wgsl */ `
${unpack.loadRun}${unpack.scaled ? weightScaleWgsl : ""}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  let row = i / params.steps;
  if (row >= params.rows) { return; }
  let step = i - row * params.steps;
  let k4 = (params.firstColumn >> 2u) + step;
  let values = weightRun((row >> 3u) * 8u * params.granules + (row & 7u), k4)${
      unpack.scaled ? " * weightScale(row, k4 >> 3u)" : ""
    };
  let column = 4u * step;
  let to = row * params.width + column;
  y[to] = values.x;
  if (column + 1u < params.width) { y[to + 1u] = values.y; }
  if (column + 2u < params.width) { y[to + 2u] = values.z; }
  if (column + 3u < params.width) { y[to + 3u] = values.w; }
}`,
    host(
      { w, y }: { w: Float32Array | Uint32Array; y: Float32Array },
      { rows, columns, firstColumn, width },
    ) {
      const reader = new PackedReader(w, rows, columns, dtype);
      const values = new Float32Array(columns);
      for (let row = 0; row < rows; row++) {
        reader.read(row, values);
        y.set(values.subarray(firstColumn, firstColumn + width), row * width);
      }
    },
  }));
}
