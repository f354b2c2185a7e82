/**
 * Cross-entropy of tokens: the loss of every position, its mean, and the gradient by the logits.
 *
 * A team of lanes (see `row_team.ts`) walks its row of logits twice: the maximum, then the sum of exponentials. What the gradient
 * needs of a row, its maximum and one over the sum, is kept apart, because their combination log(sum) + maximum loses digits when
 * logits are large. Rows whose label is ignored are not read. Traffic: 8 bytes per logit on the way there, 8 on the way back.
 *
 * NaN is found by its bits and written from a parameter: neither the maximum nor the exponential of every device carries it.
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

/** Bits of the NaN that kernels write. */
export const nanBits = 0x7fc00000;

/** The label at a row, `params.ignore` behind the last one of a sequence. Rows are sequences of `params.positions`. */
const labelWgsl = /* wgsl */ `
fn labelOf(row: u32) -> i32 {
  let inside = row % params.positions + params.shift < params.positions;
  return select(params.ignore, labels[select(row, row + params.shift, inside)], inside);
}`;

interface Labelled {
  readonly positions: number;
  readonly shift: number;
  readonly ignore: number;
}

function labelOnHost(
  labels: Int32Array,
  row: number,
  { positions, shift, ignore }: Labelled,
): number {
  return row % positions + shift < positions ? labels[row + shift]! : ignore;
}

/**
 * For every row of logits: its loss and whether it counts (`losses`, 2 values), and its maximum and one over its sum of
 * exponentials (`stats`, 2 values). A label outside the columns, and a NaN or positive infinity among the logits, make
 * the loss NaN. Dispatch `teamGroups(team, rows)`; `width` 4 needs columns % 4 = 0.
 */
export function tokenLossProgram(team: RowTeam, width: 1 | 4, weighted: boolean): Program {
  return program(`token loss x${width} ${weighted ? "weighted " : ""}${teamKey(team)}`, () => {
    const type = width === 4 ? "vec4<f32>" : "f32";
    const words = width === 4 ? "vec4<u32>" : "u32";
    const over = (x: string, f: string) =>
      width === 4 ? `${f}(${f}(${x}.x, ${x}.y), ${f}(${x}.z, ${x}.w))` : x;
    const each = (body: string) => teamWalk(team, body, "start", "end");
    return {
      arrays: {
        input: { type, access: "read" },
        labels: { type: "i32", access: "read" },
        ...(weighted ? { weights: { type: "f32", access: "read" } as const } : {}),
        losses: { type: "vec2<f32>", access: "read_write" },
        stats: { type: "vec2<f32>", access: "read_write" },
      },
      parameters: {
        rows: "u32",
        columns: "u32",
        positions: "u32",
        shift: "u32",
        ignore: "i32",
        nan: "u32",
      },
      subgroups: teamSubgroups(team),
      wgsl: [
        labelWgsl,
        teamReductions(team, [
          { name: "maxRow", type: "f32", operation: "max" },
          { name: "maxBits", type: "u32", operation: "max" },
          { name: "sumRow", type: "f32", operation: "add" },
        ]),
        teamMain(
          team,
          /* wgsl */ `
  let label = labelOf(row);
  let kept = label != params.ignore;
  let loads = params.columns / ${width}u;
  let start = row * loads;
  // Every lane takes part in the exchanges, also where there is nothing to read.
  let end = select(start, start + loads, kept);
  var most = ${type}(-3.4028234e38);
  var bits = ${words}(0u);
  ${
            each(
              `let x = input[i]; most = max(most, x); bits = max(bits, bitcast<${words}>(x) & ${words}(0x7fffffffu));`,
            )
          }
  let peak = maxRow(${over("most", "max")});
  let largest = maxBits(${over("bits", "max")});
  var sums = ${type}(0.0);
  ${each(`sums += exp(input[i] - ${type}(peak));`)}
  let sum = sumRow(${width === 4 ? "dot(sums, vec4<f32>(1.0))" : "sums"});
  if (lane != 0u) { return; }
  if (!kept) {
    losses[row] = vec2<f32>(0.0);
    stats[row] = vec2<f32>(0.0);
    return;
  }
  if (largest > 0x7f800000u || peak > 3.4028234e38 || label < 0 || u32(label) >= params.columns) {
    losses[row] = vec2<f32>(bitcast<f32>(params.nan), 1.0);
    stats[row] = vec2<f32>(0.0, bitcast<f32>(params.nan));
    return;
  }
  let at = start${width === 4 ? " + u32(label) / 4u" : " + u32(label)"};
  let chosen = input[at]${width === 4 ? "[u32(label) % 4u]" : ""};
  let loss = (peak - chosen) + log(sum);
  losses[row] = vec2<f32>(loss${weighted ? " * weights[row + params.shift]" : ""}, 1.0);
  stats[row] = vec2<f32>(peak, 1.0 / sum);`,
        ),
      ].join("\n"),
      host(arrays, parameters) {
        const { input, labels, losses, stats } = arrays;
        const weights = (arrays as { weights?: Float32Array }).weights;
        const { rows, columns, shift, ignore } = parameters;
        for (let row = 0; row < rows; row++) {
          const label = labelOnHost(labels, row, parameters);
          const kept = label !== ignore;
          const values = input.subarray(row * columns, kept ? (row + 1) * columns : row * columns);
          const peak = values.reduce((a, b) => a > b ? a : b, -3.4028234e38);
          const sum = values.reduce((total, value) => total + Math.exp(value - peak), 0);
          const good = label >= 0 && label < columns && Number.isFinite(peak) && !Number.isNaN(sum);
          const loss = good ? peak - values[label]! + Math.log(sum) : NaN;
          losses[2 * row] = kept ? loss * (weights?.[row + shift] ?? 1) : 0;
          losses[2 * row + 1] = kept ? 1 : 0;
          stats[2 * row] = good ? peak : 0;
          stats[2 * row + 1] = !kept ? 0 : good ? 1 / sum : NaN;
        }
      },
    };
  });
}

