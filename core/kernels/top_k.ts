/**
 * The k largest values of each row, in falling order, equal ones by rising index; values that are no numbers come last.
 *
 * Long rows: a workgroup per row finds the k-th largest value by bisection over the bits (16 walks), gathers what is above it and
 * the first equals in index order, and ranks the k by counting. Traffic: 18 reads per value, nearly all from the
 * cache, k (k + 2) operations. Short rows with few k: one invocation per row picks one value after the other.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { orderKeyWgsl, thresholdSearch } from "./ordering.ts";
import { type RowTeam, teamKey, teamMain, teamReductions, teamSubgroups } from "./row_team.ts";

/** Most values that can be asked for. */
export const topKLimit = 256;

/** Columns and k up to which one invocation does a row. */
export const shortRow = { columns: 64, k: 8 } as const;

/** values and indices [rows, k] of input [rows, columns]. Dispatch `teamGroups(team, rows)`. */
export function topKProgram(team: RowTeam): Program {
  const alone = team.exchange === "alone";
  return program(`top k ${teamKey(team)}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      values: { type: "f32", access: "read_write" },
      indices: { type: "u32", access: "read_write" },
    },
    parameters: { rows: "u32", columns: "u32", k: "u32" },
    subgroups: teamSubgroups(team),
    wgsl: orderKeyWgsl + (alone ? teamMain(team, shortSource) : longSource(team)),
    host({ input, values, indices }, { rows, columns, k }) {
      const bestValues = new Float64Array(k), bestIndices = new Uint32Array(k);
      for (let row = 0; row < rows; row++) {
        let held = 0;
        for (let c = 0; c < columns; c++) {
          const value = input[row * columns + c]!;
          if (held === k && !comesBefore(value, bestValues[k - 1]!)) continue;
          let at = held < k ? held++ : k - 1;
          for (; at > 0 && comesBefore(value, bestValues[at - 1]!); at--) {
            bestValues[at] = bestValues[at - 1]!;
            bestIndices[at] = bestIndices[at - 1]!;
          }
          bestValues[at] = value;
          bestIndices[at] = c;
        }
        values.set(bestValues, row * k);
        indices.set(bestIndices, row * k);
      }
    },
  }));
}

/** Whether a value ranks strictly before one that was met earlier. */
function comesBefore(value: number, earlier: number): boolean {
  return value > earlier || (Number.isNaN(earlier) && !Number.isNaN(value));
}

const shortSource = /* wgsl */ `
  let start = row * params.columns;
  var lastKey = 0xffffffffu;
  var lastIndex = 0u;
  for (var n = 0u; n < params.k; n++) {
    var key = 0u;
    var index = 0xffffffffu;
    for (var c = 0u; c < params.columns; c++) {
      let other = orderKey(input[start + c]);
      let left = other < lastKey || (other == lastKey && c > lastIndex);
      if (left && (other > key || index == 0xffffffffu)) { key = other; index = c; }
    }
    values[row * params.k + n] = input[start + index];
    indices[row * params.k + n] = index;
    lastKey = key;
    lastIndex = index;
  }`;

function longSource(team: RowTeam): string {
  const { lanes } = team;
  return [
    /* wgsl */ `
var<workgroup> above: array<u32, ${lanes}>;
var<workgroup> equal: array<u32, ${lanes}>;
var<workgroup> chosenKeys: array<u32, ${topKLimit}>;
var<workgroup> chosen: array<u32, ${topKLimit}>;`,
    teamReductions(team, [{ name: "sumFour", type: "vec4<f32>", operation: "add" }]),
    teamMain(
      team,
      /* wgsl */ `
  let start = row * params.columns;
  let end = start + params.columns;
${
        thresholdSearch(team, {
          name: "least",
          bits: 32,
          width: 1,
          word: "orderKey(input[i])",
          amount: "1.0",
          required: "f32(params.k)",
          start: "start",
          end: "end",
        })
      }
  // Counts per lane over a contiguous share of the row, so that equal values can be taken in index order.
  let share = (params.columns + ${lanes - 1}u) / ${lanes}u;
  let first = min(start + lane * share, end);
  let last = min(first + share, end);
  var more = 0u;
  var same = 0u;
  for (var i = first; i < last; i++) {
    let key = orderKey(input[i]);
    more += u32(key > least);
    same += u32(key == least);
  }
  above[lane] = more;
  equal[lane] = same;
  workgroupBarrier();
  if (lane == 0u) {
    var total = 0u;
    for (var n = 0u; n < ${lanes}u; n++) { let count = above[n]; above[n] = total; total += count; }
    for (var n = 0u; n < ${lanes}u; n++) { let count = equal[n]; equal[n] = total; total += count; }
  }
  workgroupBarrier();
  var slotAbove = above[lane];
  var slotEqual = equal[lane];
  for (var i = first; i < last; i++) {
    let key = orderKey(input[i]);
    if (key > least) { chosenKeys[slotAbove] = key; chosen[slotAbove] = i; slotAbove++; }
    if (key == least) {
      if (slotEqual < params.k) { chosenKeys[slotEqual] = key; chosen[slotEqual] = i; }
      slotEqual++;
    }
  }
  workgroupBarrier();
  for (var n = lane; n < params.k; n += ${lanes}u) {
    let key = chosenKeys[n];
    let i = chosen[n];
    var rank = 0u;
    for (var m = 0u; m < params.k; m++) {
      rank += u32(chosenKeys[m] > key || (chosenKeys[m] == key && chosen[m] < i));
    }
    values[row * params.k + rank] = input[i];
    indices[row * params.k + rank] = i - start;
  }`,
    ),
  ].join("\n");
}
