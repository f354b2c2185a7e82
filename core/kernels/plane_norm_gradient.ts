/**
 * Gradients of layer normalisation over the channels of planar images, see `plane_norm.ts` for the forward pass and
 * `norm_gradient.ts` for the formulas.
 *
 * Tiling of the input gradient as in the forward pass, statistics computed again. Traffic: x and gradient three times (two of
 * them from the cache for up to some hundred channels), dx once; about 14 operations per value. The sums for weight and bias
 * read x and gradient once more: one per plane by a team of lanes, then over the images, in a fixed order.
 *
 * @module
 */
import { type ArraySpec, type Program, program } from "../device/mod.ts";
import { type PlaneTiling, sliceSum, tilingKey } from "./plane_norm.ts";
import {
  type RowTeam,
  teamKey,
  teamMain,
  teamReductions,
  teamSubgroups,
  teamWalk,
} from "./row_team.ts";

/** What a plane norm gradient kernel computes; baked into its source. */
export interface PlaneNormGradientVariant {
  readonly channels: number;
  /** The norm had a weight. */
  readonly weight: boolean;
  /** Writes dx to `output`. */
  readonly input: boolean;
  /** Writes middle, shift and scale of every pixel to `statistics` [3, images, pixels]. */
  readonly statistics: boolean;
  readonly tiling: PlaneTiling;
}

/**
 * The gradient of the input [images, channels, pixels], the statistics, or both. Dispatch ceil(images * pixels / width /
 * columns). The arrays `gradient`, `output` (and `weight`, `statistics`) exist as the variant says.
 */
export function planeNormGradientProgram(variant: PlaneNormGradientVariant): Program {
  const { channels, weight, input: wantsInput, statistics: wantsStatistics, tiling } = variant;
  const { width, columns, slices } = tiling;
  const flags = [weight ? "w" : "", wantsInput ? "x" : "", wantsStatistics ? "s" : ""].join("");
  const type = width === 4 ? "vec4<f32>" : "f32";
  const read = { type, access: "read" } as const, write = { type, access: "read_write" } as const;
  const arrays: Record<string, ArraySpec> = {
    input: read,
    ...(wantsInput
      ? {
        gradient: read,
        ...(weight ? { weight: { type: "f32", access: "read" } as const } : {}),
        output: write,
      }
      : {}),
    ...(wantsStatistics ? { statistics: write } : {}),
  };
  // Columns past the end do nothing but take part in the barriers.
  const each = (body: string) =>
    `if (inside) { for (var c = slice; c < ${channels}u; c += ${slices}u) { let at = start + c * stride; ${body} } }`;
  const g = `gradient[at]${weight ? " * weight[c]" : ""}`;
  return program(`plane norm gradient ${channels} ${flags} ${tilingKey(tiling)}`, () => ({
    arrays,
    parameters: { images: "u32", pixels: "u32", eps: "f32" },
    wgsl: /* wgsl */ `
${sliceSum(tiling)}
@compute @workgroup_size(${columns * slices})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let stride = params.pixels / ${width}u;
  let column = workgroupIndex(group, groups) * ${columns}u + index % ${columns}u;
  let slice = index / ${columns}u;
  let inside = column < params.images * stride;
  let start = column / stride * ${channels}u * stride + column % stride;
  var first = ${type}(0.0);
  ${each("first += input[at];")}
  let middle = sumSlices(first, index) / ${channels}.0;
  var shifts = ${type}(0.0);
  var squares = ${type}(0.0);
  var levels = ${type}(0.0);
  var slopes = ${type}(0.0);
  ${
      each(
        `let e = input[at] - middle; shifts += e; squares += e * e; ${
          wantsInput ? `let g = ${g}; levels += g; slopes += g * e;` : ""
        }`,
      )
    }
  let shift = sumSlices(shifts, index) / ${channels}.0;
  let variance = max(sumSlices(squares, index) / ${channels}.0 - shift * shift, ${type}(0.0));
  let scale = 1.0 / sqrt(variance + params.eps);
  ${
      wantsStatistics
        ? `if (inside && slice == 0u) {
    let total = params.images * stride;
    statistics[column] = middle;
    statistics[total + column] = shift;
    statistics[2u * total + column] = scale;
  }`
        : ""
    }
  ${
      wantsInput
        ? `let level = sumSlices(levels, index) / ${channels}.0;
  let slope = scale * (sumSlices(slopes, index) / ${channels}.0 - shift * level);
  ${
          each(
            `output[at] = scale * (${g} - level - (input[at] - middle - shift) * scale * slope);`,
          )
        }`
        : ""
    }
}`,
    host(views: object, { images, pixels, eps }) {
      const { input, gradient, weight, output, statistics } = views as PlaneArrays;
      const mean = new Float64Array(pixels), scale = new Float64Array(pixels);
      const level = new Float64Array(pixels), slope = new Float64Array(pixels);
      // Channel by channel over whole planes keeps the loads contiguous.
      const eachValue = (image: number, body: (i: number, c: number, p: number) => void) => {
        for (let c = 0, i = image * channels * pixels; c < channels; c++) {
          for (let p = 0; p < pixels; p++, i++) body(i, c, p);
        }
      };
      for (let image = 0; image < images; image++) {
        for (const sums of [mean, scale, level, slope]) sums.fill(0);
        eachValue(image, (i, _, p) => mean[p]! += input[i]!);
        for (let p = 0; p < pixels; p++) mean[p]! /= channels;
        eachValue(image, (i, _, p) => scale[p]! += (input[i]! - mean[p]!) ** 2);
        for (let p = 0; p < pixels; p++) {
          scale[p] = 1 / Math.sqrt(scale[p]! / channels + eps);
          if (statistics === undefined) continue;
          const at = image * pixels + p, middle = Math.fround(mean[p]!);
          statistics[at] = middle;
          statistics[images * pixels + at] = mean[p]! - middle;
          statistics[2 * images * pixels + at] = scale[p]!;
        }
        if (gradient === undefined || output === undefined) continue;
        const scaled = (i: number, c: number) =>
          gradient[i]! * (weight === undefined ? 1 : weight[c]!);
        eachValue(image, (i, c, p) => {
          const g = scaled(i, c);
          level[p]! += g / channels;
          slope[p]! += g * (input[i]! - mean[p]!) * scale[p]! / channels;
        });
        eachValue(image, (i, c, p) => {
          const centred = (input[i]! - mean[p]!) * scale[p]!;
          output[i] = scale[p]! * (scaled(i, c) - level[p]! - centred * slope[p]!);
        });
      }
    },
  }));
}

