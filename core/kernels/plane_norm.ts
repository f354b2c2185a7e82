/**
 * Layer normalisation over the channels of planar images [images, channels, pixels].
 *
 * The same corrected two-pass statistics as in `norm.ts`. Neighbouring invocations take neighbouring pixels, so that every load
 * is contiguous. Software adapters: one invocation per four pixels goes through all channels, without barriers. GPUs: the channels
 * of 32 pixels are split over 8 slices whose sums meet in workgroup memory.
 * Traffic: three reads (two of them from the cache for up to some hundred channels) and one write per value; 8 operations.
 *
 * @module
 */
import { type Capabilities, type Program, program } from "../device/mod.ts";

/** How a workgroup covers columns of a plane. */
export interface PlaneTiling {
  /** Values per load: 4 where the planes allow it. */
  readonly width: 1 | 4;
  /** Loads side by side in a workgroup. */
  readonly columns: number;
  /** Invocations that share the values of one column. */
  readonly slices: number;
}

/**
 * Chooses a tiling.
 *
 * @param capabilities The device.
 * @param pixels Length of the contiguous axis.
 * @param depth Length of the axis that is reduced.
 */
export function planeTiling(
  { software, workgroupSize }: Capabilities,
  pixels: number,
  depth: number,
): PlaneTiling {
  if (software) return { width: pixels % 4 === 0 ? 4 : 1, columns: 8, slices: 1 };
  return { width: 1, columns: 32, slices: depth <= 8 || workgroupSize < 256 ? 1 : 8 };
}

/** The part of a program key that names a tiling. */
export function tilingKey({ width, columns, slices }: PlaneTiling): string {
  return `${width}x${columns}x${slices}`;
}

/** WGSL `sumSlices(value, index) -> value`: adds over the slices of a column; all of them get the sum. */
export function sliceSum({ width, columns, slices }: PlaneTiling): string {
  const type = width === 4 ? "vec4<f32>" : "f32";
  if (slices === 1) return `fn sumSlices(value: ${type}, index: u32) -> ${type} { return value; }`;
  return /* wgsl */ `
var<workgroup> sliceParts: array<${type}, ${columns * slices}>;
fn sumSlices(value: ${type}, index: u32) -> ${type} {
  sliceParts[index] = value;
  workgroupBarrier();
  let column = index % ${columns}u;
  let total = ${
    Array.from({ length: slices }, (_, slice) => `sliceParts[column + ${slice * columns}u]`)
      .join(" + ")
  };
  workgroupBarrier();
  return total;
}`;
}

/** What a plane norm kernel computes; baked into its source. */
export interface PlaneNormVariant {
  readonly channels: number;
  readonly weight: boolean;
  readonly bias: boolean;
  readonly tiling: PlaneTiling;
}

/** Normalises [images, channels, pixels] over channels. Dispatch ceil(images * pixels / width / columns). */
export function planeNormProgram({ channels, weight, bias, tiling }: PlaneNormVariant): Program {
  const { width, columns, slices } = tiling;
  const key = `plane norm ${channels} ${weight ? "w" : ""}${bias ? "b" : ""} ${tilingKey(tiling)}`;
  const type = width === 4 ? "vec4<f32>" : "f32";
  // Columns past the end do nothing but take part in the barriers.
  const each = (body: string) =>
    `if (inside) { for (var c = slice; c < ${channels}u; c += ${slices}u) { ${body} } }`;
  return program(key, () => ({
    arrays: {
      input: { type, access: "read" },
      ...(weight ? { weight: { type: "f32", access: "read" } as const } : {}),
      ...(bias ? { bias: { type: "f32", access: "read" } as const } : {}),
      output: { type, access: "read_write" },
    },
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
  ${each("first += input[start + c * stride];")}
  let middle = sumSlices(first, index) / ${channels}.0;
  var shifts = ${type}(0.0);
  var squares = ${type}(0.0);
  ${each("let e = input[start + c * stride] - middle; shifts += e; squares += e * e;")}
  let shift = sumSlices(shifts, index) / ${channels}.0;
  let variance = max(sumSlices(squares, index) / ${channels}.0 - shift * shift, ${type}(0.0));
  let scale = 1.0 / sqrt(variance + params.eps);
  ${
      each(
        `output[start + c * stride] = (input[start + c * stride] - middle - shift) * scale${
          weight ? " * weight[c]" : ""
        }${bias ? " + bias[c]" : ""};`,
      )
    }
}`,
    host(
      { input, weight, bias, output }: {
        input: Float32Array;
        weight?: Float32Array;
        bias?: Float32Array;
        output: Float32Array;
      },
      { images, pixels, eps },
    ) {
      // Channel by channel over whole planes keeps the loads contiguous.
      const mean = new Float64Array(pixels), scale = new Float64Array(pixels);
      for (let image = 0; image < images; image++) {
        const base = image * channels * pixels;
        mean.fill(0);
        scale.fill(0);
        for (let i = base, p = 0; i < base + channels * pixels; i++) {
          mean[p]! += input[i]!;
          if (++p === pixels) p = 0;
        }
        for (let p = 0; p < pixels; p++) mean[p]! /= channels;
        for (let i = base, p = 0; i < base + channels * pixels; i++) {
          scale[p]! += (input[i]! - mean[p]!) ** 2;
          if (++p === pixels) p = 0;
        }
        for (let p = 0; p < pixels; p++) scale[p] = 1 / Math.sqrt(scale[p]! / channels + eps);
        for (let c = 0, i = base; c < channels; c++) {
          const factor = weight === undefined ? 1 : weight[c]!;
          const offset = bias === undefined ? 0 : bias[c]!;
          for (let p = 0; p < pixels; p++, i++) {
            output[i] = (input[i]! - mean[p]!) * scale[p]! * factor + offset;
          }
        }
      }
    },
  }));
}
