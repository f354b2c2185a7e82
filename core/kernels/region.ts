/**
 * Means of bilinear samples of feature grids: y[r, c] = mean over the points p of region r of sum over the four cells around p
 * of weight * x[image(r), cell, c], cells outside the grid counting as zero; and their gradient with respect to x.
 *
 * This is `grid_sample` with bilinear weights, zero padding and corners aligned (Jaderberg et al. 2015, Spatial
 * Transformer Networks), positions given in cells. x is [images, rows * columns, channels], cells in raster order.
 * Traffic: four rows of features per point, 4 + 8 bytes of position; about 12 operations per point and channel. Tiling: neighbouring
 * invocations take neighbouring channels; on GPUs 8 slices share the points and meet in workgroup memory.
 *
 * The gradient goes in two steps without scattering: the weight of every cell in every mean, [regions, cells], then for every
 * cell the sum over the regions of its image.
 *
 * @module
 */
import { type ArraySpec, type Program, program } from "../device/mod.ts";
import { type PlaneTiling, sliceSum, tilingKey } from "./plane_norm.ts";

/** One number triple per region: image, first point, number of points. Without a table there is one region of all points. */
const tableArray = (table: boolean): Record<string, ArraySpec> =>
  table ? { regions: { type: "u32", access: "read" } } : {};

/** WGSL `imageOf(region)`, `firstOf(region)`, `countOf(region)`. */
const tableWgsl = (table: boolean): string =>
  table
    ? /* wgsl */ `
fn imageOf(region: u32) -> u32 { return regions[3u * region]; }
fn firstOf(region: u32) -> u32 { return regions[3u * region + 1u]; }
fn countOf(region: u32) -> u32 { return regions[3u * region + 2u]; }`
    : /* wgsl */ `
fn imageOf(region: u32) -> u32 { return 0u; }
fn firstOf(region: u32) -> u32 { return 0u; }
fn countOf(region: u32) -> u32 { return params.count; }`;

const parameters = {
  regionCount: "u32",
  rows: "u32",
  columns: "u32",
  channels: "u32",
  /** Points of the only region; not read with a table. */
  count: "u32",
} as const;

/** Image, first point and number of points on the host. */
function rowOf(
  regions: Uint32Array | undefined,
  region: number,
  count: number,
): readonly [number, number, number] {
  return regions === undefined
    ? [0, 0, count]
    : [regions[3 * region]!, regions[3 * region + 1]!, regions[3 * region + 2]!];
}

/** Calls `body` with every cell that a mean sees, on the host. */
function eachCell(
  { points, first, count }: { points: Float32Array; first: number; count: number },
  rows: number,
  columns: number,
  body: (cell: number, weight: number) => void,
): void {
  const put = (row: number, column: number, weight: number) => {
    if (!(row >= 0 && column >= 0 && row < rows && column < columns) || weight === 0) return;
    body(row * columns + column, weight);
  };
  for (let p = first; p < first + count; p++) {
    const r = points[2 * p]!, q = points[2 * p + 1]!;
    const top = Math.floor(r), left = Math.floor(q), down = r - top, right = q - left;
    put(top, left, (1 - down) * (1 - right));
    put(top, left + 1, (1 - down) * right);
    put(top + 1, left, down * (1 - right));
    put(top + 1, left + 1, down * right);
  }
}

/** The means of all regions. Dispatch ceil(regions * channels / width / columns); width 4 needs channels % 4 = 0. */
export function sampleMeanProgram(tiling: PlaneTiling, table: boolean): Program {
  const { width, columns, slices } = tiling;
  const type = width === 4 ? "vec4<f32>" : "f32";
  const arrays: Record<string, ArraySpec> = {
    input: { type, access: "read" },
    points: { type: "f32", access: "read" },
    ...tableArray(table),
    output: { type, access: "read_write" },
  };
  return program(`sample grid mean${table ? "s" : ""} ${tilingKey(tiling)}`, () => ({
    arrays,
    parameters,
    wgsl: /* wgsl */ `
${sliceSum(tiling)}
${tableWgsl(table)}
fn cell(base: u32, row: f32, column: f32, stride: u32) -> ${type} {
  // Written so that positions that are no numbers fall outside.
  let inside = row >= 0.0 && column >= 0.0 && row < f32(params.rows) && column < f32(params.columns);
  if (!inside) { return ${type}(0.0); }
  return input[base + (u32(row) * params.columns + u32(column)) * stride];
}
@compute @workgroup_size(${columns * slices})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let stride = params.channels / ${width}u;
  let at = workgroupIndex(group, groups) * ${columns}u + index % ${columns}u;
  let some = at < params.regionCount * stride;
  let region = select(0u, at / stride, some);
  let count = countOf(region);
  var sum = ${type}(0.0);
  if (some) {
    let base = imageOf(region) * params.rows * params.columns * stride + at % stride;
    let first = firstOf(region);
    for (var n = index / ${columns}u; n < count; n += ${slices}u) {
      let r = points[2u * (first + n)];
      let q = points[2u * (first + n) + 1u];
      let top = floor(r);
      let left = floor(q);
      let down = r - top;
      let right = q - left;
      let reachable = top >= -1.0 && left >= -1.0 && top < f32(params.rows) && left < f32(params.columns);
      if (reachable) {
        sum += (1.0 - down) * ((1.0 - right) * cell(base, top, left, stride) + right * cell(base, top, left + 1.0, stride)) +
          down * ((1.0 - right) * cell(base, top + 1.0, left, stride) + right * cell(base, top + 1.0, left + 1.0, stride));
      }
    }
  }
  let total = sumSlices(sum, index);
  if (some && index < ${columns}u) { output[at] = total / f32(max(count, 1u)); }
}`,
    host(views: object, { regionCount, rows, columns, channels, count }) {
      const { input, points, regions, output } = views as RegionArrays;
      const sums = new Float64Array(channels);
      for (let region = 0; region < regionCount; region++) {
        const [image, first, most] = rowOf(regions, region, count);
        sums.fill(0);
        eachCell({ points, first, count: most }, rows, columns, (cell, weight) => {
          for (let c = 0, i = (image * rows * columns + cell) * channels; c < channels; c++, i++) {
            sums[c]! += weight * input[i]!;
          }
        });
        for (let c = 0; c < channels; c++) {
          output[region * channels + c] = sums[c]! / Math.max(1, most);
        }
      }
    },
  }));
}

