/**
 * Two-dimensional convolution on a GPU, an implicit matrix product: [N, K] weights times [K, pixels] patches with
 * K = C kh kw, patches gathered on the fly. Transposed convolutions run phase by phase, see `conv_transpose.ts`.
 *
 * A workgroup of 64 computes `side` output channels times `side` pixels in steps of 8 k: 4x4 (side 32) or 8x8 (side 64)
 * sums per invocation, both operands as vectors from workgroup memory. Rows there are one vector longer than needed, which
 * spreads the stores over the banks.
 *
 * Traffic: weights once per tile of pixels, patches once per tile of channels. FLOPs: 2 B G N K Ho Wo.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { convArrays, convKey, convParameters, type ConvSpec, convTaps, convWgsl } from "./conv.ts";
import { convHost } from "./conv_host.ts";
import { convTransposeHost } from "./conv_transpose.ts";

const depth = 8;

/**
 * Dispatch [ceil(gridHeight * gridWidth / side), groups * blocks, batch * phases] with blocks = ceil(outChannels / side),
 * and phases = stride^2 for transposed ones, else 1.
 */
export function convTileProgram(spec: ConvSpec, side: 32 | 64): Program {
  return program(`${convKey(spec)} tile ${side}`, () => ({
    arrays: convArrays,
    parameters: convParameters,
    wgsl: tileWgsl(spec, side),
    host: spec.transposed
      ? (arrays, parameters) => convTransposeHost(spec, arrays, parameters)
      : (arrays, parameters) => convHost(spec, arrays, parameters),
  }));
}

function tileWgsl(spec: ConvSpec, side: number): string {
  const { transposed, stride } = spec;
  const [tapsY, tapsX] = convTaps(spec);
  const taps = tapsY * tapsX;
  const quads = side / 4, blocks = side / 32, pitch = quads + 1;
  const each = (count: number, line: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => line(i)).join("\n");
  const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
  const sign = transposed ? "-" : "+";

  const fetchPatches = each(
    depth * quads / 64,
    (i) =>
      `{
let kk = lane / ${quads}u + ${i * 64 / quads}u;
let k = k0 + kk;
let c = k / ${taps}u;
let dy = i32(k % ${taps}u / ${tapsX}u);
let dx = i32(k % ${tapsX}u);
let plane = (firstPlane + c) * params.height;
${
        each(4, (j) =>
          `let y${j} = top.${"xyzw"[j]} ${sign} dy;
let x${j} = left.${"xyzw"[j]} ${sign} dx;
let ok${j} = k < depth && y${j} >= 0 && y${j} < i32(params.height) && x${j} >= 0 && x${j} < i32(params.width);
let v${j} = select(0.0, input[select(0u, (plane + u32(y${j})) * params.width + u32(x${j}), ok${j})], ok${j});`)
      }
patches[kk * ${pitch}u + lane % ${quads}u] = vec4<f32>(v0, v1, v2, v3);
}`,
  );
  const fetchWeights = each(
    depth * quads / 64,
    (i) =>
      `{
let kk = lane % ${depth}u;
let k = min(k0 + kk, depth - 1u);
let n = channel0 + 4u * (lane / ${depth}u + ${i * 64 / depth}u);
let c = k / ${taps}u;
let ty = k % ${taps}u / ${tapsX}u;
let tx = k % ${tapsX}u;
weights[kk * ${pitch}u + lane / ${depth}u + ${i * 64 / depth}u] = vec4<f32>(${
        range(4).map((j) => `weightAt(group0, n + ${j}u, c, ty, tx, phase)`).join(", ")
      });
}`,
  );
  const multiply = each(
    depth,
    (k) =>
      `{
${
        each(blocks, (q) =>
          `let a${q} = weights[${k * pitch + 8 * q}u + ty];
let b${q} = patches[${k * pitch + 8 * q}u + tx];`)
      }
${
        each(
          4 * blocks,
          (r) => each(blocks, (q) => `s${r}_${q} += a${r >> 2}.${"xyzw"[r & 3]} * b${q};`),
        )
      }
}`,
  );
  const count = 4 * blocks * blocks;

  return /* wgsl */ `
${convWgsl(spec)}
var<workgroup> weights: array<vec4<f32>, ${depth * pitch}>;
var<workgroup> patches: array<vec4<f32>, ${depth * pitch}>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
let pixel0 = group.x * ${side}u;
let group0 = group.y / params.blocks;
let channel0 = (group.y % params.blocks) * ${side}u;
let image = group.z / ${transposed ? stride * stride : 1}u;
let phase = phaseOf(group.z);
let depth = params.inChannels * ${taps}u;
let firstPlane = (image * params.groups + group0) * params.inChannels;
let pixels = vec4<u32>(0u, 1u, 2u, 3u) + pixel0 + 4u * (lane % ${quads}u);
let rows = vec4<i32>(pixels / params.gridWidth);
let columns = vec4<i32>(pixels % params.gridWidth);
${
    transposed
      ? `let top = rows + i32(originOf(phase).x);
let left = columns + i32(originOf(phase).y);`
      : `let top = rows * ${stride} - i32(params.padding);
let left = columns * ${stride} - i32(params.padding);`
  }
let tx = lane % 8u;
let ty = lane / 8u;
${each(count, (i) => `var s${Math.floor(i / blocks)}_${i % blocks} = vec4<f32>(0.0);`)}
for (var k0 = 0u; k0 < depth; k0 += ${depth}u) {
${fetchPatches}
${fetchWeights}
workgroupBarrier();
${multiply}
workgroupBarrier();
}
// A loop keeps the compiled code small: unrolled stores take longer to compile than all the rest.
var sums = array<vec4<f32>, ${count}>(${
    range(count).map((i) => `s${Math.floor(i / blocks)}_${i % blocks}`).join(", ")
  });
for (var i = 0u; i < ${4 * count}u; i++) {
let r = i / ${4 * blocks}u;
let q = i / 4u % ${blocks}u;
let channel = channel0 + 32u * (r / 4u) + 4u * ty + r % 4u;
let pixel = pixel0 + 32u * q + 4u * tx + i % 4u;
put(image, group0, channel, pixel / params.gridWidth, pixel % params.gridWidth, phase, sums[i / 4u][i % 4u]);
}
}`;
}
