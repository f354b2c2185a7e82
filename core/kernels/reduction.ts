/**
 * Scaled sums along one axis of [outer, length, inner]: y[o, j] = scale * sum over n of x[o, n, j].
 *
 * Traffic: one read per input value, one write per output value; one addition per value. With inner = 1 the rows are split over
 * teams (see `row_team.ts`); otherwise neighbouring invocations take neighbouring columns and, on GPUs, slices of the axis meet in
 * workgroup memory (see `plane_norm.ts`). Sums are split over lanes or four accumulators, which also keeps rounding small.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { elementwiseWgsl, type Lanes, lanesType } from "./elementwise.ts";
import { type PlaneTiling, sliceSum, tilingKey } from "./plane_norm.ts";
import {
  type RowTeam,
  teamKey,
  teamMain,
  teamReductions,
  teamSubgroups,
  teamWalk,
} from "./row_team.ts";

/** inner = 1: y[row] = scale * sum of the row. Dispatch `teamGroups(team, rows)`; `width` 4 needs length % 4 = 0. */
export function rowSumProgram(team: RowTeam, width: 1 | 4): Program {
  return program(`row sum x${width} ${teamKey(team)}`, () => {
    const type = width === 4 ? "vec4<f32>" : "f32";
    return {
      arrays: { input: { type, access: "read" }, output: { type: "f32", access: "read_write" } },
      parameters: { rows: "u32", length: "u32", scale: "f32" },
      subgroups: teamSubgroups(team),
      wgsl: [
        teamReductions(team, [{ name: "sumRow", type: "f32", operation: "add" }]),
        teamMain(
          team,
          /* wgsl */ `
  let loads = params.length / ${width}u;
  let start = row * loads;
  let end = start + loads;
  var sums = ${type}(0.0);
${teamWalk(team, "sums += input[i];", "start", "end")}
  let total = sumRow(${width === 4 ? "dot(sums, vec4<f32>(1.0))" : "sums"});
  if (lane == 0u) { output[row] = total * params.scale; }`,
        ),
      ].join("\n"),
      host({ input, output }, { rows, length, scale }) {
        for (let row = 0, i = 0; row < rows; row++) {
          let sum = 0;
          for (const end = i + length; i < end; i++) sum += input[i]!;
          output[row] = scale * sum;
        }
      },
    };
  });
}

/** inner > 1. Dispatch ceil(outer * inner / width / columns); width 4 needs inner % 4 = 0. */
export function columnSumProgram(tiling: PlaneTiling): Program {
  const { width, columns, slices } = tiling;
  return program(`column sum ${tilingKey(tiling)}`, () => {
    const type = width === 4 ? "vec4<f32>" : "f32";
    return {
      arrays: { input: { type, access: "read" }, output: { type, access: "read_write" } },
      parameters: { outer: "u32", length: "u32", inner: "u32", scale: "f32" },
      wgsl: /* wgsl */ `
${sliceSum(tiling)}
@compute @workgroup_size(${columns * slices})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let stride = params.inner / ${width}u;
  let column = workgroupIndex(group, groups) * ${columns}u + index % ${columns}u;
  let inside = column < params.outer * stride;
  let start = column / stride * params.length * stride + column % stride;
  var a = ${type}(0.0);
  var b = ${type}(0.0);
  var c = ${type}(0.0);
  var d = ${type}(0.0);
  if (inside) {
    var n = index / ${columns}u;
    for (; n + ${3 * slices}u < params.length; n += ${4 * slices}u) {
      a += input[start + n * stride];
      b += input[start + (n + ${slices}u) * stride];
      c += input[start + (n + ${2 * slices}u) * stride];
      d += input[start + (n + ${3 * slices}u) * stride];
    }
    for (; n < params.length; n += ${slices}u) { a += input[start + n * stride]; }
  }
  let total = sumSlices((a + b) + (c + d), index) * params.scale;
  if (inside && index < ${columns}u) { output[column] = total; }
}`,
      host({ input, output }, { outer, length, inner, scale }) {
        const sums = new Float64Array(inner);
        for (let o = 0, i = 0; o < outer; o++) {
          sums.fill(0);
          for (let n = 0; n < length; n++) {
            for (let j = 0; j < inner; j++, i++) sums[j]! += input[i]!;
          }
          for (let j = 0; j < inner; j++) output[o * inner + j] = scale * sums[j]!;
        }
      },
    };
  });
}

/**
 * output[o, l, i] = scale * input[o, i]; `count` = outer * length * inner and `inner` in elements over lanes. Dispatch
 * ceil(count / 64).
 */
export function repeatProgram(lanes: Lanes): Program {
  return program(`repeat x${lanes}`, () => ({
    arrays: {
      input: { type: lanesType(lanes), access: "read" },
      output: { type: lanesType(lanes), access: "read_write" },
    },
    parameters: { count: "u32", length: "u32", inner: "u32", scale: "f32" },
    wgsl: elementwiseWgsl({
      inputs: {
        input: "i / (params.length * params.inner) * params.inner + i % params.inner",
      },
      outputs: { output: "params.scale * input" },
    }, lanes),
    host({ input, output }, { count, length, inner, scale }) {
      const width = lanes * inner;
      for (let i = 0; i < lanes * count; i++) {
        output[i] = scale * input[Math.floor(i / (length * width)) * width + i % width]!;
      }
    },
  }));
}