interface RegionArrays {
  readonly input: Float32Array;
  readonly points: Float32Array;
  readonly regions?: Uint32Array;
  readonly output: Float32Array;
}

/** Weight of every cell in the mean of every region, [regions, cells]. Dispatch ceil(regions * cells / 64). */
export function sampleWeightsProgram(table: boolean): Program {
  const arrays: Record<string, ArraySpec> = {
    points: { type: "f32", access: "read" },
    ...tableArray(table),
    output: { type: "f32", access: "read_write" },
  };
  return program(`sample grid weights${table ? " of regions" : ""}`, () => ({
    arrays,
    parameters,
    wgsl: /* wgsl */ `
${tableWgsl(table)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  let cells = params.rows * params.columns;
  if (i >= params.regionCount * cells) { return; }
  let region = i / cells;
  let row = f32(i % cells / params.columns);
  let column = f32(i % params.columns);
  let first = firstOf(region);
  let count = countOf(region);
  var sum = 0.0;
  for (var n = first; n < first + count; n++) {
    let down = abs(points[2u * n] - row);
    let right = abs(points[2u * n + 1u] - column);
    // Distances that are no numbers are not below 1.
    if (down < 1.0 && right < 1.0) { sum += (1.0 - down) * (1.0 - right); }
  }
  output[i] = sum / f32(max(count, 1u));
}`,
    host(views: object, { regionCount, rows, columns, count }) {
      const { points, regions, output } = views as RegionArrays;
      output.fill(0, 0, regionCount * rows * columns);
      for (let region = 0; region < regionCount; region++) {
        const [, first, most] = rowOf(regions, region, count);
        eachCell({ points, first, count: most }, rows, columns, (cell, weight) => {
          output[region * rows * columns + cell]! += weight / Math.max(1, most);
        });
      }
    },
  }));
}

/**
 * dx[image, cell, c] = sum over the regions r of the image of weights[r, cell] * gradient[r, c], for `count` loads.
 * Dispatch ceil(count / 64); width 4 needs channels % 4 = 0.
 */
export function sampleGradientProgram(table: boolean, width: 1 | 4): Program {
  const type = width === 4 ? "vec4<f32>" : "f32";
  const arrays: Record<string, ArraySpec> = {
    weights: { type: "f32", access: "read" },
    gradient: { type, access: "read" },
    ...tableArray(table),
    output: { type, access: "read_write" },
  };
  return program(`sample grid gradient${table ? " of regions" : ""} x${width}`, () => ({
    arrays,
    parameters: { regionCount: "u32", cells: "u32", channels: "u32", count: "u32" },
    wgsl: /* wgsl */ `
${table ? "fn imageOf(region: u32) -> u32 { return regions[3u * region]; }" : ""}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let stride = params.channels / ${width}u;
  let c = i % stride;
  let cell = i / stride % params.cells;
  let image = i / stride / params.cells;
  var sum = ${type}(0.0);
  for (var r = 0u; r < params.regionCount; r++) {
    ${
      table
        ? "if (imageOf(r) == image)"
        : ""
    } { sum += weights[r * params.cells + cell] * gradient[r * stride + c]; }
  }
  output[i] = sum;
}`,
    host(views: object, { regionCount, cells, channels, count }) {
      const { weights, gradient, regions, output } = views as {
        weights: Float32Array;
        gradient: Float32Array;
        regions?: Uint32Array;
        output: Float32Array;
      };
      const sums = new Float64Array(count * width);
      for (let region = 0; region < regionCount; region++) {
        const image = regions?.[3 * region] ?? 0;
        for (let cell = 0; cell < cells; cell++) {
          const weight = weights[region * cells + cell]!;
          if (weight === 0) continue;
          const to = (image * cells + cell) * channels;
          for (let c = 0; c < channels; c++) {
            sums[to + c]! += weight * gradient[region * channels + c]!;
          }
        }
      }
      output.set(sums);
    },
  }));
}
