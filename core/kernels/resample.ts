/**
 * Resampling of planes: y[p, i, j] = sum over a, b of u[i, a] v[j, b] x[p, row(i, a), column(j, b)], with one short list of
 * positions and weights per axis.
 *
 * Modes: `nearest` (position floor(i scale)), `bilinear` and `bicubic` (Keys, a = -0.75; both without antialiasing, half-pixel
 * centres or aligned corners), `average` (means over floor(i n / m) .. ceil((i + 1) n / m)), `crop` (a window).
 * Positions follow PyTorch's arithmetic in float32 (`aten/src/ATen/native/UpSample.h`, `AdaptivePooling.h`): scale is rounded
 * on the host, positions are one multiply-add.
 *
 * Shapes: x [P, H, W], y [P, Ho, Wo]. Traffic: y once, x about once (neighbours share through the cache); FLOPs per value:
 * bilinear 7, bicubic 40, average its window. Tiling: one value per invocation, 64 per workgroup; bound by memory.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** How an output value is made from input values. */
export type ResampleMode = "nearest" | "bilinear" | "bicubic" | "average" | "crop";

/** WGSL `position(i, scale)`: where output position i of the smooth modes lies in the input. */
export const positionWgsl = (aligned: boolean): string =>
  aligned
    ? "fn position(i: u32, scale: f32) -> f32 { return f32(i) * scale; }"
    : "fn position(i: u32, scale: f32) -> f32 { return fma(scale, f32(i) + 0.5, -0.5); }";

const at =
  "fn at(plane: u32, y: u32, x: u32) -> f32 { return input[(plane * params.height + y) * params.width + x]; }";

/** Body of `value(plane, i, j)` and what it needs. */
function modeWgsl(mode: ResampleMode, aligned: boolean): string {
  switch (mode) {
    case "crop":
      return /* wgsl */ `
fn value(plane: u32, i: u32, j: u32) -> f32 { return at(plane, params.top + i, params.left + j); }`;
    case "nearest":
      return /* wgsl */ `
fn value(plane: u32, i: u32, j: u32) -> f32 {
  let y = min(u32(f32(i) * params.scaleY), params.height - 1u);
  let x = min(u32(f32(j) * params.scaleX), params.width - 1u);
  return at(plane, y, x);
}`;
    case "bilinear":
      return /* wgsl */ `
${positionWgsl(aligned)}
fn value(plane: u32, i: u32, j: u32) -> f32 {
  let y = max(0.0, position(i, params.scaleY));
  let x = max(0.0, position(j, params.scaleX));
  let top = min(u32(y), params.height - 1u);
  let left = min(u32(x), params.width - 1u);
  let bottom = min(top + 1u, params.height - 1u);
  let right = min(left + 1u, params.width - 1u);
  let v = min(1.0, y - f32(top));
  let u = min(1.0, x - f32(left));
  return (1.0 - v) * ((1.0 - u) * at(plane, top, left) + u * at(plane, top, right)) +
    v * ((1.0 - u) * at(plane, bottom, left) + u * at(plane, bottom, right));
}`;
    case "bicubic":
      return /* wgsl */ `
${positionWgsl(aligned)}
fn inner(d: f32) -> f32 { return (1.25 * d - 2.25) * d * d + 1.0; }
fn outer(d: f32) -> f32 { return ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0; }
fn weights(t: f32) -> vec4<f32> { return vec4<f32>(outer(t + 1.0), inner(t), inner(1.0 - t), outer(2.0 - t)); }
fn near(i: i32, n: u32) -> u32 { return u32(clamp(i, 0, i32(n) - 1)); }
fn row(plane: u32, y: i32, x: vec4<u32>, w: vec4<f32>) -> f32 {
  let r = near(y, params.height);
  return dot(w, vec4<f32>(at(plane, r, x.x), at(plane, r, x.y), at(plane, r, x.z), at(plane, r, x.w)));
}
fn value(plane: u32, i: u32, j: u32) -> f32 {
  let y = position(i, params.scaleY);
  let x = position(j, params.scaleX);
  let top = i32(floor(y));
  let left = i32(floor(x));
  let u = weights(x - floor(x));
  let columns = vec4<u32>(near(left - 1, params.width), near(left, params.width), near(left + 1, params.width),
    near(left + 2, params.width));
  return dot(weights(y - floor(y)), vec4<f32>(row(plane, top - 1, columns, u), row(plane, top, columns, u),
    row(plane, top + 1, columns, u), row(plane, top + 2, columns, u)));
}`;
    case "average":
      return /* wgsl */ `
fn value(plane: u32, i: u32, j: u32) -> f32 {
  let top = i * params.height / params.outHeight;
  let bottom = ((i + 1u) * params.height + params.outHeight - 1u) / params.outHeight;
  let left = j * params.width / params.outWidth;
  let right = ((j + 1u) * params.width + params.outWidth - 1u) / params.outWidth;
  var sum = 0.0;
  for (var y = top; y < bottom; y++) {
    for (var x = left; x < right; x++) { sum += at(plane, y, x); }
  }
  return sum / f32((bottom - top) * (right - left));
}`;
  }
}

