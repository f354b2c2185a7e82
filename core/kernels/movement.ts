/**
 * Kernels that move values without changing them: strided copies, permutations, transposition, filling, scattering.
 *
 * They move 32-bit words, so that one program serves every dtype, and four at a time where strides and lengths allow it.
 * Traffic: every value read once and written once; no arithmetic beside indices. Tiling: 64 invocations, one word or vector of
 * words each; transposition works on blocks (see {@linkcode transposeProgram}).
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** Words per load and store. */
export type Width = 1 | 4;

/** WGSL type of a load. */
function wordType(width: Width): "u32" | "vec4<u32>" {
  return width === 4 ? "vec4<u32>" : "u32";
}

/** Head of the one-value-per-invocation kernels: declares `i` and leaves past `params.count`. */
function eachMain(body: string): string {
  return /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
${body}
}`;
}

/**
 * output[targetOffset + o targetStride + j] = input[sourceOffset + o sourceStride + j] for j < inner and
 * o inner + j < count; everything counted in loads of `width` words. Dispatch ceil(count / 64).
 */
export function copyProgram(width: Width): Program {
  return program(`copy x${width}`, () => ({
    arrays: {
      input: { type: wordType(width), access: "read" },
      output: { type: wordType(width), access: "read_write" },
    },
    parameters: {
      count: "u32",
      inner: "u32",
      sourceOffset: "u32",
      sourceStride: "u32",
      targetOffset: "u32",
      targetStride: "u32",
    },
    wgsl: eachMain(/* wgsl */ `
  let o = i / params.inner;
  let j = i - o * params.inner;
  output[params.targetOffset + o * params.targetStride + j] =
    input[params.sourceOffset + o * params.sourceStride + j];`),
    host({ input, output }, parameters) {
      const inner = width * parameters.inner;
      let from = width * parameters.sourceOffset, to = width * parameters.targetOffset;
      for (let o = 0; o < parameters.count / parameters.inner; o++) {
        output.set(input.subarray(from, from + inner), to);
        from += width * parameters.sourceStride;
        to += width * parameters.targetStride;
      }
    },
  }));
}

/** Most axes a permutation may keep apart. */
export const permutationRank = 6;

/** Parameters of {@linkcode permuteProgram}: extents of the output and strides of the input along them, in loads. */
function axisParameters(rank: number): Record<string, "u32"> {
  return Object.fromEntries(
    Array.from({ length: rank }, (_, axis) => [`extent${axis}`, `stride${axis}`]).flat()
      .map((name) => [name, "u32"] as const),
  );
}

/** output[i] = input[sum of coordinate(i, axis) * stride(axis)]. Dispatch ceil(count / 64). */
export function permuteProgram(rank: number, width: Width): Program {
  return program(`permute ${rank} x${width}`, () => ({
    arrays: {
      input: { type: wordType(width), access: "read" },
      output: { type: wordType(width), access: "read_write" },
    },
    parameters: { count: "u32", ...axisParameters(rank) },
    wgsl: eachMain([
      "  var rest = i;",
      "  var source = 0u;",
      ...Array.from({ length: rank }, (_, n) => rank - 1 - n).map((axis) =>
        `  source += rest % params.extent${axis} * params.stride${axis}; rest /= params.extent${axis};`
      ),
      "  output[i] = input[source];",
    ].join("\n")),
    host(
      { input, output }: { input: Uint32Array; output: Uint32Array },
      parameters: Readonly<Record<string, number>>,
    ) {
      const extents = Array.from({ length: rank }, (_, axis) => parameters[`extent${axis}`]!);
      const strides = Array.from({ length: rank }, (_, axis) => parameters[`stride${axis}`]!);
      const inner = extents[rank - 1]!, step = strides[rank - 1]!;
      const coordinates = new Array<number>(rank).fill(0);
      let from = 0;
      for (let i = 0; i < parameters.count!; i += inner) {
        if (width === 4) {
          for (let j = 0, at = from; j < inner; j++, at += step) {
            output.set(input.subarray(4 * at, 4 * at + 4), 4 * (i + j));
          }
        } else {
          for (let j = 0, at = from; j < inner; j++, at += step) output[i + j] = input[at]!;
        }
        // The next combination of the outer coordinates, and where it starts.
        for (let axis = rank - 2; axis >= 0; axis--) {
          from += strides[axis]!;
          if (++coordinates[axis]! < extents[axis]!) break;
          from -= extents[axis]! * strides[axis]!;
          coordinates[axis] = 0;
        }
      }
    },
  }));
}

/**
 * How {@linkcode transposeProgram} works: 32 x 32 tiles in workgroup memory, or 4 x 4 blocks in registers, the last ones of which may
 * be `ragged`.
 */
export type TransposeVariant = "tile" | "block" | "ragged";

/** Workgroups for a transposition. */
export function transposeGroups(
  variant: TransposeVariant,
  batch: number,
  rows: number,
  columns: number,
): number {
  return variant === "tile"
    ? batch * Math.ceil(rows / 32) * Math.ceil(columns / 32)
    : Math.ceil(batch * Math.ceil(rows / 4) * columns / 4 / 64);
}

/**
 * [batch, rows, columns] to [batch, columns, rows]. Dispatch {@linkcode transposeGroups}.
 *
 * `tile`, for GPUs: 32 x 8 invocations pass a tile of 32 x 32 words through workgroup memory, so that both sides are
 * contiguous. `block`, for software adapters: an invocation turns 4 x 4 words in registers, without barriers; rows and columns
 * must be multiples of 4. `ragged` takes any rows and writes word by word.
 */
export function transposeProgram(variant: TransposeVariant): Program {
  return program(`transpose ${variant}`, () => ({
    arrays: {
      input: { type: wordType(variant === "tile" ? 1 : 4), access: "read" },
      output: { type: wordType(variant === "block" ? 4 : 1), access: "read_write" },
    },
    parameters: { batch: "u32", rows: "u32", columns: "u32" },
    wgsl: { tile: tileSource, block: blockSource, ragged: raggedSource }[variant],
    host({ input, output }, { batch, rows, columns }) {
      const side = 16;
      for (let base = 0; base < batch * rows * columns; base += rows * columns) {
        for (let r0 = 0; r0 < rows; r0 += side) {
          const r1 = Math.min(rows, r0 + side);
          for (let c = 0; c < columns; c++) {
            for (let r = r0; r < r1; r++) {
              output[base + c * rows + r] = input[base + r * columns + c]!;
            }
          }
        }
      }
    },
  }));
}

const tileSource = /* wgsl */ `
// One word of padding per row keeps column reads off a single memory bank.
var<workgroup> tile: array<u32, ${32 * 33}>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let across = (params.columns + 31u) / 32u;
  let down = (params.rows + 31u) / 32u;
  let index = workgroupIndex(group, groups);
  let base = index / (across * down) * params.rows * params.columns;
  let top = index / across % down * 32u;
  let left = index % across * 32u;
  let x = lane % 32u;
  let y = lane / 32u;
  let inside = index < across * down * params.batch;
