/**
 * The linear assignment problem on the device, a whole batch at once and without reading back: one workgroup per problem, its
 * lanes sharing the columns of the larger side.
 *
 * A search grows a tree of shortest augmenting paths from one row of the smaller side: every step offers new paths through one row
 * to all columns (R C / lanes reads at most per augmented row) and picks the nearest column. n rows take between n and n (n + 1) / 2
 * steps. A dispatch does a fixed number of steps and leaves its state behind, because runtimes bound the loops of an invocation
 * (lavapipe ends them silently after 65535 turns); the host queues as many dispatches as the worst case takes, and those that find
 * their problem solved return at once.
 *
 * Duals and path lengths are sums of two floats (about 48 bits), so the assignment is optimal to what double precision would tell
 * of the same costs. Compilers may not see through these sums: words that matter pass an exclusive or with a parameter that is zero.
 *
 * Source: as in `assignment.ts`; two-sum by Knuth, The Art of Computer Programming 2, 4.2.2.
 *
 * @module
 */
import { type Program, program } from "../device/mod.ts";
import { assignInto, assignmentStatus } from "./assignment.ts";
import {
  countsArray,
  fold,
  layoutKey,
  type MatchingLayout,
  progressWords,
  sizesOnHost,
  sizesWgsl,
} from "./matching.ts";

/** Sums of two floats, the first the rounded whole. */
const pairsWgsl = /* wgsl */ `
// The compiler cannot know that params.zero is 0, so it cannot cancel terms across this.
fn hidden(value: f32) -> f32 { return bitcast<f32>(bitcast<u32>(value) ^ params.zero); }
fn twoSum(a: f32, b: f32) -> vec2<f32> {
  let sum = hidden(a + b);
  let other = hidden(sum - a);
  let mine = hidden(sum - other);
  return vec2<f32>(sum, hidden(a - mine) + hidden(b - other));
}
fn quickTwoSum(a: f32, b: f32) -> vec2<f32> {
  let sum = hidden(a + b);
  return vec2<f32>(sum, b - hidden(sum - a));
}
fn addPairs(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let sum = twoSum(a.x, b.x);
  return quickTwoSum(sum.x, hidden(sum.y + hidden(a.y + b.y)));
}
fn less(a: vec2<f32>, b: vec2<f32>) -> bool { return a.x < b.x || (a.x == b.x && a.y < b.y); }
`;

/** What a lane found: its nearest column (none: all bits set), how far, and the row that has the column, plus one. */
const nearestWgsl = (lanes: number) => {
  const width = fold(lanes);
  const second = lanes / width;
  return /* wgsl */ `
const none = 0xffffffffu;
struct Nearest { distance: vec2<f32>, column: u32, owner: u32 }
var<workgroup> found: array<Nearest, ${lanes}>;
var<workgroup> winner: Nearest;
// Of equal distances a free column wins, then the first.
fn before(a: Nearest, b: Nearest) -> bool {
  if (a.column == none || b.column == none) { return b.column == none && a.column != none; }
  if (any(a.distance != b.distance)) { return less(a.distance, b.distance); }
  if ((a.owner == 0u) != (b.owner == 0u)) { return a.owner == 0u; }
  return a.column < b.column;
}
fn nearestOf(first: u32, count: u32, stride: u32) -> Nearest {
  var best = found[first];
  for (var n = 1u; n < count; n++) {
    let other = found[first + n * stride];
    if (before(other, best)) { best = other; }
  }
  return best;
}
fn nearestOfAll(lane: u32, mine: Nearest) -> Nearest {
  found[lane] = mine;
  workgroupBarrier();
${
    second === 1
      ? ""
      : `  if (lane % ${width}u == 0u) { found[lane] = nearestOf(lane, ${width}u, 1u); }
  workgroupBarrier();`
  }
  if (lane == 0u) { winner = nearestOf(0u, ${second === 1 ? lanes : second}u, ${
    second === 1 ? 1 : width
  }u); }
  return workgroupUniformLoad(&winner);
}`;
};

