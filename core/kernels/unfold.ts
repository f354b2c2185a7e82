/**
 * Unfolding of images (im2col): the pixels under every tap of a sliding window as rows of a matrix,
 *
 *     u[s, (g, c, ky, kx), l] = x[image, g C + firstChannel + c, oy stride - padding + ky, ox stride - padding + kx]
 *
 * where l counts the window positions (oy, ox) of the `images` images of slab s, one image after the other. Positions outside
 * the image, images past the last one and the end of a row, which is filled up to a multiple of four, hold zeros.
 *
 * With a 1x1 window it only reorders planes. Traffic: u written once; x read once per tap, through the cache. Tiling: 64
 * invocations, four neighbours of a row each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** What an unfolding bakes into its source. */
export interface UnfoldSpec {
  /** Window height. */
  readonly kh: number;
  /** Window width. */
  readonly kw: number;
  /** Step of both axes. */
  readonly stride: number;
}

/** Parameters of {@linkcode unfoldProgram}. */
export const unfoldParameters = {
  /** Fours of u. */
  count: "u32",
  /** Length of a row of u, a multiple of 4. */
  length: "u32",
  /** First image, and the end of the images. */
  firstImage: "u32",
  endImage: "u32",
  /** Images per slab. */
  images: "u32",
  groups: "u32",
  /** Channels of a group, the first one taken, and how many are taken. */
  channels: "u32",
  firstChannel: "u32",
  taken: "u32",
  height: "u32",
  width: "u32",
  outHeight: "u32",
  outWidth: "u32",
  padding: "u32",
  /** Values between images, channels, rows and columns of x. */
  imageStride: "u32",
  channelStride: "u32",
  rowStride: "u32",
  columnStride: "u32",
} as const;

/** Values of {@linkcode unfoldParameters}. */
export type UnfoldParameters = { [K in keyof typeof unfoldParameters]: number };

/** Dispatch ceil(count / 64). */
export function unfoldProgram({ kh, kw, stride }: UnfoldSpec): Program {
  const taps = kh * kw;
  const one = (j: number) => /* wgsl */ `
  {
    let y = i32(oy * ${stride}u + ky) - i32(params.padding);
    let x = i32(ox * ${stride}u + kx) - i32(params.padding);
    let ok = image < end && y >= 0 && x >= 0 && y < i32(params.height) && x < i32(params.width);
    let at = image * params.imageStride + plane + u32(y) * params.rowStride + u32(x) * params.columnStride;
    values[${j}] = select(0.0, input[select(0u, at, ok)], ok);
    ox++;
    if (ox == params.outWidth) { ox = 0u; oy++; }
    if (oy == params.outHeight) { oy = 0u; image++; }
  }`;
  return program(`unfold ${kh}x${kw}/${stride}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      output: { type: "vec4<f32>", access: "read_write" },
    },
    parameters: unfoldParameters,
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let quads = params.length / 4u;
  let row = i / quads;
  let l = (i % quads) * 4u;
  let slab = row / (params.groups * params.taken * ${taps}u);
  let channel = row / ${taps}u % (params.groups * params.taken);
  let ky = row % ${taps}u / ${kw}u;
  let kx = row % ${kw}u;
  let plane = (channel / params.taken * params.channels + params.firstChannel + channel % params.taken) * params.channelStride;
  let pixels = params.outHeight * params.outWidth;
  let start = params.firstImage + slab * params.images;
  let end = min(start + params.images, params.endImage);
  var image = start + l / pixels;
  var oy = l % pixels / params.outWidth;
  var ox = l % params.outWidth;
  var values = vec4<f32>(0.0);
  ${[0, 1, 2, 3].map(one).join("")}
  output[i] = values;
}`,
    host({ input, output }, parameters) {
      const { count, length, firstImage, endImage, images, groups, channels } = parameters;
      const { firstChannel, taken, height, width, outHeight, outWidth, padding } = parameters;
      output.fill(0, 0, 4 * count);
      const rows = groups * taken * taps;
      for (let row = 0; row < 4 * count / length; row++) {
        const first = firstImage + Math.floor(row / rows) * images;
        const channel = Math.floor(row % rows / taps);
        const ky = Math.floor(row % taps / kw), kx = row % kw;
        const plane = (Math.floor(channel / taken) * channels + firstChannel + channel % taken) *
          parameters.channelStride;
        let to = row * length;
        for (let image = first; image < Math.min(first + images, endImage); image++) {
          for (let oy = 0; oy < outHeight; oy++, to += outWidth) {
            const y = oy * stride + ky - padding;
            if (y < 0 || y >= height) continue;
            const from = image * parameters.imageStride + plane + y * parameters.rowStride;
            for (let ox = 0; ox < outWidth; ox++) {
              const x = ox * stride + kx - padding;
              if (x < 0 || x >= width) continue;
              output[to + ox] = input[from + x * parameters.columnStride]!;
            }
          }
        }
      }
    },
  }));
}
