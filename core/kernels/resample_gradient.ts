/**
 * The transposed resampling of one axis: dx[o, r, c] = sum over i of u[i, r] dy[o, i, c], with u[i, r] the weight of input
 * position r in output position i, exactly as the forward kernel has it (see `resample.ts`).
 *
 * Resampling is separable, so rows and columns go back one after the other. Nothing is scattered: the output positions that
 * read position r lie in a short interval around the inverse image of r; a bound of it is walked and every weight
 * recomputed, most of the bound's ends being 0. So the sums have a fixed order.
 *
 * Shapes: dy [outer, outLength, inner], dx [outer, length, inner]. Traffic: dx once, dy about once (neighbours share through
 * the cache); about 10 operations per weight. Tiling: one value per invocation, 64 per workgroup.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { hostAxis, positionWgsl, type ResampleMode } from "./resample.ts";

/** Body of `weight(i, r)` and what it needs. */
function weightWgsl(mode: ResampleMode, aligned: boolean): string {
  switch (mode) {
    case "crop":
      return "fn weight(i: u32, r: u32) -> f32 { return select(0.0, 1.0, params.first + i == r); }";
    case "nearest":
      return /* wgsl */ `
fn weight(i: u32, r: u32) -> f32 {
  return select(0.0, 1.0, min(u32(f32(i) * params.scale), params.length - 1u) == r);
}`;
    case "bilinear":
      return /* wgsl */ `
${positionWgsl(aligned)}
fn weight(i: u32, r: u32) -> f32 {
  let x = max(0.0, position(i, params.scale));
  let low = min(u32(x), params.length - 1u);
  let u = min(1.0, x - f32(low));
  return select(0.0, 1.0 - u, low == r) + select(0.0, u, min(low + 1u, params.length - 1u) == r);
}`;
    case "bicubic":
      return /* wgsl */ `
${positionWgsl(aligned)}
fn inner(d: f32) -> f32 { return (1.25 * d - 2.25) * d * d + 1.0; }
fn outer(d: f32) -> f32 { return ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0; }
fn weight(i: u32, r: u32) -> f32 {
  let x = position(i, params.scale);
  let low = i32(floor(x));
  let t = x - floor(x);
  let taps = clamp(vec4<i32>(low - 1, low, low + 1, low + 2), vec4<i32>(0), vec4<i32>(i32(params.length) - 1));
  let weights = vec4<f32>(outer(t + 1.0), inner(t), inner(1.0 - t), outer(2.0 - t));
  return dot(select(vec4<f32>(0.0), weights, taps == vec4<i32>(i32(r))), vec4<f32>(1.0));
}`;
    case "average":
      return /* wgsl */ `
fn weight(i: u32, r: u32) -> f32 {
  let begin = i * params.length / params.outLength;
  let end = ((i + 1u) * params.length + params.outLength - 1u) / params.outLength;
  return select(0.0, 1.0 / f32(end - begin), begin <= r && r < end);
}`;
  }
}

/** Distance in input positions within which a weight can be other than 0, the clamped borders included. */
export const resampleReach: Readonly<Record<ResampleMode, number>> = {
  crop: 0,
  nearest: 1,
  bilinear: 1,
  bicubic: 2,
  average: 1,
};

/**
 * One axis of the gradient for count = outer * length * inner values. Dispatch ceil(count / 64). `inverse` is 1 / scale (0
 * where the scale is), `origin` the input position of output position 0, `shift` 0.5 for half-pixel centres, else 0.
 */
export function resampleGradientProgram(mode: ResampleMode, aligned: boolean): Program {
  const reach = `${resampleReach[mode]}.0`;
  return program(`resample gradient ${mode}${aligned ? " aligned" : ""}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: {
      count: "u32",
      length: "u32",
      outLength: "u32",
      inner: "u32",
      first: "u32",
      scale: "f32",
      inverse: "f32",
      origin: "f32",
      shift: "f32",
    },
    wgsl: /* wgsl */ `
${weightWgsl(mode, aligned)}
fn nearest(x: f32) -> f32 { return (x - params.origin + params.shift) * params.inverse - params.shift; }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let n = workgroupIndex(group, groups) * 64u + lane;
  if (n >= params.count) { return; }
  let row = n / params.inner;
  let r = row % params.length;
  let base = row / params.length * params.outLength * params.inner + n % params.inner;
  let last = f32(params.outLength - 1u);
  // One position more on either side for the rounding of the bound itself.
  var begin = u32(clamp(floor(nearest(f32(r) - ${reach})) - 1.0, 0.0, last));
  var end = u32(clamp(ceil(nearest(f32(r) + ${reach})) + 1.0, 0.0, last)) + 1u;
  // All output positions read the same one.
  if (params.inverse == 0.0) { begin = 0u; end = params.outLength; }
  var sum = 0.0;
  for (var i = begin; i < end; i++) { sum += weight(i, r) * input[base + i * params.inner]; }
  output[n] = sum;
}`,
    host({ input, output }, { count, length, outLength, inner, first, scale }) {
      const axis = hostAxis(mode, aligned, length, outLength, scale, first);
      const sums = new Float64Array(length * inner);
      for (let outer = 0; outer < count / (length * inner); outer++) {
        sums.fill(0);
        for (let i = 0; i < outLength; i++) {
          const from = (outer * outLength + i) * inner;
          for (let k = i * axis.width; k < (i + 1) * axis.width; k++) {
            const w = axis.weight[k]!, to = axis.index[k]! * inner;
            if (w === 0) continue;
            for (let c = 0; c < inner; c++) sums[to + c]! += w * input[from + c]!;
          }
        }
        output.set(sums, outer * length * inner);
      }
    },
  }));
}
