/**
 * Gradients of row normalisation, see `norm.ts` for the forward pass and its statistics.
 *
 * With e = x - middle, x^ = (e - shift) scale and g = gradient * weight, all means over a row:
 *
 *     layer: dx = scale (g - mean(g) - x^ mean(g x^)),   rms: dx = scale (g - x^ mean(g x^)) with x^ = x scale
 *     dweight = sum over rows of gradient * x^,          dbias = sum over rows of gradient
 *
 * The statistics are computed again from x, which is all that is kept of the forward pass; mean(g x^) comes from the same
 * pass as the variance, scale (mean(g e) - shift mean(g)). Traffic: x and gradient once (long rows twice), dx once; about
 * 14 operations per value. Sums over rows go block by block, then over the blocks, in a fixed order: the first step reads x
 * and gradient once more and takes four numbers per row that the input kernel leaves behind.
 *
 * @module
 */
import { type ArraySpec, type Program, program } from "../device/mod.ts";
import { registerLoads } from "./norm.ts";
import {
  type RowTeam,
  teamKey,
  teamMain,
  teamReductions,
  teamSubgroups,
  teamWalk,
} from "./row_team.ts";

/** What a norm gradient kernel computes; baked into its source. */
export interface NormGradientVariant {
  readonly kind: "layer" | "rms";
  /** Row length. */
  readonly columns: number;
  /** The norm had a weight. */
  readonly weight: boolean;
  /** Writes dx to `output`. */
  readonly input: boolean;
  /** Writes middle, shift and scale of every row to `statistics`, four numbers per row. */
  readonly statistics: boolean;
  readonly team: RowTeam;
}

/**
 * The gradient of the input of `params.rows` rows, their statistics, or both. Dispatch `teamGroups(team, rows)`. The arrays
 * `gradient`, `output` (and `weight`, `statistics`) exist as the variant says.
 */
export function normGradientProgram(variant: NormGradientVariant): Program {
  const { kind, columns, weight, input, statistics, team } = variant;
  const flags = [weight ? "w" : "", input ? "x" : "", statistics ? "s" : ""].join("");
  return program(`${kind} norm gradient ${columns} ${flags} ${teamKey(team)}`, () => {
    const type = columns % 4 === 0 ? "vec4<f32>" : "f32";
    const read = { type, access: "read" } as const, write = { type, access: "read_write" } as const;
    const arrays: Record<string, ArraySpec> = {
      input: read,
      ...(input ? { gradient: read, ...(weight ? { weight: read } : {}), output: write } : {}),
      ...(statistics ? { statistics: { type: "vec4<f32>", access: "read_write" } } : {}),
    };
    return {
      arrays,
      parameters: { rows: "u32", eps: "f32" },
      subgroups: teamSubgroups(team),
      wgsl: gradientSource(variant, type),
      host: (views: object, { rows, eps }) =>
        hostGradient(variant, views as GradientArrays, rows, eps),
    };
  });
}

function gradientSource(variant: NormGradientVariant, type: "f32" | "vec4<f32>"): string {
  const { kind, columns, weight, input, statistics, team } = variant;
  const loads = type === "f32" ? columns : columns / 4;
  const perLane = Math.ceil(loads / team.lanes);
  const registers = team.exchange !== "alone" && perLane <= registerLoads;
  const total = (value: string) => type === "f32" ? value : `dot(${value}, vec4<f32>(1.0))`;
  const product = (a: string, b: string) => type === "f32" ? `${a} * ${b}` : `dot(${a}, ${b})`;
  const loadG = !input ? `${type}(0.0)` : `gradient[start + i]${weight ? " * weight[i]" : ""}`;
  const guarded = (step: number, body: string) =>
    (step + 1) * team.lanes <= loads ? `{ ${body} }` : `if (i${step} < ${loads}u) { ${body} }`;
  /** Runs `body` for every load i of this lane with x in v and gradient * weight in g. */
  const each = (body: string): string =>
    registers
      ? Array.from(
        { length: perLane },
        (_, step) =>
          "  " + guarded(step, `let i = i${step}; let v = v${step}; let g = g${step}; ${body}`),
      ).join("\n")
      : teamWalk(
        team,
        `let v = input[start + i]; let g = ${loadG}; ${body}`,
        "0u",
        `${loads}u`,
      );
  const fetch = registers
    ? Array.from({ length: perLane }, (_, step) =>
      [
        `  let i${step} = lane + ${step * team.lanes}u;`,
        `  var v${step} = ${type}(0.0);`,
        `  var g${step} = ${type}(0.0);`,
        `  ${guarded(step, `let i = i${step}; v${step} = input[start + i]; g${step} = ${loadG};`)}`,
      ].join("\n")).join("\n")
    : "";
  const sums = kind === "layer"
    ? /* wgsl */ `
  var first = 0.0;
${each(`first += ${total("v")};`)}
  let middle = sumRow(first) / ${columns}.0;
  var parts = vec4<f32>(0.0);
${
      each(
        `let e = v - middle; parts += vec4<f32>(${total("e")}, ${product("e", "e")}, ${
          total("g")
        }, ${product("g", "e")});`,
      )
    }
  let means = sumParts(parts) / ${columns}.0;
  let shift = means.x;
  let scale = 1.0 / sqrt(max(means.y - shift * shift, 0.0) + params.eps);
  let slope = scale * (means.w - shift * means.z);`
    : /* wgsl */ `
  var parts = vec2<f32>(0.0);
${each(`parts += vec2<f32>(${product("v", "v")}, ${product("g", "v")});`)}
  let means = sumParts(parts) / ${columns}.0;
  let middle = 0.0;
  let shift = 0.0;
  let scale = 1.0 / sqrt(means.x + params.eps);
  let slope = scale * means.y;`;
  const result = kind === "layer"
    ? "scale * (g - means.z - (v - middle - shift) * scale * slope)"
    : "scale * (g - v * scale * slope)";
  return [
    teamReductions(team, [
      ...(kind === "layer" ? [{ name: "sumRow", type: "f32", operation: "add" } as const] : []),
      { name: "sumParts", type: kind === "layer" ? "vec4<f32>" : "vec2<f32>", operation: "add" },
    ]),
    teamMain(
      team,
      [
        `  let start = row * ${loads}u;`,
        fetch,
        sums,
        statistics
          ? "  if (lane == 0u) { statistics[row] = vec4<f32>(middle, shift, scale, 0.0); }"
          : "",
        input ? each(`output[start + i] = ${result};`) : "",
      ].join("\n"),
    ),
  ].join("\n");
}

