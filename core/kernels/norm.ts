/**
 * Layer and root-mean-square normalisation of rows, optionally of a sum of two inputs.
 *
 * layer: y = (x - mean) / sqrt(var + eps) * weight + bias with the biased variance (Ba et al. 2016);
 * rms: y = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019). Rows are [rows, columns].
 *
 * The variance is a corrected two-pass one (Chan, Golub and LeVeque 1983): c is the rounded mean, e = x - c, and with
 * d = mean(e) the row is centred by e - d and var = mean(e^2) - d^2. Nothing cancels, because d is only the rounding
 * error of c, however large the mean is beside the deviations.
 *
 * Traffic: one read per input, one write per output; about 8 operations per value. A team of lanes (see `row_team.ts`)
 * shares a row; on GPUs the row stays in registers up to 8 loads per lane, longer rows are read again from the cache.
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

/** What a norm kernel computes; baked into its source. */
export interface NormVariant {
  readonly kind: "layer" | "rms";
  /** Row length. */
  readonly columns: number;
  readonly weight: boolean;
  readonly bias: boolean;
  /** Normalise input + residual and also write that sum. */
  readonly residual: boolean;
  readonly team: RowTeam;
}

/** Loads per lane up to which a row is kept in registers. */
export const registerLoads = 8;

/**
 * Normalises `params.rows` rows. Dispatch `teamGroups(team, rows)`. The arrays `weight` and `bias` exist as the variant says;
 * with `residual` there are `residual` and `sum` as well.
 */
export function normProgram(variant: NormVariant): Program {
  const { kind, columns, team } = variant;
  const flags = [
    variant.weight ? "w" : "",
    variant.bias ? "b" : "",
    variant.residual ? "r" : "",
  ].join("");
  return program(`${kind} norm ${columns} ${flags} ${teamKey(team)}`, () => {
    const type = columns % 4 === 0 ? "vec4<f32>" : "f32";
    return {
      arrays: {
        input: { type, access: "read" },
        ...(variant.weight ? { weight: { type, access: "read" } as const } : {}),
        ...(variant.bias ? { bias: { type, access: "read" } as const } : {}),
        ...(variant.residual
          ? {
            residual: { type, access: "read" } as const,
            sum: { type, access: "read_write" } as const,
          }
          : {}),
        output: { type, access: "read_write" },
      },
      parameters: { rows: "u32", eps: "f32" },
      subgroups: teamSubgroups(team),
      wgsl: normSource(variant, type),
      host: (arrays: NormArrays, { rows, eps }) => hostNorm(variant, arrays, rows, eps),
    };
  });
}

function normSource(variant: NormVariant, type: "f32" | "vec4<f32>"): string {
  const { kind, columns, team } = variant;
  const loads = type === "f32" ? columns : columns / 4;
  const perLane = Math.ceil(loads / team.lanes);
  const registers = team.exchange !== "alone" && perLane <= registerLoads;
  const total = (value: string) => type === "f32" ? value : `dot(${value}, vec4<f32>(1.0))`;
  const square = (value: string) =>
    type === "f32" ? `${value} * ${value}` : `dot(${value}, ${value})`;
  const load = variant.residual ? "input[start + i] + residual[start + i]" : "input[start + i]";
  const guarded = (step: number, body: string) =>
    (step + 1) * team.lanes <= loads ? `{ ${body} }` : `if (i${step} < ${loads}u) { ${body} }`;
  /** Runs `body` for every load i of this lane with the loaded value in v. */
  const each = (body: string): string =>
    registers
      ? Array.from(
        { length: perLane },
        (_, step) => "  " + guarded(step, `let i = i${step}; let v = v${step}; ${body}`),
      ).join("\n")
      : teamWalk(team, `let v = ${load}; ${body}`, "0u", `${loads}u`);
  const fetch = registers
    ? Array.from({ length: perLane }, (_, step) =>
      [
        `  let i${step} = lane + ${step * team.lanes}u;`,
        `  var v${step} = ${type}(0.0);`,
        `  ${guarded(step, `let i = i${step}; v${step} = ${load};`)}`,
      ].join("\n")).join("\n")
    : "";
  const result = [
    kind === "layer" ? "(v - middle - shift) * scale" : "v * scale",
    variant.weight ? " * weight[i]" : "",
    variant.bias ? " + bias[i]" : "",
  ].join("");
  const statistics = kind === "layer"
    ? /* wgsl */ `
  var first = 0.0;
${each(`first += ${total("v")};`)}
  let middle = sumRow(first) / ${columns}.0;
  var shifts = 0.0;
  var squares = 0.0;
${each(`let e = v - middle; shifts += ${total("e")}; squares += ${square("e")};`)}
  let shift = sumRow(shifts) / ${columns}.0;
  let scale = 1.0 / sqrt(max(sumRow(squares) / ${columns}.0 - shift * shift, 0.0) + params.eps);`
    : /* wgsl */ `
  var squares = 0.0;
${each(`squares += ${square("v")};`)}
  let scale = 1.0 / sqrt(sumRow(squares) / ${columns}.0 + params.eps);`;
  return [
    teamReductions(team, [{ name: "sumRow", type: "f32", operation: "add" }]),
    teamMain(
      team,
      [
        `  let start = row * ${loads}u;`,
        fetch,
        statistics,
        each(`${variant.residual ? "sum[start + i] = v; " : ""}output[start + i] = ${result};`),
      ].join("\n"),
    ),
  ].join("\n");
}

interface NormArrays {
  readonly input: Float32Array;
  readonly weight?: Float32Array;
  readonly bias?: Float32Array;
  readonly residual?: Float32Array;
  readonly sum?: Float32Array;
  readonly output: Float32Array;
}

function hostNorm(
  { kind, columns }: NormVariant,
  { input, weight, bias, residual, sum, output }: NormArrays,
  rows: number,
  eps: number,
): void {
  const values = residual === undefined ? input : sum!;
  if (residual !== undefined) {
    for (let i = 0; i < rows * columns; i++) values[i] = input[i]! + residual[i]!;
  }
  for (let row = 0; row < rows; row++) {
    const start = row * columns, end = start + columns;
    let mean = 0;
    if (kind === "layer") {
      for (let i = start; i < end; i++) mean += values[i]!;
      mean /= columns;
    }
    let squares = 0;
    for (let i = start; i < end; i++) squares += (values[i]! - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / columns + eps);
    for (let i = start, c = 0; i < end; i++, c++) {
      const y = (values[i]! - mean) * scale * (weight === undefined ? 1 : weight[c]!);
      output[i] = bias === undefined ? y : y + bias[c]!;
    }
  }
}