const searchWgsl = (lanes: number, paired: boolean) => /* wgsl */ `
var<private> swapped: bool;
var<private> problem: u32;
fn costAt(row: u32, column: u32) -> vec2<f32> {
  let at = problem * params.rows * params.columns +
    select(row * params.columns + column, column * params.columns + row, swapped);
  return ${paired ? "vec2<f32>(costs[2u * at], costs[2u * at + 1u])" : "vec2<f32>(costs[at], 0.0)"};
}
fn ownerOf(column: u32) -> i32 {
  if (swapped) { return rowToColumn[problem * params.rows + column]; }
  return columnToRow[problem * params.columns + column];
}
// Gives a column to a row and returns the column that the row had.
fn give(column: u32, row: u32) -> i32 {
  var had: i32;
  if (swapped) {
    had = columnToRow[problem * params.columns + row];
    columnToRow[problem * params.columns + row] = i32(column);
    rowToColumn[problem * params.rows + column] = i32(row);
  } else {
    had = rowToColumn[problem * params.rows + row];
    rowToColumn[problem * params.rows + row] = i32(column);
    columnToRow[problem * params.columns + column] = i32(row);
  }
  return had;
}
fn distanceOf(state: vec4<u32>) -> vec2<f32> { return bitcast<vec2<f32>>(state.xy); }

// Offers paths through a row, base long where they reach it, and returns the nearest column of this lane that is not scanned.
fn scan(row: u32, base: vec2<f32>, mark: u32, lane: u32, columns: u32, at: u32) -> Nearest {
  var best = Nearest(vec2<f32>(0.0), none, 0u);
  for (var c = lane; c < columns; c += ${lanes}u) {
    let state = reached[at + c];
    if (state.w == mark + 1u) { continue; }
    var distance = distanceOf(state);
    var known = state.w == mark;
    let cost = costAt(row, c);
    if ((bitcast<u32>(cost.x) & 0x7f800000u) != 0x7f800000u) {
      let length = addPairs(addPairs(base, cost), -duals[2u * at + params.long + c]);
      if (!known || less(length, distance)) {
        distance = length;
        known = true;
        reached[at + c] = vec4<u32>(bitcast<vec2<u32>>(length), row, mark);
      }
    }
    if (known) {
      let offer = Nearest(distance, c, u32(ownerOf(c) + 1));
      if (before(offer, best)) { best = offer; }
    }
  }
  return best;
}

// Moves the duals so that the rows and columns of the tree keep reduced costs of at least 0 and paths cost 0.
fn moveDuals(least: vec2<f32>, mark: u32, lane: u32, columns: u32, at: u32) {
  for (var c = lane; c < columns; c += ${lanes}u) {
    let state = reached[at + c];
    if (state.w != mark + 1u) { continue; }
    let change = addPairs(least, -distanceOf(state));
    let row = 2u * at + u32(ownerOf(c));
    let column = 2u * at + params.long + c;
    duals[column] = addPairs(duals[column], -change);
    duals[row] = addPairs(duals[row], change);
  }
}

fn augment(start: u32, end: u32, rows: u32, at: u32) {
  var column = end;
  for (var n = 0u; n < rows; n++) {
    let row = reached[at + column].z;
    let had = give(column, row);
    if (row == start) { break; }
    column = u32(had);
  }
}`;

/**
 * Does up to `steps` steps of every problem. `long` is the larger of `rows` and `columns`, `zero` is 0. Dispatch `problems`.
 */
