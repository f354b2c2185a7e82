/**
 * Attention of one query per head over a cache of keys and values, split along the keys so that a single token fills the
 * device (flash decoding, Dao et al. 2023). Every split leaves its highest score m, its sum of weights l and its weighted
 * sum of values; the merge adds them up:
 *
 *     o = sum_split exp(m_split - m) acc_split / sum_split exp(m_split - m) l_split,   m = max m_split
 *
 * The number of valid keys lives on the device: the dispatch covers the capacity, and splits behind the length end at once.
 * Traffic: the valid rows of both caches once per query head (heads that share a key head meet in the cache), bound by
 * memory; FLOPs 4 headSize per key and head. Partial results: [heads, splits, headSize + 2], acc, m, l, scores in powers
 * of two. Two variants of the splits: `decodeLanes` for adapters that run on the CPU, `decodeGroup` for GPUs.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { log2e, lowest, numbers } from "./attention.ts";

const arrays = (type: "f32" | "vec4<f32>") =>
  ({
    query: { type, access: "read" },
    key: { type, access: "read" },
    value: { type, access: "read" },
    valid: { type: "u32", access: "read" },
    results: { type: "f32", access: "read_write" },
  }) as const;

/** The caches may be bound in pieces: `firstRow` is the first key of the piece, a multiple of the split. */
const splitParameters = {
  heads: "u32",
  /** Query heads per key head. */
  group: "u32",
  /** Elements per row of the caches. */
  stride: "u32",
  capacity: "u32",
  firstRow: "u32",
  /** Keys of the piece. */
  rows: "u32",
  /**
   * Heads whose splits are neighbours, a divisor of `heads`. Software adapters give every thread one contiguous share of
   * the workgroups: with the splits of all heads side by side, the threads with the end of the cache would have none to do.
   */
  together: "u32",
  /** Splits of the whole capacity. */
  splits: "u32",
  scale: "f32",
} as const;

/** What both variants begin with: head h, the keys `start` to `end` of the split, its place in the partial results. */
const prologue = (headSize: number, splitKeys: number) => `
  let index = workgroupIndex(group, groups);
  let span = (params.rows + ${splitKeys - 1}u) / ${splitKeys}u * params.together;
  let h = index / span * params.together + index % params.together;
  let split = index % span / params.together;
  let start = params.firstRow + split * ${splitKeys}u;
  let length = min(valid[0], params.capacity);
  if (start >= length) { return; }
  let end = min(start + ${splitKeys}u, length);
  let factor = params.scale * ${log2e};
  let to = (h * params.splits + start / ${splitKeys}u) * ${headSize + 2}u;`;

/**
 * One subgroup per head and split: lanes hold adjacent elements of a row, vectors where the head size allows.
 * Dispatch heads * splits of the bound piece workgroups.
 *
 * @param lanes The size of every subgroup.
 */
export function decodeLanes(headSize: number, splitKeys: number, lanes: number): Program {
  const vector = headSize % 4 === 0;
  const type = vector ? "vec4<f32>" : "f32";
  const width = vector ? 4 : 1;
  const units = headSize / width;
  const chunks = numbers(Math.ceil(units / lanes));
  const unroll = numbers(4);
  const full = (c: number) => (c + 1) * lanes <= units;
  const unit = (c: number) =>
    full(c) ? `${c * lanes}u + lane` : `min(${c * lanes}u + lane, ${units - 1}u)`;
  const product = (a: string, b: string) => vector ? `dot(${a}, ${b})` : `${a} * ${b}`;
  return program(`attention decode lanes ${lanes} ${headSize} split ${splitKeys}`, () => ({
    arrays: arrays(type),
    parameters: splitParameters,
    subgroups: true,
    wgsl: /* wgsl */ `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_invocation_id) lane: u32) {${prologue(headSize, splitKeys)}
  let stride = params.stride / ${width}u;
  let base = h / params.group * ${units}u;
  ${
      chunks.map((c) => `
  var q_${c} = query[h * ${units}u + ${unit(c)}] * factor;
  ${full(c) ? "" : `if (${c * lanes}u + lane >= ${units}u) { q_${c} = ${type}(); }`}
  var o_${c} = ${type}();`).join("")
    }
  var highest = f32(${lowest});
  var sum = 0.0;
  for (var j = start; j < end; j += ${unroll.length}u) {
    ${
      unroll.map((u) => `
    let row_${u} = (min(j + ${u}u, end - 1u) - params.firstRow) * stride + base;
    let dot_${u} = ${
        chunks.map((c) => product(`q_${c}`, `key[row_${u} + ${unit(c)}]`)).join(" + ")
      };
    // A sum over the subgroup, which is slower as a call on software adapters.
    var s_${u} = ${numbers(lanes).map((i) => `subgroupBroadcast(dot_${u}, ${i}u)`).join(" + ")};
    s_${u} = select(f32(${lowest}), s_${u}, j + ${u}u < end);`).join("")
    }
    let before = highest;
    ${unroll.map((u) => `highest = max(highest, s_${u});`).join(" ")}
    let shrink = exp2(before - highest);
    ${unroll.map((u) => `let p_${u} = exp2(s_${u} - highest);`).join(" ")}
    sum = sum * shrink + ${unroll.map((u) => `p_${u}`).join(" + ")};
    ${
      chunks.map((c) =>
        `o_${c} = o_${c} * shrink + ${
          unroll.map((u) => `p_${u} * value[row_${u} + ${unit(c)}]`).join(" + ")
        };`
      ).join("\n    ")
    }
  }
  ${
      chunks.map((c) =>
        `if (${c * lanes}u + lane < ${units}u) { ${
          numbers(width).map((i) =>
            `results[to + (${c * lanes}u + lane) * ${width}u + ${i}u] = o_${c}${
              vector ? `[${i}]` : ""
            };`
          ).join(" ")
        } }`
      ).join("\n  ")
    }
  if (lane == 0u) {
    results[to + ${headSize}u] = highest;
    results[to + ${headSize + 1}u] = sum;
  }
}`,
    host: splitHost(headSize, splitKeys),
  }));
}

