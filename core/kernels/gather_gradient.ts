/**
 * The transpose of a row gather: rows with the same index are summed, in their order, without atomics.
 *
 * A first kernel links every entry to the next one with the same index; a second one walks each chain from its head. The
 * link costs count^2 comparisons of words, so that an index which the host knows is linked there.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";

/** Set in `next` where an earlier entry has the same index. */
const linked = 0x80000000;

/** What {@linkcode chainProgram} makes of an index, in one pass. */
export function chainOf(index: ArrayLike<number>): Uint32Array<ArrayBuffer> {
  const next = new Uint32Array(index.length);
  const last = new Map<number, number>();
  for (let i = 0; i < index.length; i++) {
    const before = last.get(index[i]!);
    next[i] = before === undefined ? index.length : (index.length | linked) >>> 0;
    if (before !== undefined) next[before] = ((next[before]! & linked) | i) >>> 0;
    last.set(index[i]!, i);
  }
  return next;
}

/** next[i]: the next entry with the index of i (`count` when there is none), with the top bit set unless i is the first. */
export function chainProgram(): Program {
  return program("gather chain", () => ({
    arrays: {
      index: { type: "u32", access: "read" },
      next: { type: "u32", access: "read_write" },
    },
    parameters: { count: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.count) { return; }
  let own = index[i];
  var earlier = 0u;
  var later = params.count;
  for (var j = 0u; j < params.count; j++) {
    let same = index[j] == own;
    earlier = select(earlier, ${linked}u, same && j < i);
    later = select(later, min(later, j), same && j > i);
  }
  next[i] = later | earlier;
}`,
    host: ({ index, next }) => next.set(chainOf(index)),
  }));
}

/** y[index[i], :] = sum over the chain of i, for every i that begins one. Dispatch ceil(count * steps / 64). */
export function chainSumProgram(): Program {
  return program("gather chain sum", () => ({
    arrays: {
      x: { type: "f32", access: "read" },
      index: { type: "u32", access: "read" },
      next: { type: "u32", access: "read" },
      y: { type: "f32", access: "read_write" },
    },
    parameters: { count: "u32", columns: "u32", steps: "u32", rows: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  let head = i / params.steps;
  if (head >= params.count) { return; }
  let row = index[head];
  if (row >= params.rows || (next[head] & ${linked}u) != 0u) { return; }
  let column = 4u * (i - head * params.steps);
  let last = params.columns - 1u;
  var sum = vec4<f32>(0.0);
  var at = head;
  while (at < params.count) {
    let base = at * params.columns;
    sum += vec4<f32>(x[base + column], x[base + min(column + 1u, last)], x[base + min(column + 2u, last)],
      x[base + min(column + 3u, last)]);
    at = next[at] & ${linked - 1}u;
  }
  let to = row * params.columns + column;
  y[to] = sum.x;
  if (column + 1u < params.columns) { y[to + 1u] = sum.y; }
  if (column + 2u < params.columns) { y[to + 2u] = sum.z; }
  if (column + 3u < params.columns) { y[to + 3u] = sum.w; }
}`,
    host({ x, index, next, y }, { count, columns, rows }) {
      for (let head = 0; head < count; head++) {
        const row = index[head]!;
        if (row >= rows || next[head]! >= linked) continue;
        for (let at = head; at < count; at = next[at]! & (linked - 1)) {
          for (let c = 0; c < columns; c++) y[row * columns + c] += x[at * columns + c]!;
        }
      }
    },
  }));
}