/**
 * output[group] = sum of the losses of a group of `length` rows / divisor; the divisor 0 stands for the number of rows that
 * count, of which there may be none: NaN. `factors[group]` is one over the divisor (0 for none). Dispatch
 * `teamGroups(team, groups)` with rows = groups.
 */
export function tokenMeanProgram(team: RowTeam): Program {
  return program(`token mean ${teamKey(team)}`, () => ({
    arrays: {
      losses: { type: "vec2<f32>", access: "read" },
      output: { type: "f32", access: "read_write" },
      factors: { type: "f32", access: "read_write" },
    },
    parameters: { rows: "u32", length: "u32", divisor: "f32", nan: "u32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      teamReductions(team, [{ name: "sumRow", type: "vec2<f32>", operation: "add" }]),
      teamMain(
        team,
        /* wgsl */ `
  let start = row * params.length;
  let end = start + params.length;
  var sums = vec2<f32>(0.0);
  ${teamWalk(team, "sums += losses[i];", "start", "end")}
  let total = sumRow(sums);
  if (lane == 0u) {
    let divisor = select(params.divisor, total.y, params.divisor == 0.0);
    if (divisor == 0.0) {
      output[row] = bitcast<f32>(params.nan);
      factors[row] = 0.0;
    } else {
      output[row] = total.x / divisor;
      factors[row] = 1.0 / divisor;
    }
  }`,
      ),
    ].join("\n"),
    host({ losses, output, factors }, { rows, length, divisor }) {
      for (let row = 0; row < rows; row++) {
        let sum = 0, count = 0;
        for (let i = row * length; i < (row + 1) * length; i++) {
          sum += losses[2 * i]!;
          count += losses[2 * i + 1]!;
        }
        const by = divisor === 0 ? count : divisor;
        output[row] = sum / by;
        factors[row] = by === 0 ? 0 : 1 / by;
      }
    },
  }));
}

/**
 * output[row, column] = gradient[group] * factors[group] (* weight) * (softmax - one at the label), 0 for ignored rows, where the
 * group of a row is row / length. Dispatch ceil(rows * columns / width / 64); `width` 4 needs columns % 4 = 0.
 */
export function tokenLossGradientProgram(width: 1 | 4, weighted: boolean): Program {
  return program(`token loss gradient x${width}${weighted ? " weighted" : ""}`, () => {
    const type = width === 4 ? "vec4<f32>" : "f32";
    const columns = width === 4 ? "vec4<u32>(0u, 1u, 2u, 3u)" : "0u";
    return {
      arrays: {
        input: { type, access: "read" },
        labels: { type: "i32", access: "read" },
        stats: { type: "vec2<f32>", access: "read" },
        factors: { type: "f32", access: "read" },
        gradient: { type: "f32", access: "read" },
        ...(weighted ? { weights: { type: "f32", access: "read" } as const } : {}),
        output: { type, access: "read_write" },
      },
      parameters: {
        rows: "u32",
        columns: "u32",
        positions: "u32",
        shift: "u32",
        ignore: "i32",
        length: "u32",
      },
      wgsl: /* wgsl */ `
${labelWgsl}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  let loads = params.columns / ${width}u;
  let row = i / loads;
  if (row >= params.rows) { return; }
  let label = labelOf(row);
  if (label == params.ignore) {
    output[i] = ${type}(0.0);
    return;
  }
  let stat = stats[row];
  let column = i % loads * ${width}u + ${columns};
  let chosen = select(${type}(0.0), ${type}(1.0), column == ${
        width === 4 ? "vec4<u32>" : "u32"
      }(u32(label)));
  let factor = gradient[row / params.length] * factors[row / params.length]${
        weighted ? " * weights[row + params.shift]" : ""
      };
  output[i] = factor * (exp(input[i] - ${type}(stat.x)) * stat.y - chosen);
}`,
      host(arrays, parameters) {
        const { input, labels, stats, factors, gradient, output } = arrays;
        const weights = (arrays as { weights?: Float32Array }).weights;
        const { rows, columns, shift, ignore, length } = parameters;
        for (let row = 0, i = 0; row < rows; row++) {
          const label = labelOnHost(labels, row, parameters);
          const group = Math.floor(row / length);
          const factor = gradient[group]! * factors[group]! * (weights?.[row + shift] ?? 1);
          for (let column = 0; column < columns; column++, i++) {
            if (label === ignore) {
              output[i] = 0;
              continue;
            }
            const p = Math.exp(input[i]! - stats[2 * row]!) * stats[2 * row + 1]!;
            output[i] = factor * (p - (column === label ? 1 : 0));
          }
        }
      },
    };
  });
}