/**
 * One workgroup per head and split. Eight invocations share the dot product of a key, reading adjacent elements; then
 * every invocation owns a column of the values for a share of the keys. Rows are read as vectors where the head size
 * allows. Dispatch heads * splits of the bound piece workgroups.
 */
export function decodeGroup(headSize: number, splitKeys: number): Program {
  const vector = headSize % 4 === 0;
  const type = vector ? "vec4<f32>" : "f32";
  const lanes = vector ? 4 : 1;
  const columns = headSize / lanes;
  const size = columns > 128 ? 256 : 128;
  const passes = numbers(Math.ceil(splitKeys / (size / 8)));
  const slices = numbers(Math.ceil(columns / 8));
  const shares = Math.floor(size / columns);
  const product = (a: string, b: string) => vector ? `dot(${a}, ${b})` : `${a} * ${b}`;
  const inside = (i: number) =>
    8 * (i + 1) <= columns ? `slice + ${8 * i}u` : `min(slice + ${8 * i}u, ${columns - 1}u)`;
  return program(`attention decode group ${headSize} split ${splitKeys}`, () => ({
    arrays: arrays(type),
    parameters: splitParameters,
    wgsl: /* wgsl */ `
var<workgroup> dots: array<f32, ${splitKeys * 9}>;
var<workgroup> weights: array<f32, ${splitKeys}>;
var<workgroup> sums: array<${type}, ${size}>;

@compute @workgroup_size(${size})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {${prologue(headSize, splitKeys)}
  let count = end - start;
  let stride = params.stride / ${lanes}u;
  let base = (start - params.firstRow) * stride + h / params.group * ${columns}u;
  let slice = t % 8u;
  ${
      slices.map((i) =>
        8 * (i + 1) <= columns
          ? `let q_${i} = query[h * ${columns}u + ${inside(i)}] * factor;`
          : `let q_${i} = select(${type}(), query[h * ${columns}u + ${
            inside(i)
          }] * factor, slice + ${8 * i}u < ${columns}u);`
      ).join("\n  ")
    }
  ${
      passes.map((pass) =>
        `{
    let j = ${pass * size / 8}u + t / 8u;
    let row = base + min(j, count - 1u) * stride;
    if (j < ${splitKeys}u) {
      dots[j * 9u + slice] = ${
          slices.map((i) => product(`q_${i}`, `key[row + ${inside(i)}]`)).join(" + ")
        };
    }
  }`
      ).join("\n  ")
    }
  workgroupBarrier();
  var score = f32(${lowest});
  if (t < count) {
    score = ${numbers(8).map((i) => `dots[t * 9u + ${i}u]`).join(" + ")};
  }
  if (t < ${splitKeys}u) { weights[t] = score; }
  workgroupBarrier();
  var highest = weights[0];
  ${numbers(splitKeys).slice(1).map((j) => `highest = max(highest, weights[${j}]);`).join("\n  ")}
  workgroupBarrier();
  if (t < ${splitKeys}u) { weights[t] = exp2(score - highest); }
  workgroupBarrier();
  var sum = ${type}();
  for (var j = t / ${columns}u; j < count && t < ${columns * shares}u; j += ${shares}u) {
    sum += weights[j] * value[base + j * stride + t % ${columns}u];
  }
  sums[t] = sum;
  workgroupBarrier();
  if (t < ${columns}u) {
    let total = ${numbers(shares).map((g) => `sums[t + ${g * columns}u]`).join(" + ")};
    ${
      vector
        ? numbers(4).map((i) => `results[to + t * 4u + ${i}u] = total[${i}];`).join("\n    ")
        : "results[to + t] = total;"
    }
  }
  if (t == 0u) {
    results[to + ${headSize}u] = highest;
    results[to + ${headSize + 1}u] = ${numbers(splitKeys).map((j) => `weights[${j}]`).join(" + ")};
  }
}`,
    host: splitHost(headSize, splitKeys),
  }));
}

