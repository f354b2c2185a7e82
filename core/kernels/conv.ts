/**
 * Two-dimensional convolution, register tiles: y[b, n, oy, ox] = f(bias[n] + sum over c, ky, kx of
 * w[n, c, ky, kx] x[b, c, oy s - p + ky, ox s - p + kx]), a cross-correlation as in every deep-learning library.
 *
 * Shapes: x [B, G C, H, W], w [G N, C, kh, kw], y [B, G N, Ho, Wo] or, with other output strides, token-major.
 * FLOPs: 2 B G N C kh kw Ho Wo. Traffic: w once per tile of pixels, x once per block of `rows` output channels.
 *
 * Tiling: an invocation owns `rows` output channels times `pixels` neighbours of one output row, so that one row of input
 * serves all horizontal taps. On software adapters a load costs as much as some twenty multiply-adds, because every lane
 * loads on its own; there the lanes of a subgroup load different weights and broadcast them (3x3, 64 to 64 channels, 256 x 256,
 * lavapipe on two cores: 408 ms when every lane loads every weight, 155 ms with broadcasts). GPUs use `conv_tile.ts`.
 *
 * A transposed convolution runs through the same source: see `conv_transpose.ts` for its geometry.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { erfWgsl, type Unary, unaryFunctions } from "./elementwise.ts";
import { convHost } from "./conv_host.ts";
import { convTransposeHost } from "./conv_transpose.ts";

/** What a convolution kernel bakes into its source. */
export interface ConvSpec {
  /** Every input pixel spreads over kh x kw output pixels, `stride` apart. */
  readonly transposed: boolean;
  /** Kernel height. */
  readonly kh: number;
  /** Kernel width. */
  readonly kw: number;
  /** Step of both axes. */
  readonly stride: number;
  /** Adds `bias[n]`; without it the array is bound (to anything) but not read. */
  readonly bias: boolean;
  /** Applied last. */
  readonly activation?: Unary;
}

/** Register tiling of {@linkcode convProgram}. */
export interface ConvTiling {
  /** Invocations per workgroup. */
  readonly lanes: number;
  /** Output channels per invocation. */
  readonly rows: number;
  /** Output pixels per invocation. */
  readonly pixels: number;
  /** The workgroup is one subgroup of `lanes`: load weights once per subgroup. `rows` is a multiple of `lanes`. */
  readonly broadcast: boolean;
}

/** Parameters of all convolution kernels. */
export const convParameters = {
  batch: "u32",
  groups: "u32",
  inChannels: "u32",
  outChannels: "u32",
  height: "u32",
  width: "u32",
  outHeight: "u32",
  outWidth: "u32",
  padding: "u32",
  /** Rows and columns of output pixels of one phase: the whole output of a convolution, 1/s^2 of a transposed one. */
  gridHeight: "u32",
  gridWidth: "u32",
  /** Blocks of output channels per group. */
  blocks: "u32",
  imageStride: "u32",
  channelStride: "u32",
  pixelStride: "u32",
} as const;

/** Values of {@linkcode convParameters}; channel counts are per group. */
export type ConvParameters = { [K in keyof typeof convParameters]: number };

/** Arrays of all convolution kernels. */
export const convArrays = {
  input: { type: "f32", access: "read" },
  weight: { type: "f32", access: "read" },
  bias: { type: "f32", access: "read" },
  output: { type: "f32", access: "read_write" },
} as const;

/** Name of everything in a spec. */
export function convKey(spec: ConvSpec): string {
  return `${spec.transposed ? "conv-transpose" : "conv"} ${spec.kh}x${spec.kw}/${spec.stride}${
    spec.bias ? " bias" : ""
  } ${spec.activation ?? ""}`;
}

/** Taps per axis that one output pixel sees. */
export function convTaps({ transposed, kh, kw, stride }: ConvSpec): [number, number] {
  return transposed ? [Math.ceil(kh / stride), Math.ceil(kw / stride)] : [kh, kw];
}

