/**
 * Mean of bilinear samples of a feature grid: y[c] = mean over points p of sum over the four cells around p of
 * weight * x[cell, c], cells outside the grid counting as zero.
 *
 * This is `grid_sample` with bilinear weights, zero padding and corners aligned (Jaderberg et al. 2015, Spatial
 * Transformer Networks), positions given in cells. x is [rows * columns, channels] in raster order.
 * Traffic: four rows of features per point, 4 + 8 bytes of position; about 12 operations per point and channel. Tiling: neighbouring
 * invocations take neighbouring channels; on GPUs 8 slices share the points and meet in workgroup memory.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { type PlaneTiling, sliceSum, tilingKey } from "./plane_norm.ts";

/** Dispatch ceil(channels / width / columns); width 4 needs channels % 4 = 0. */
export function sampleMeanProgram(tiling: PlaneTiling): Program {
  const { width, columns, slices } = tiling;
  const type = width === 4 ? "vec4<f32>" : "f32";
  return program(`sample grid mean ${tilingKey(tiling)}`, () => ({
    arrays: {
      input: { type, access: "read" },
      points: { type: "f32", access: "read" },
      output: { type, access: "read_write" },
    },
    parameters: { rows: "u32", columns: "u32", channels: "u32", count: "u32" },
    wgsl: /* wgsl */ `
${sliceSum(tiling)}
fn cell(row: f32, column: f32, stride: u32, channel: u32) -> ${type} {
  // Written so that positions that are no numbers fall outside.
  let inside = row >= 0.0 && column >= 0.0 && row < f32(params.rows) && column < f32(params.columns);
  if (!inside) { return ${type}(0.0); }
  return input[(u32(row) * params.columns + u32(column)) * stride + channel];
}
@compute @workgroup_size(${columns * slices})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let stride = params.channels / ${width}u;
  let c = workgroupIndex(group, groups) * ${columns}u + index % ${columns}u;
  var sum = ${type}(0.0);
  if (c < stride) {
    for (var p = index / ${columns}u; p < params.count; p += ${slices}u) {
      let r = points[2u * p];
      let q = points[2u * p + 1u];
      let top = floor(r);
      let left = floor(q);
      let down = r - top;
      let right = q - left;
      let reachable = top >= -1.0 && left >= -1.0 && top < f32(params.rows) && left < f32(params.columns);
      if (reachable) {
        sum += (1.0 - down) * ((1.0 - right) * cell(top, left, stride, c) + right * cell(top, left + 1.0, stride, c)) +
          down * ((1.0 - right) * cell(top + 1.0, left, stride, c) + right * cell(top + 1.0, left + 1.0, stride, c));
      }
    }
  }
  let total = sumSlices(sum, index);
  if (c < stride && index < ${columns}u) { output[c] = total / f32(max(params.count, 1u)); }
}`,
    host({ input, points, output }, { rows, columns, channels, count }) {
      const sums = new Float64Array(channels);
      const addCell = (row: number, column: number, weight: number) => {
        if (!(row >= 0 && column >= 0 && row < rows && column < columns) || weight === 0) return;
        for (let c = 0, i = (row * columns + column) * channels; c < channels; c++, i++) {
          sums[c]! += weight * input[i]!;
        }
      };
      for (let p = 0; p < count; p++) {
        const r = points[2 * p]!, q = points[2 * p + 1]!;
        const top = Math.floor(r), left = Math.floor(q), down = r - top, right = q - left;
        addCell(top, left, (1 - down) * (1 - right));
        addCell(top, left + 1, (1 - down) * right);
        addCell(top + 1, left, down * (1 - right));
        addCell(top + 1, left + 1, down * right);
      }
      for (let c = 0; c < channels; c++) output[c] = sums[c]! / Math.max(1, count);
    },
  }));
}
