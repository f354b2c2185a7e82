/**
 * Global norm of all gradients and the factor that clips it, without reading back.
 *
 * Two stages in a fixed order, hence deterministic: lanes sum the squares of a strided slice each, then one workgroup adds
 * up what all lanes of all tensors have found. Values that are not finite are told by their bits. The outcome stays on the
 * device as a verdict of four words: norm, factor, whether the gradients may be applied, first lane that met a bad value.
 * A norm that overflows float32 counts as not finite too: second moments would overflow with it.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** Words of a verdict: norm and factor as float bits, 1 where gradients are finite, first bad lane + 1 or 0. */
export const verdictWords = 4;

/** Values that a lane sums, unless there would be more than {@linkcode mostLanes}. */
const valuesPerLane = 64;
const mostLanes = 65536;

/** Lanes that share `count` values. */
export function squareSumLanes(count: number): number {
  return Math.min(mostLanes, Math.ceil(count / valuesPerLane));
}

const infinityBits = 0x7f800000;
const isBad = (bits: string) => `(${bits} & 0x7f800000u) == 0x7f800000u`;

/**
 * sums[start + lane] = bits of the sum of input[i]^2 over i = lane, lane + lanes, … < count; infinity where one of the
 * values is not finite. Dispatch ceil(lanes / 64). Traffic: one read per value.
 */
export function squareSumProgram(): Program {
  return program("square sum", () => ({
    arrays: {
      input: { type: "f32", access: "read" },
      sums: { type: "u32", access: "read_write" },
    },
    parameters: { count: "u32", lanes: "u32", start: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let lane = workgroupIndex(group, groups) * 64u + index;
  if (lane >= params.lanes) { return; }
  var sum = vec4<f32>(0.0);
  var bad = false;
  var i = lane;
  for (; i + 3u * params.lanes < params.count; i += 4u * params.lanes) {
    let x = vec4<f32>(input[i], input[i + params.lanes], input[i + 2u * params.lanes], input[i + 3u * params.lanes]);
    bad = bad || any((bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u));
    sum += x * x;
  }
  for (; i < params.count; i += params.lanes) {
    let x = input[i];
    bad = bad || ${isBad("bitcast<u32>(x)")};
    sum.x += x * x;
  }
  sums[params.start + lane] = select(bitcast<u32>((sum.x + sum.y) + (sum.z + sum.w)), ${infinityBits}u, bad);
}`,
    host({ input, sums }, { count, lanes, start }) {
      const floats = new Float32Array(sums.buffer, sums.byteOffset, sums.length);
      for (let lane = 0; lane < lanes; lane++) {
        let sum = 0;
        for (let i = lane; i < count; i += lanes) sum += input[i]! ** 2;
        floats[start + lane] = Number.isFinite(sum) ? sum : Infinity;
      }
    },
  }));
}

/**
 * verdict of `count` sums: norm = sqrt(total), factor = min(1, limit / (norm + 1e-6)), 1 where `limit` is 0. Dispatch 1.
 */
export function verdictProgram(): Program {
  return program("clip verdict", () => ({
    arrays: {
      sums: { type: "u32", access: "read" },
      verdict: { type: "u32", access: "read_write" },
    },
    parameters: { count: "u32", limit: "f32" },
    wgsl: /* wgsl */ `
var<workgroup> totals: array<f32, 256>;
var<workgroup> firsts: array<u32, 256>;
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var total = 0.0;
  var first = 0xffffffffu;
  for (var i = lane; i < params.count; i += 256u) {
    let bits = sums[i];
    if (${isBad("bits")}) { first = min(first, i); } else { total += bitcast<f32>(bits); }
  }
  totals[lane] = total;
  firsts[lane] = first;
  for (var half = 128u; half > 0u; half = half >> 1u) {
    workgroupBarrier();
    if (lane < half) {
      totals[lane] += totals[lane + half];
      firsts[lane] = min(firsts[lane], firsts[lane + half]);
    }
  }
  if (lane > 0u) { return; }
  let bad = firsts[0] != 0xffffffffu;
  let applies = !bad && !(${isBad("bitcast<u32>(totals[0])")});
  let norm = sqrt(totals[0]);
  verdict[0] = select(${infinityBits}u, bitcast<u32>(norm), applies);
  verdict[1] = bitcast<u32>(select(1.0, min(1.0, params.limit / (norm + 1e-6)), applies && params.limit > 0.0));
  verdict[2] = select(0u, 1u, applies);
  verdict[3] = select(0u, firsts[0] + 1u, bad);
}`,
    host({ sums, verdict }, { count, limit }) {
      const floats = new Float32Array(sums.buffer, sums.byteOffset, sums.length);
      let total = 0, first = -1;
      for (let i = count - 1; i >= 0; i--) {
        if (Number.isFinite(floats[i]!)) total += floats[i]!;
        else first = i;
      }
      const norm = Math.fround(Math.sqrt(total));
      const applies = first < 0 && Number.isFinite(Math.fround(total));
      const [normBits, factorBits] = new Uint32Array(
        Float32Array.of(
          applies ? norm : Infinity,
          applies && limit > 0 ? Math.min(1, limit / (norm + 1e-6)) : 1,
        ).buffer,
      );
      verdict.set([normBits!, factorBits!, applies ? 1 : 0, first + 1]);
    },
  }));
}

/** input[i] *= factor of the verdict for i < count; nothing where gradients are not finite. Dispatch ceil(count / 64). */
export function applyFactorProgram(): Program {
  return program("clip apply", () => ({
    arrays: {
      verdict: { type: "u32", access: "read" },
      values: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count || verdict[2] == 0u) { return; }
  values[i] *= bitcast<f32>(verdict[1]);
}`,
    host({ verdict, values }, { count }) {
      if (verdict[2] === 0) return;
      const factor = new Float32Array(verdict.buffer, verdict.byteOffset, verdict.length)[1]!;
      for (let i = 0; i < count; i++) values[i]! *= factor;
    },
  }));
}