/** WGSL that all convolution kernels share: where weights lie, what happens to a sum, and where it goes. */
export function convWgsl(spec: ConvSpec): string {
  const { transposed, kh, kw, stride, bias, activation } = spec;
  return /* wgsl */ `
${activation === "gelu" ? erfWgsl : ""}
fn activate(x: f32) -> f32 { return ${
    activation === undefined ? "x" : unaryFunctions[activation].wgsl
  }; }
// A transposed convolution has stride x stride phases: output pixels that share their taps.
fn phaseOf(z: u32) -> vec2<u32> { let i = z % ${
    stride * stride
  }u; return vec2<u32>(i / ${stride}u, i % ${stride}u); }
// The first q of a phase, so that q s + phase - padding is the phase's first output pixel.
fn originOf(phase: vec2<u32>) -> vec2<u32> { return (vec2<u32>(params.padding + ${
    stride - 1
  }u) - phase) / ${stride}u; }
fn weightAt(block: u32, channel: u32, c: u32, ty: u32, tx: u32, phase: vec2<u32>) -> f32 {
  let n = min(channel, params.outChannels - 1u);
  ${
    transposed
      ? `let source = block * params.inChannels + c;
  let ky = ty * ${stride}u + phase.x;
  let kx = tx * ${stride}u + phase.y;
  return ${
        kh % stride === 0 && kw % stride === 0
          ? `weight[((source * params.outChannels + n) * ${kh}u + ky) * ${kw}u + kx]`
          : `select(0.0, weight[((source * params.outChannels + n) * ${kh}u + min(ky, ${
            kh - 1
          }u)) * ${kw}u + min(kx, ${kw - 1}u)], ky < ${kh}u && kx < ${kw}u)`
      };`
      : `return weight[(((block * params.outChannels + n) * params.inChannels + c) * ${kh}u + ty) * ${kw}u + tx];`
  }
}
fn put(image: u32, block: u32, channel: u32, row: u32, column: u32, phase: vec2<u32>, sum: f32) {
  if (channel >= params.outChannels || row >= params.gridHeight || column >= params.gridWidth) { return; }
  ${
    transposed
      ? `let y = (row + originOf(phase).x) * ${stride}u + phase.x - params.padding;
  let x = (column + originOf(phase).y) * ${stride}u + phase.y - params.padding;
  if (y >= params.outHeight || x >= params.outWidth) { return; }`
      : `let y = row;
  let x = column;`
  }
  let n = block * params.outChannels + channel;
  output[image * params.imageStride + n * params.channelStride + (y * params.outWidth + x) * params.pixelStride] =
    activate(sum${bias ? " + bias[n]" : ""});
}`;
}

/** Widest kernel whose horizontal taps are unrolled: beyond that compiling costs more than it brings. */
const unrolledTaps = 4;

/**
 * A convolution by register tiles. Dispatch [ceil(gridHeight * ceil(gridWidth / pixels) / lanes), groups * blocks,
 * batch * phases] with blocks = ceil(outChannels / rows), and phases = stride^2 for transposed ones, else 1.
 */
export function convProgram(spec: ConvSpec, tiling: ConvTiling): Program {
  const { lanes, rows, pixels, broadcast } = tiling;
  const key = `${convKey(spec)} ${rows}x${pixels}/${lanes}${broadcast ? " broadcast" : ""}`;
  return program(key, () => ({
    arrays: convArrays,
    parameters: convParameters,
    subgroups: broadcast,
    wgsl: registerWgsl(spec, tiling),
    host: spec.transposed
      ? (arrays, parameters) => convTransposeHost(spec, arrays, parameters)
      : (arrays, parameters) => convHost(spec, arrays, parameters),
  }));
}

