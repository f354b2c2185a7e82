/**
 * Index of the largest value of each row, the lowest one among equals; values that are no numbers lose to all others.
 *
 * Traffic: one read per value; about 8 integer operations per value. A team of lanes shares a row (see `row_team.ts`).
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { orderKeyWgsl } from "./ordering.ts";
import {
  type Reduction,
  type RowTeam,
  teamKey,
  teamMain,
  teamReductions,
  teamSubgroups,
  teamWalk,
} from "./row_team.ts";

/** Reductions that {@linkcode argmaxWalk} needs. */
export const argmaxReductions: readonly Reduction[] = [
  { name: "maxKey", type: "u32", operation: "max" },
  { name: "minIndex", type: "u32", operation: "min" },
];

/**
 * WGSL that declares `best`, the column of the largest of `input[start .. end]`, the same in all lanes. Indices ascend within
 * a lane, so keeping only strictly larger values keeps the lowest index.
 */
export function argmaxWalk(team: RowTeam): string {
  return /* wgsl */ `
  var bestKey = 0u;
  var bestIndex = 0xffffffffu;
${
    teamWalk(
      team,
      "let key = orderKey(input[i]); if (key > bestKey) { bestKey = key; bestIndex = i - start; }",
      "start",
      "end",
    )
  }
  let topKey = maxKey(bestKey);
  let found = minIndex(select(0xffffffffu, bestIndex, bestKey == topKey));
  let best = select(found, 0u, found == 0xffffffffu);`;
}

/** The host's side of {@linkcode argmaxWalk}. */
export function hostArgmax(input: ArrayLike<number>, start: number, end: number): number {
  let best = -Infinity, index = start, found = false;
  for (let i = start; i < end; i++) {
    const value = input[i]!;
    if (value > best || (!found && value === best)) {
      best = value;
      index = i;
      found = true;
    }
  }
  return index - start;
}

/** output[row] = argmax of the row. Dispatch `teamGroups(team, rows)`. */
export function argmaxProgram(team: RowTeam): Program {
  return program(`argmax ${teamKey(team)}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      output: { type: "u32", access: "read_write" },
    },
    parameters: { rows: "u32", columns: "u32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      orderKeyWgsl,
      teamReductions(team, argmaxReductions),
      teamMain(
        team,
        /* wgsl */ `
  let start = row * params.columns;
  let end = start + params.columns;
${argmaxWalk(team)}
  if (lane == 0u) { output[row] = best; }`,
      ),
    ].join("\n"),
    host({ input, output }, { rows, columns }) {
      for (let row = 0; row < rows; row++) {
        output[row] = hostArgmax(input, row * columns, (row + 1) * columns);
      }
    },
  }));
}