interface GradientArrays {
  readonly input: Float32Array;
  readonly gradient?: Float32Array;
  readonly weight?: Float32Array;
  readonly output?: Float32Array;
  readonly statistics?: Float32Array;
}

function hostGradient(
  { kind, columns }: NormGradientVariant,
  { input, gradient, weight, output, statistics }: GradientArrays,
  rows: number,
  eps: number,
): void {
  for (let row = 0; row < rows; row++) {
    const start = row * columns, end = start + columns;
    let mean = 0;
    if (kind === "layer") {
      for (let i = start; i < end; i++) mean += input[i]!;
      mean /= columns;
    }
    let squares = 0;
    for (let i = start; i < end; i++) squares += (input[i]! - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / columns + eps);
    // The rounding of the mean in four bytes goes to the second number, as on the device.
    const middle = Math.fround(mean);
    statistics?.set([middle, mean - middle, scale, 0], 4 * row);
    if (gradient === undefined || output === undefined) continue;
    let level = 0, slope = 0;
    for (let i = start, c = 0; i < end; i++, c++) {
      const g = gradient[i]! * (weight === undefined ? 1 : weight[c]!);
      level += g;
      slope += g * (input[i]! - mean) * scale;
    }
    level = kind === "layer" ? level / columns : 0;
    slope /= columns;
    for (let i = start, c = 0; i < end; i++, c++) {
      const g = gradient[i]! * (weight === undefined ? 1 : weight[c]!);
      output[i] = scale * (g - level - (input[i]! - mean) * scale * slope);
    }
  }
}

/** Which sums over rows a kernel makes, and in what loads. */
export interface ScaleGradientVariant {
  /** Sums gradient * x^ to `weightParts`; needs `input` and `statistics`. */
  readonly weight: boolean;
  /** Sums gradient to `biasParts`. */
  readonly bias: boolean;
  /** Values per load: 4 where the columns allow it. */
  readonly width: 1 | 4;
}

/**
 * Sums of blocks of `block` rows [rows, columns] to [blocks, columns], `columns` counted in loads. Neighbouring invocations
 * take neighbouring columns. Dispatch ceil(blocks * columns / 64).
 */
export function normScaleGradientProgram({ weight, bias, width }: ScaleGradientVariant): Program {
  const type = width === 4 ? "vec4<f32>" : "f32";
  const key = `norm scale gradient ${weight ? "w" : ""}${bias ? "b" : ""} x${width}`;
  const read = { type, access: "read" } as const, write = { type, access: "read_write" } as const;
  const arrays: Record<string, ArraySpec> = {
    gradient: read,
    ...(weight
      ? {
        input: read,
        statistics: { type: "vec4<f32>", access: "read" },
        weightParts: write,
      }
      : {}),
    ...(bias ? { biasParts: write } : {}),
  };
  return program(key, () => ({
    arrays,
    parameters: { rows: "u32", columns: "u32", block: "u32", blocks: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let at = workgroupIndex(group, groups) * 64u + lane;
  if (at >= params.blocks * params.columns) { return; }
  let first = at / params.columns * params.block;
  let last = min(first + params.block, params.rows);
  var i = first * params.columns + at % params.columns;
  var slopes = ${type}(0.0);
  var levels = ${type}(0.0);
  for (var row = first; row < last; row++) {
    let g = gradient[i];
    ${weight ? "let s = statistics[row]; slopes += g * ((input[i] - s.x - s.y) * s.z);" : ""}
    ${bias ? "levels += g;" : ""}
    i += params.columns;
  }
  ${weight ? "weightParts[at] = slopes;" : ""}
  ${bias ? "biasParts[at] = levels;" : ""}
}`,
    host(views: object, { rows, columns, block, blocks }) {
      const { gradient, input, statistics, weightParts, biasParts } = views as {
        gradient: Float32Array;
        input?: Float32Array;
        statistics?: Float32Array;
        weightParts?: Float32Array;
        biasParts?: Float32Array;
      };
      const row = columns * width;
      const slopes = new Float64Array(row), levels = new Float64Array(row);
      for (let b = 0; b < blocks; b++) {
        slopes.fill(0);
        levels.fill(0);
        for (let r = b * block; r < Math.min(rows, (b + 1) * block); r++) {
          for (let c = 0, i = r * row; c < row; c++, i++) {
            const g = gradient[i]!;
            levels[c]! += g;
            if (input === undefined || statistics === undefined) continue;
            slopes[c]! += g * (input[i]! - statistics[4 * r]! - statistics[4 * r + 1]!) *
              statistics[4 * r + 2]!;
          }
        }
        weightParts?.set(slopes, b * row);
        biasParts?.set(levels, b * row);
      }
    },
  }));
}