function registerWgsl(spec: ConvSpec, { lanes, rows, pixels, broadcast }: ConvTiling): string {
  const { transposed, stride } = spec;
  const [tapsY, tapsX] = convTaps(spec);
  const unrolled = tapsX <= unrolledTaps;
  const each = (count: number, line: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => line(i)).join("\n");
  const column = (pixel: number, tap: number): number =>
    transposed ? pixel - tap : pixel * stride + tap;
  const name = (offset: number): string => offset < 0 ? `m${-offset}` : `${offset}`;
  const columns = [
    ...new Set(
      Array.from({ length: pixels * tapsX }, (_, i) => column(Math.floor(i / tapsX), i % tapsX)),
    ),
  ];

  // Multiply-adds of one horizontal tap; `value` names the input of a pixel.
  const multiply = (tap: string, value: (pixel: number) => string): string =>
    [
      broadcast
        ? each(
          rows / lanes,
          (q) =>
            `let w${q} = weightAt(group0, channel0 + ${q * lanes}u + lane, c, ty, ${tap}, phase);`,
        )
        : "",
      each(rows, (r) =>
        `{ let w = ${
          broadcast
            ? `subgroupBroadcast(w${Math.floor(r / lanes)}, ${r % lanes}u)`
            : `weightAt(group0, channel0 + ${r}u, c, ty, ${tap}, phase)`
        };\n${
          each(pixels, (p) => `s${r}_${p} += w * ${value(p)};`)
        } }`),
    ].join("\n");

  const taps = unrolled
    ? [
      ...columns.map((o) =>
        `let v${name(o)} = select(0.0, input[base + at${name(o)}], inside && in${name(o)});`
      ),
      each(tapsX, (tap) => `{ ${multiply(`${tap}u`, (p) => `v${name(column(p, tap))}`)} }`),
    ].join("\n")
    : `for (var tx = 0u; tx < ${tapsX}u; tx++) {
${
      each(pixels, (p) =>
        `let x${p} = left + ${transposed ? `${p} - i32(tx)` : `${p * stride} + i32(tx)`};
let v${p} = select(0.0, input[base + u32(clamp(x${p}, 0, last))], inside && x${p} >= 0 && x${p} <= last);`)
    }
${multiply("tx", (p) => `v${p}`)}
}`;

  return /* wgsl */ `
${convWgsl(spec)}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
let tilesX = (params.gridWidth + ${pixels - 1}u) / ${pixels}u;
let tile = group.x * ${lanes}u + lane;
let row = tile / tilesX;
let column0 = (tile % tilesX) * ${pixels}u;
let group0 = group.y / params.blocks;
let channel0 = (group.y % params.blocks) * ${rows}u;
let image = group.z / ${transposed ? stride * stride : 1}u;
let phase = phaseOf(group.z);
let top = ${
    transposed ? "i32(row + originOf(phase).x)" : `i32(row * ${stride}u) - i32(params.padding)`
  };
let left = ${
    transposed
      ? "i32(column0 + originOf(phase).y)"
      : `i32(column0 * ${stride}u) - i32(params.padding)`
  };
let last = i32(params.width) - 1;
${
    unrolled
      ? columns.map((o) =>
        `let at${name(o)} = u32(clamp(left + ${o}, 0, last));
let in${name(o)} = left + ${o} >= 0 && left + ${o} <= last;`
      ).join("\n")
      : ""
  }
${each(rows * pixels, (i) => `var s${Math.floor(i / pixels)}_${i % pixels} = 0.0;`)}
for (var c = 0u; c < params.inChannels; c++) {
let plane = ((image * params.groups + group0) * params.inChannels + c) * params.height;
for (var ty = 0u; ty < ${tapsY}u; ty++) {
let y = top ${transposed ? "-" : "+"} i32(ty);
let inside = y >= 0 && y < i32(params.height);
let base = (plane + u32(clamp(y, 0, i32(params.height) - 1))) * params.width;
${taps}
}
}
// A loop keeps the compiled code small: unrolled stores take longer to compile than all the rest.
var sums = array<f32, ${rows * pixels}>(${
    Array.from({ length: rows * pixels }, (_, i) => `s${Math.floor(i / pixels)}_${i % pixels}`)
      .join(", ")
  });
for (var i = 0u; i < ${rows * pixels}u; i++) {
put(image, group0, channel0 + i / ${pixels}u, row, column0 + i % ${pixels}u, phase, sums[i]);
}
}`;
}