/** Positions and weights of one axis on the host, `width` of them per output position; unused ones weigh 0. */
export interface Axis {
  readonly width: number;
  readonly index: Int32Array;
  readonly weight: Float64Array;
}

/** The weights of every output position of an axis, computed as the kernels do. */
export function hostAxis(
  mode: ResampleMode,
  aligned: boolean,
  input: number,
  output: number,
  scale: number,
  first: number,
): Axis {
  const width =
    { crop: 1, nearest: 1, bilinear: 2, bicubic: 4, average: Math.ceil(input / output) + 1 }[mode];
  const index = new Int32Array(output * width), weight = new Float64Array(output * width);
  const source = (i: number) => Math.fround(aligned ? scale * i : scale * (i + 0.5) - 0.5);
  for (let i = 0; i < output; i++) {
    let k = i * width;
    const put = (from: number, w: number) => {
      index[k] = Math.min(Math.max(from, 0), input - 1);
      weight[k++] = w;
    };
    if (mode === "crop") put(first + i, 1);
    else if (mode === "nearest") put(Math.floor(Math.fround(i * scale)), 1);
    else if (mode === "bilinear") {
      const x = Math.max(0, source(i)), low = Math.min(Math.floor(x), input - 1);
      put(low, 1 - Math.min(1, x - low));
      put(low + 1, Math.min(1, x - low));
    } else if (mode === "bicubic") {
      const x = source(i), low = Math.floor(x), t = x - low;
      const inner = (d: number) => (1.25 * d - 2.25) * d * d + 1;
      const outer = (d: number) => ((-0.75 * d + 3.75) * d - 6) * d + 3;
      put(low - 1, outer(t + 1));
      put(low, inner(t));
      put(low + 1, inner(1 - t));
      put(low + 2, outer(2 - t));
    } else {
      const begin = Math.floor(i * input / output), end = Math.ceil((i + 1) * input / output);
      for (let from = begin; from < end; from++) put(from, 1 / (end - begin));
    }
  }
  return { width, index, weight };
}

/** One resampled value per invocation for i < count. Dispatch ceil(count / 64). `aligned` matters to the two smooth modes. */
export function resampleProgram(mode: ResampleMode, aligned: boolean): Program {
  return program(`resample ${mode}${aligned ? " aligned" : ""}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: {
      count: "u32",
      height: "u32",
      width: "u32",
      outHeight: "u32",
      outWidth: "u32",
      top: "u32",
      left: "u32",
      scaleY: "f32",
      scaleX: "f32",
    },
    wgsl: /* wgsl */ `
${at}
${modeWgsl(mode, aligned)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let n = workgroupIndex(group, groups) * 64u + lane;
  if (n >= params.count) { return; }
  let row = n / params.outWidth;
  output[n] = value(row / params.outHeight, row % params.outHeight, n % params.outWidth);
}`,
    host(
      { input, output },
      { count, height, width, outHeight, outWidth, top, left, scaleY, scaleX },
    ) {
      const ys = hostAxis(mode, aligned, height, outHeight, scaleY, top);
      const xs = hostAxis(mode, aligned, width, outWidth, scaleX, left);
      const line = new Float64Array(width);
      for (let plane = 0, n = 0; n < count; plane++) {
        for (let i = 0; i < outHeight; i++) {
          line.fill(0);
          for (let a = i * ys.width; a < (i + 1) * ys.width; a++) {
            const w = ys.weight[a]!, base = (plane * height + ys.index[a]!) * width;
            if (w === 0) continue;
            for (let x = 0; x < width; x++) line[x]! += w * input[base + x]!;
          }
          for (let j = 0; j < outWidth; j++, n++) {
            let sum = 0;
            for (let b = j * xs.width; b < (j + 1) * xs.width; b++) {
              if (xs.weight[b] !== 0) sum += xs.weight[b]! * line[xs.index[b]!]!;
            }
            output[n] = sum;
          }
        }
      }
    },
  }));
}
