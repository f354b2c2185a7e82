/**
 * Gradient of the softmax of rows (see `softmax.ts`): dx = s y (dy - sum(y dy)), with y the result and s the scale.
 *
 * A team of lanes (see `row_team.ts`) walks its row twice: the sum, then the gradient. Traffic: 12 bytes per value when the
 * row stays in the cache; 5 operations per value.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import {
  type RowTeam,
  teamKey,
  teamMain,
  teamReductions,
  teamSubgroups,
  teamWalk,
} from "./row_team.ts";

/** Over `params.columns` values per row. Dispatch `teamGroups(team, rows)`; `width` 4 needs columns % 4 = 0. */
export function softmaxGradientProgram(team: RowTeam, width: 1 | 4): Program {
  return program(`softmax gradient x${width} ${teamKey(team)}`, () => {
    const type = width === 4 ? "vec4<f32>" : "f32";
    const each = (body: string) => teamWalk(team, body, "start", "end");
    return {
      arrays: {
        result: { type, access: "read" },
        gradient: { type, access: "read" },
        output: { type, access: "read_write" },
      },
      parameters: { rows: "u32", columns: "u32", scale: "f32" },
      subgroups: teamSubgroups(team),
      wgsl: [
        teamReductions(team, [{ name: "sumRow", type: "f32", operation: "add" }]),
        teamMain(
          team,
          /* wgsl */ `
  let loads = params.columns / ${width}u;
  let start = row * loads;
  let end = start + loads;
  var sums = ${type}(0.0);
  ${each("sums += result[i] * gradient[i];")}
  let mean = sumRow(${width === 4 ? "dot(sums, vec4<f32>(1.0))" : "sums"});
  ${each("output[i] = params.scale * result[i] * (gradient[i] - mean);")}`,
        ),
      ].join("\n"),
      host({ result, gradient, output }, { rows, columns, scale }) {
        for (let row = 0; row < rows; row++) {
          const start = row * columns, end = start + columns;
          let mean = 0;
          for (let i = start; i < end; i++) mean += result[i]! * gradient[i]!;
          for (let i = start; i < end; i++) output[i] = scale * result[i]! * (gradient[i]! - mean);
        }
      },
    };
  });
}
