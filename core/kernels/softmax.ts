/**
 * Softmax of rows: y = exp(s x - max(s x)) / sum(exp(s x - max(s x))).
 *
 * Rows are [rows, columns] of any length. A team of lanes (see `row_team.ts`) walks its row three times: the maximum,
 * the exponentials with their sum (written to the output), the division. Traffic: 8 bytes per value when the row stays in the cache;
 * one exponential and about 5 further operations per value.
 *
 * Scaled values are clamped to +-3e38, so that rows masked throughout, even with infinities, give the uniform distribution and
 * no NaN of their own; a NaN in the input makes its row NaN. It is carried over by its bits, because clamping drops it on some devices.
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

/** Softmax over `params.columns` values per row. Dispatch `teamGroups(team, rows)`; `width` 4 needs columns % 4 = 0. */
export function softmaxProgram(team: RowTeam, width: 1 | 4): Program {
  return program(`softmax x${width} ${teamKey(team)}`, () => {
    const type = width === 4 ? "vec4<f32>" : "f32";
    const largest = width === 4 ? "max(max(most.x, most.y), max(most.z, most.w))" : "most";
    const total = width === 4 ? "dot(sums, vec4<f32>(1.0))" : "sums";
    const each = (body: string) => teamWalk(team, body, "start", "end");
    const words = width === 4 ? "vec4<u32>" : "u32";
    const isNan = (x: string) =>
      `(bitcast<${words}>(${x}) & ${words}(0x7fffffffu)) > ${words}(0x7f800000u)`;
    const scaled = `clamp(input[i] * params.scale, ${type}(-3e38), ${type}(3e38))`;
    return {
      arrays: {
        input: { type, access: "read" },
        output: { type, access: "read_write" },
      },
      parameters: { rows: "u32", columns: "u32", scale: "f32" },
      subgroups: teamSubgroups(team),
      wgsl: [
        teamReductions(team, [
          { name: "maxRow", type: "f32", operation: "max" },
          { name: "sumRow", type: "f32", operation: "add" },
        ]),
        teamMain(
          team,
          /* wgsl */ `
  let loads = params.columns / ${width}u;
  let start = row * loads;
  let end = start + loads;
  var most = ${type}(-3e38);
  ${each(`most = max(most, ${scaled});`)}
  let peak = ${type}(maxRow(${largest}));
  var sums = ${type}(0.0);
  ${
            each(
              `let x = input[i]; let e = select(exp(${scaled} - peak), x, ${
                isNan("x")
              }); sums += e; output[i] = e;`,
            )
          }
  let factor = 1.0 / sumRow(${total});
  ${each("output[i] *= factor;")}`,
        ),
      ].join("\n"),
      host({ input, output }, { rows, columns, scale }) {
        for (let row = 0; row < rows; row++) {
          const start = row * columns, end = start + columns;
          let peak = -3e38;
          for (let i = start; i < end; i++) {
            const value = scale * input[i]!;
            if (value > peak) peak = value;
          }
          peak = Math.min(peak, 3e38);
          let sum = 0;
          for (let i = start; i < end; i++) {
            const value = Math.min(Math.max(scale * input[i]!, -3e38), 3e38);
            sum += output[i] = Math.exp(value - peak);
          }
          const factor = 1 / sum;
          for (let i = start; i < end; i++) output[i]! *= factor;
        }
      },
    };
  });
}