interface PlaneArrays {
  readonly input: Float32Array;
  readonly gradient?: Float32Array;
  readonly weight?: Float32Array;
  readonly output?: Float32Array;
  readonly statistics?: Float32Array;
}

/**
 * Sums over the pixels of every plane: gradient * x^ to `weightParts` and gradient to `biasParts`, both [rows] with rows =
 * images * channels. Dispatch `teamGroups(team, rows)`; `width` 4 needs pixels % 4 = 0.
 */
export function planeScaleGradientProgram(team: RowTeam, width: 1 | 4): Program {
  const type = width === 4 ? "vec4<f32>" : "f32";
  const read = { type, access: "read" } as const;
  const total = (value: string) => width === 4 ? `dot(${value}, vec4<f32>(1.0))` : value;
  return program(`plane scale gradient x${width} ${teamKey(team)}`, () => ({
    arrays: {
      input: read,
      gradient: read,
      statistics: read,
      weightParts: { type: "f32", access: "read_write" },
      biasParts: { type: "f32", access: "read_write" },
    },
    parameters: { rows: "u32", channels: "u32", pixels: "u32" },
    subgroups: teamSubgroups(team),
    wgsl: [
      teamReductions(team, [{ name: "sumParts", type: "vec2<f32>", operation: "add" }]),
      teamMain(
        team,
        /* wgsl */ `
  let loads = params.pixels / ${width}u;
  let start = row * loads;
  let pixel = row / params.channels * loads;
  let plane = params.rows / params.channels * loads;
  var slopes = ${type}(0.0);
  var levels = ${type}(0.0);
${
          teamWalk(
            team,
            `let g = gradient[start + i]; let s = pixel + i; levels += g;
    slopes += g * ((input[start + i] - statistics[s] - statistics[plane + s]) * statistics[2u * plane + s]);`,
            "0u",
            "loads",
          )
        }
  let sums = sumParts(vec2<f32>(${total("slopes")}, ${total("levels")}));
  if (lane == 0u) { weightParts[row] = sums.x; biasParts[row] = sums.y; }`,
      ),
    ].join("\n"),
    host(
      { input, gradient, statistics, weightParts, biasParts }: Record<string, Float32Array>,
      { rows, channels, pixels },
    ) {
      const plane = rows / channels * pixels;
      for (let row = 0, i = 0; row < rows; row++) {
        let s = Math.floor(row / channels) * pixels, slope = 0, level = 0;
        for (let p = 0; p < pixels; p++, i++, s++) {
          level += gradient![i]!;
          slope += gradient![i]! * (input![i]! - statistics![s]! - statistics![plane + s]!) *
            statistics![2 * plane + s]!;
        }
        weightParts![row] = slope;
        biasParts![row] = level;
      }
    },
  }));
}