${
  Array.from({ length: 4 }, (_, n) => /* wgsl */ `
  if (inside && top + y + ${8 * n}u < params.rows && left + x < params.columns) {
    tile[(y + ${8 * n}u) * 33u + x] = input[base + (top + y + ${
    8 * n
  }u) * params.columns + left + x];
  }`).join("")
}
  workgroupBarrier();
${
  Array.from({ length: 4 }, (_, n) => /* wgsl */ `
  if (inside && left + y + ${8 * n}u < params.columns && top + x < params.rows) {
    output[base + (left + y + ${8 * n}u) * params.rows + top + x] = tile[x * 33u + y + ${8 * n}u];
  }`).join("")
}
}`;

const blockSource = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let across = params.columns / 4u;
  let down = params.rows / 4u;
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.batch * across * down) { return; }
  let base = i / (across * down) * across * params.rows;
  let r = i / across % down;
  let c = i % across;
  let source = base + 4u * r * across + c;
  let a = input[source];
  let b = input[source + across];
  let d = input[source + 2u * across];
  let e = input[source + 3u * across];
  let to = base + 4u * c * down + r;
  output[to] = vec4<u32>(a.x, b.x, d.x, e.x);
  output[to + down] = vec4<u32>(a.y, b.y, d.y, e.y);
  output[to + 2u * down] = vec4<u32>(a.z, b.z, d.z, e.z);
  output[to + 3u * down] = vec4<u32>(a.w, b.w, d.w, e.w);
}`;

const lanes = ["x", "y", "z", "w"];

const raggedSource = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let across = params.columns / 4u;
  let down = (params.rows + 3u) / 4u;
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.batch * across * down) { return; }
  let base = i / (across * down) * across * params.rows;
  let r = 4u * (i / across % down);
  let c = i % across;
  let last = params.rows - 1u;
${
  lanes.map((_, n) => `  let row${n} = input[base + min(r + ${n}u, last) * across + c];`).join("\n")
}
  var to = 4u * (base + c * params.rows) + r;
${
  lanes.map((lane) => /* wgsl */ `
  output[to] = row0.${lane};
${
    [1, 2, 3].map((n) => `  if (r + ${n}u <= last) { output[to + ${n}u] = row${n}.${lane}; }`)
      .join("\n")
  }
  to += params.rows;`).join("")
}
}`;

/** output[offset + i] = the word `bits`, for i < count. Dispatch ceil(count / 64). */
export function fillProgram(): Program {
  return program("fill", () => ({
    arrays: { output: { type: "u32", access: "read_write" } },
    parameters: { count: "u32", offset: "u32", bits: "u32" },
    wgsl: eachMain("  output[params.offset + i] = params.bits;"),
    host({ output }, { count, offset, bits }) {
      output.fill(bits, offset, offset + count);
    },
  }));
}

/**
 * target[index[r] columns + c] = input[r columns + c] for r columns + c < count, everything in loads; rows whose index is not
 * below `limit` go nowhere. Dispatch ceil(count / 64).
 */
export function scatterProgram(width: Width): Program {
  return program(`scatter rows x${width}`, () => ({
    arrays: {
      input: { type: wordType(width), access: "read" },
      index: { type: "u32", access: "read" },
      output: { type: wordType(width), access: "read_write" },
    },
    parameters: { count: "u32", columns: "u32", limit: "u32" },
    wgsl: eachMain(/* wgsl */ `
  let r = i / params.columns;
  let to = index[r];
  if (to < params.limit) { output[to * params.columns + i - r * params.columns] = input[i]; }`),
    host({ input, index, output }, { count, columns, limit }) {
      const row = width * columns;
      for (let r = 0; r < count / columns; r++) {
        const to = index[r]!;
        if (to < limit) output.set(input.subarray(r * row, (r + 1) * row), to * row);
      }
    },
  }));
}
