/**
 * Rotary position embedding (Su et al. 2021, equation 34) in the layout of LLaMA's published code: within a head,
 * dimension i < headSize / 2 and dimension i + headSize / 2 are turned by the angle position * theta^(-2 i / headSize).
 *
 * Angles are exact at every position: a frequency is a 64-bit fraction of a turn, computed in double precision on the host
 * and baked into the source, and the product with the position is taken modulo one turn in integers. What is left lies
 * within an eighth of a turn, where two short polynomials give sine and cosine to float32 precision on every driver.
 *
 * Traffic: every element once in, once out. FLOPs: about 30 per angle, 6 per pair. Tiling: 64 invocations, one angle each.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { numbers } from "./attention.ts";

/** theta^(-2 i / headSize) for i < headSize / 2, in radians per position. */
export function ropeFrequencies(headSize: number, theta: number): number[] {
  return numbers(headSize / 2).map((i) => theta ** (-2 * i / headSize));
}

/** WGSL `rotation(position, i) -> vec2(cos, sin)`, for kernels that rotate. */
export function ropeWgsl(headSize: number, theta: number): string {
  const words = ropeFrequencies(headSize, theta).map((frequency) => {
    const turns = frequency / (2 * Math.PI) * 2 ** 32;
    const high = Math.floor(turns);
    return `vec2<u32>(${high % 2 ** 32}u, ${Math.floor((turns - high) * 2 ** 32)}u)`;
  });
  return /* wgsl */ `
const frequencies = array<vec2<u32>, ${words.length}>(${words.join(", ")});

fn highProduct(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let left = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let right = (a & 0xffffu) * (b >> 16u) + (left & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u);
}

fn rotation(position: u32, i: u32) -> vec2<f32> {
  let frequency = frequencies[i];
  let turn = position * frequency.x + highProduct(position, frequency.y);
  let quarter = (turn + 0x20000000u) >> 30u;
  let x = f32(bitcast<i32>(turn - (quarter << 30u))) * ${2 * Math.PI / 2 ** 32};
  let s = x * x;
  let sine = x * (1.0 + s * (-0.16666667 + s * (0.008333334 + s * (-0.0001984127 + s * 0.0000027557319))));
  let cosine = 1.0 + s * (-0.5 + s * (0.041666668 + s * (-0.0013888889 + s * (0.0000248015876 - s * 0.00000027557319))));
  let turned = select(vec2<f32>(cosine, sine), vec2<f32>(-sine, cosine), (quarter & 1u) == 1u);
  return select(turned, -turned, (quarter & 2u) == 2u);
}
`;
}

/**
 * Rotates every head of every token, forwards for `direction` 1 and back, which is its transpose, for -1. An invocation turns
 * the same pair of all heads: the angle costs more than the turn.
 * Dispatch ceil(tokens * headSize / 2 / 64).
 */
export function ropeProgram(headSize: number, theta: number): Program {
  const half = headSize / 2;
  const frequencies = ropeFrequencies(headSize, theta);
  return program(`rope ${headSize} theta ${theta}`, () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      positions: { type: "u32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: {
      tokens: "u32",
      heads: "u32",
      offset: "u32",
      stride: "u32",
      outputOffset: "u32",
      outputStride: "u32",
      direction: "f32",
    },
    wgsl: /* wgsl */ `
${ropeWgsl(headSize, theta)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let index = workgroupIndex(group, groups) * 64u + lane;
  let i = index % ${half}u;
  let t = index / ${half}u;
  if (t >= params.tokens) { return; }
  let r = rotation(positions[t], i) * vec2<f32>(1.0, params.direction);
  var at = params.offset + t * params.stride + i;
  var to = params.outputOffset + t * params.outputStride + i;
  for (var h = 0u; h < params.heads; h++) {
    let a = input[at];
    let b = input[at + ${half}u];
    output[to] = a * r.x - b * r.y;
    output[to + ${half}u] = b * r.x + a * r.y;
    at += ${headSize}u;
    to += ${headSize}u;
  }
}`,
    host({ input, positions, output }, parameters) {
      const { tokens, heads, offset, stride, outputOffset, outputStride, direction } = parameters;
      for (let t = 0; t < tokens; t++) {
        for (let i = 0; i < half; i++) {
          const angle = direction * positions[t]! * frequencies[i]!;
          const cosine = Math.cos(angle), sine = Math.sin(angle);
          for (let h = 0; h < heads; h++) {
            const at = offset + t * stride + h * headSize + i;
            const to = outputOffset + t * outputStride + h * headSize + i;
            const a = input[at]!, b = input[at + half]!;
            output[to] = a * cosine - b * sine;
            output[to + half] = b * cosine + a * sine;
          }
        }
      }
    },
  }));
}