interface SplitArrays {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly valid: Uint32Array;
  readonly results: Float32Array;
}

function splitHost(
  headSize: number,
  splitKeys: number,
): (
  arrays: SplitArrays,
  parameters: Record<keyof typeof splitParameters, number>,
) => void {
  return ({ query, key, value, valid, results }, parameters) => {
    const { heads, group, stride, capacity, firstRow, rows, splits } = parameters;
    const factor = parameters.scale * log2e;
    const length = Math.min(valid[0]!, capacity, firstRow + rows);
    const sums = new Float64Array(headSize);
    const scores = new Float64Array(splitKeys);
    for (let start = firstRow; start < length; start += splitKeys) {
      const end = Math.min(start + splitKeys, length);
      for (let h = 0; h < heads; h++) {
        const base = (start - firstRow) * stride + Math.floor(h / group) * headSize;
        let highest = -Infinity;
        for (let j = start, row = base; j < end; j++, row += stride) {
          let score = 0;
          for (let d = 0; d < headSize; d++) score += query[h * headSize + d]! * key[row + d]!;
          scores[j - start] = score *= factor;
          if (score > highest) highest = score;
        }
        let sum = 0;
        sums.fill(0);
        for (let j = start, row = base; j < end; j++, row += stride) {
          const weight = 2 ** (scores[j - start]! - highest);
          sum += weight;
          for (let d = 0; d < headSize; d++) sums[d]! += weight * value[row + d]!;
        }
        const to = (h * splits + start / splitKeys) * (headSize + 2);
        results.set(sums, to);
        results[to + headSize] = highest;
        results[to + headSize + 1] = sum;
      }
    }
  };
}

/** Output elements per invocation of the merge. */
export function mergeWidth(headSize: number): number {
  return headSize % 4 === 0 ? 4 : 1;
}

/**
 * Adds the splits up. 64 invocations, `mergeWidth` output elements each: dispatch
 * ceil(heads * headSize / mergeWidth / 64).
 */
export function decodeMerge(headSize: number, splitKeys: number): Program {
  const width = headSize + 2;
  const each = numbers(mergeWidth(headSize));
  return program(`attention merge ${headSize} split ${splitKeys}`, () => ({
    arrays: {
      results: { type: "f32", access: "read" },
      valid: { type: "u32", access: "read" },
      output: { type: "f32", access: "read_write" },
    },
    parameters: { heads: "u32", splits: "u32", capacity: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (workgroupIndex(group, groups) * 64u + lane) * ${each.length}u;
  let h = i / ${headSize}u;
  if (h >= params.heads) { return; }
  let splitCount = (min(valid[0], params.capacity) + ${splitKeys - 1}u) / ${splitKeys}u;
  let first = h * params.splits * ${width}u;
  var highest = f32(${lowest});
  var total = 0.0;
  ${each.map((e) => `var sum_${e} = 0.0;`).join(" ")}
  for (var split = 0u; split < splitCount; split += 1u) {
    let at = first + split * ${width}u;
    let before = highest;
    highest = max(before, results[at + ${headSize}u]);
    let shrink = exp2(before - highest);
    let weight = exp2(results[at + ${headSize}u] - highest);
    total = total * shrink + weight * results[at + ${headSize + 1}u];
    ${
      each.map((e) =>
        `sum_${e} = sum_${e} * shrink + weight * results[at + i % ${headSize}u + ${e}u];`
      ).join("\n    ")
    }
  }
  ${each.map((e) => `output[i + ${e}u] = select(0.0, sum_${e} / total, total > 0.0);`).join("\n  ")}
}`,
    host({ results, valid, output }, { heads, splits, capacity }) {
      const splitCount = Math.ceil(Math.min(valid[0]!, capacity) / splitKeys);
      output.fill(0, 0, heads * headSize);
      for (let h = 0; h < heads; h++) {
        const first = h * splits * width;
        let highest = -Infinity, total = 0;
        for (let split = 0; split < splitCount; split++) {
          highest = Math.max(highest, results[first + split * width + headSize]!);
        }
        for (let split = 0; split < splitCount; split++) {
          const at = first + split * width;
          const weight = 2 ** (results[at + headSize]! - highest);
          total += weight * results[at + headSize + 1]!;
          for (let d = 0; d < headSize; d++) {
            output[h * headSize + d]! += weight * results[at + d]!;
          }
        }
        if (total > 0) { for (let d = 0; d < headSize; d++) output[h * headSize + d]! /= total; }
      }
    },
  }));
}
