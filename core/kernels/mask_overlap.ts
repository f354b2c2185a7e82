/**
 * How well the mask that logits stand for covers a target: intersection over union of the pixels with positive logits.
 *
 * Traffic: logits and targets once; 4 operations per pixel. A team of lanes per mask (see `row_team.ts`).
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

/**
 * output[row] = |A and B| / |A or B|, 1 where both are empty, with A: input > 0 and B: targets > 0.5. Dispatch
 * `teamGroups(team, rows)`.
 */
export function maskOverlapProgram(team: RowTeam): Program {
  return program(`mask overlap ${teamKey(team)}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      targets: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { rows: "u32", length: "u32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      teamReductions(team, [{ name: "sumRow", type: "vec2<f32>", operation: "add" }]),
      teamMain(
        team,
        /* wgsl */ `
  let start = row * params.length;
  let end = start + params.length;
  var sums = vec2<f32>(0.0);
  ${
          teamWalk(
            team,
            /* wgsl */ `let a = select(0.0, 1.0, input[i] > 0.0); let b = select(0.0, 1.0, targets[i] > 0.5);
      sums += vec2<f32>(a * b, max(a, b));`,
            "start",
            "end",
          )
        }
  let all = sumRow(sums);
  if (lane == 0u) { output[row] = select(1.0, all.x / max(all.y, 1.0), all.y > 0.0); }`,
      ),
    ].join("\n"),
    host({ input, targets, output }, { rows, length }) {
      for (let row = 0; row < rows; row++) {
        let both = 0, either = 0;
        for (let i = row * length; i < (row + 1) * length; i++) {
          const a = input[i]! > 0, b = targets[i]! > 0.5;
          if (a && b) both++;
          if (a || b) either++;
        }
        output[row] = either > 0 ? both / either : 1;
      }
    },
  }));
}