export function matchingSearchProgram(lanes: number, layout: MatchingLayout): Program {
  const { ragged, paired } = layout;
  return program(`matching search ${lanes}${layoutKey(layout)}`, () => ({
    arrays: {
      costs: { type: "f32", access: "read" },
      rowToColumn: { type: "i32", access: "read_write" },
      columnToRow: { type: "i32", access: "read_write" },
      status: { type: "u32", access: "read_write" },
      // Per problem: duals of the smaller side, then of the larger one.
      duals: { type: "vec2<f32>", access: "read_write" },
      // Per column of the larger side: length of the shortest path to it (two words), the row it comes from, and for which
      // search that holds: twice its number, one more when the column is scanned.
      reached: { type: "vec4<u32>", access: "read_write" },
      // Rows that are matched, row in hand, length of the path to it (two words).
      progress: { type: "vec4<u32>", access: "read_write" },
      ...countsArray(ragged),
    },
    parameters: {
      problems: "u32",
      rows: "u32",
      columns: "u32",
      long: "u32",
      steps: "u32",
      zero: "u32",
    },
    wgsl: [
      sizesWgsl(ragged),
      pairsWgsl,
      nearestWgsl(lanes),
      searchWgsl(lanes, paired),
      /* wgsl */ `
var<workgroup> begun: vec4<u32>;
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let index = workgroupIndex(group, groups);
  if (index >= params.problems) { return; }
  problem = index;
  let sizes = sizesOf(index);
  swapped = sizes.x > sizes.y;
  let rows = min(sizes.x, sizes.y);
  let columns = max(sizes.x, sizes.y);
  let at = problem * params.long;
  if (lane == 0u) {
    begun = select(progress[problem], vec4<u32>(none), status[problem] != ${assignmentStatus.solved}u);
  }
  let state = workgroupUniformLoad(&begun);
  if (state.x >= rows) { return; }
  var start = state.x;
  var row = state.y;
  var least = distanceOf(state.zwzw);
  var stuck = false;
  for (var step = 0u; step < params.steps; step++) {
    let mark = 2u * (start + 1u);
    let base = addPairs(least, -duals[2u * at + row]);
    let nearest = nearestOfAll(lane, scan(row, base, mark, lane, columns, at));
    if (nearest.column == none) { stuck = true; break; }
    least = nearest.distance;
    if (nearest.owner != 0u) {
      if (lane == nearest.column % ${lanes}u) { reached[at + nearest.column].w = mark + 1u; }
      row = nearest.owner - 1u;
      continue;
    }
    moveDuals(least, mark, lane, columns, at);
    storageBarrier();
    if (lane == 0u) {
      duals[2u * at + start] = addPairs(duals[2u * at + start], least);
      augment(start, nearest.column, rows, at);
    }
    storageBarrier();
    start++;
    row = start;
    least = vec2<f32>(0.0);
    if (start == rows) { break; }
  }
  if (stuck) {
    for (var n = lane; n < sizes.x; n += ${lanes}u) { rowToColumn[problem * params.rows + n] = -1; }
    for (var n = lane; n < sizes.y; n += ${lanes}u) { columnToRow[problem * params.columns + n] = -1; }
  }
  if (lane == 0u) {
    if (stuck) { status[problem] = ${assignmentStatus.infeasible}u; }
    progress[problem] = vec4<u32>(start, row, bitcast<vec2<u32>>(least));
  }
}`,
    ].join("\n"),
    host(arrays, { problems, rows, columns }) {
      const { costs, rowToColumn, columnToRow, status, progress, counts } = arrays as unknown as {
        costs: Float32Array;
        rowToColumn: Int32Array;
        columnToRow: Int32Array;
        status: Uint32Array;
        progress: Uint32Array;
        counts?: Uint32Array;
      };
      for (let problem = 0; problem < problems; problem++) {
        if (
          status[problem] !== assignmentStatus.solved || progress[problem * progressWords] !== 0
        ) {
          continue;
        }
        const [height, width] = sizesOnHost(counts, problem, rows, columns);
        const own = Float64Array.from({ length: height * width }, (_, i) => {
          const at = (problem * rows + Math.floor(i / width)) * columns + i % width;
          return paired ? costs[2 * at]! + costs[2 * at + 1]! : costs[at]!;
        });
        status[problem] = assignInto(own, {
          rows: height,
          columns: width,
          rowToColumn: rowToColumn.subarray(problem * rows),
          columnToRow: columnToRow.subarray(problem * columns),
        });
        progress[problem * progressWords] = Math.max(1, height);
      }
    },
  }));
}