/**
 * Rotates keys and writes them with their values into the rows `positions[t]` of the caches; other rows stay. The caches
 * may be bound in pieces: rows outside `firstRow` to `firstRow + rows` are left to another dispatch.
 * Dispatch ceil(tokens * max(keyWidth, valueWidth) / 2 / 64).
 */
export function ropeAppendProgram(headSize: number, theta: number): Program {
  const half = headSize / 2;
  const frequencies = ropeFrequencies(headSize, theta);
  return program(`rope append ${headSize} theta ${theta}`, () => ({
    arrays: {
      key: { type: "f32", access: "read" },
      value: { type: "f32", access: "read" },
      positions: { type: "u32", access: "read" },
      cacheKeys: { type: "f32", access: "read_write" },
      cacheValues: { type: "f32", access: "read_write" },
    },
    parameters: {
      tokens: "u32",
      keyOffset: "u32",
      keyStride: "u32",
      keyWidth: "u32",
      valueOffset: "u32",
      valueStride: "u32",
      valueWidth: "u32",
      firstRow: "u32",
      rows: "u32",
    },
    wgsl: /* wgsl */ `
${ropeWgsl(headSize, theta)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let index = workgroupIndex(group, groups) * 64u + lane;
  let pairs = (max(params.keyWidth, params.valueWidth) + 1u) / 2u;
  let pair = index % pairs;
  let t = index / pairs;
  if (t >= params.tokens) { return; }
  let position = positions[t];
  let row = position - params.firstRow;
  if (position < params.firstRow || row >= params.rows) { return; }
  if (2u * pair < params.keyWidth) {
    let i = pair % ${half}u;
    let column = pair / ${half}u * ${headSize}u + i;
    let at = params.keyOffset + t * params.keyStride + column;
    let to = row * params.keyWidth + column;
    let r = rotation(position, i);
    let a = key[at];
    let b = key[at + ${half}u];
    cacheKeys[to] = a * r.x - b * r.y;
    cacheKeys[to + ${half}u] = b * r.x + a * r.y;
  }
  for (var column = 2u * pair; column < min(2u * pair + 2u, params.valueWidth); column += 1u) {
    cacheValues[row * params.valueWidth + column] = value[params.valueOffset + t * params.valueStride + column];
  }
}`,
    host({ key, value, positions, cacheKeys, cacheValues }, parameters) {
      const { tokens, keyWidth, valueWidth, firstRow, rows } = parameters;
      for (let t = 0; t < tokens; t++) {
        const position = positions[t]!, row = position - firstRow;
        if (row < 0 || row >= rows) continue;
        const from = parameters.keyOffset + t * parameters.keyStride;
        for (let i = 0; i < half; i++) {
          const angle = position * frequencies[i]!;
          const cosine = Math.cos(angle), sine = Math.sin(angle);
          for (let column = i; column < keyWidth; column += headSize) {
            const a = key[from + column]!, b = key[from + column + half]!;
            cacheKeys[row * keyWidth + column] = a * cosine - b * sine;
            cacheKeys[row * keyWidth + column + half] = b * cosine + a * sine;
          }
        }
        const at = parameters.valueOffset + t * parameters.valueStride;
        cacheValues.set(value.subarray(at, at + valueWidth), row * valueWidth);
      }
    },
  }));
}
