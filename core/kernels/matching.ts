/**
 * Batches of linear assignment problems on the device: how they lie in memory, how they start, which costs are refused, and how
 * many steps are queued. `matching_search.ts` solves them.
 *
 * Traffic: the state of a problem is 32 bytes per column of its larger side; checking reads every cost once. Tiling: 64
 * invocations, one column or one cost each.
 *
 * @module
 */
import { type ArraySpec, type Capabilities, type Program, program } from "../device/mod.ts";
import { assignmentStatus } from "./assignment.ts";

/** Largest magnitude of a finite cost. */
export const largestCost = 1e36;

const largestCostBits = new Uint32Array(Float32Array.of(largestCost).buffer)[0]!;

/** Turns of all loops that an invocation may take in one dispatch. */
const turnsPerDispatch = 60_000;

/** Numbers of state that a problem keeps between dispatches. */
export const progressWords = 4;

/** How a batch of problems lies in memory. */
export interface MatchingLayout {
  /** Problems have sizes of their own, rows and columns in `counts`; otherwise all are as large as the batch says. */
  readonly ragged: boolean;
  /** Costs are the sums of two floats, of which the first is the rounded whole: for costs in double precision. */
  readonly paired: boolean;
}

/** The part of a program key that names a layout. */
export const layoutKey = ({ ragged, paired }: MatchingLayout) =>
  `${ragged ? " ragged" : ""}${paired ? " paired" : ""}`;

/** Where the sizes of ragged problems are. */
export const countsArray = (ragged: boolean): Record<string, ArraySpec> =>
  ragged ? { counts: { type: "u32", access: "read" } } : {};

/**
 * Lanes that share the columns of a problem. On software adapters barriers between vectors of lanes cost more than the lanes
 * gain, and problems run beside each other anyway.
 */
export function matchingLanes({ software, workgroupSize }: Capabilities, columns: number): number {
  if (software) return 8;
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, columns / 2)));
  return Math.min(256, workgroupSize, Math.max(32, wanted));
}

/** Lanes whose nearest columns are compared by one lane, in the first of two rounds. */
export function fold(lanes: number): number {
  return lanes <= 16 ? lanes : 2 ** Math.ceil(Math.log2(lanes) / 2);
}

/** Steps per dispatch and dispatches that surely solve problems of rows x columns (the smaller and the larger side). */
export function matchingSteps(
  lanes: number,
  rows: number,
  columns: number,
): { readonly steps: number; readonly dispatches: number } {
  // A step scans the columns of a lane, compares the lanes, and where it ends a search walks the columns and the path again.
  const turns = 2 + 2 * Math.ceil(columns / lanes) + fold(lanes) + lanes / fold(lanes);
  const most = rows * (rows + 1) / 2;
  const steps = Math.max(1, Math.min(most, Math.floor(turnsPerDispatch / turns)));
  return { steps, dispatches: Math.ceil(most / steps) };
}

/** WGSL of `sizesOf(problem)`: rows and columns. */
export const sizesWgsl = (ragged: boolean) => /* wgsl */ `
fn sizesOf(problem: u32) -> vec2<u32> {
  return ${
  ragged
    ? "min(vec2<u32>(counts[2u * problem], counts[2u * problem + 1u]), vec2<u32>(params.rows, params.columns))"
    : "vec2<u32>(params.rows, params.columns)"
};
}`;

/** Rows and columns of a problem. */
export function sizesOnHost(
  counts: Uint32Array | undefined,
  problem: number,
  rows: number,
  columns: number,
): readonly [number, number] {
  if (counts === undefined) return [rows, columns];
  return [Math.min(counts[2 * problem]!, rows), Math.min(counts[2 * problem + 1]!, columns)];
}

/**
 * Empties the matchings and the state of every problem. `long` is the larger of `rows` and `columns`. Dispatch
 * ceil(problems * long / 64).
 */
export function matchingStartProgram(): Program {
  return program("matching start", () => ({
    arrays: {
      rowToColumn: { type: "i32", access: "read_write" },
      columnToRow: { type: "i32", access: "read_write" },
      status: { type: "u32", access: "read_write" },
      duals: { type: "vec4<f32>", access: "read_write" },
      reached: { type: "vec4<u32>", access: "read_write" },
      progress: { type: "vec4<u32>", access: "read_write" },
    },
    parameters: { problems: "u32", rows: "u32", columns: "u32", long: "u32" },
    wgsl: /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  if (i >= params.problems * params.long) { return; }
  let problem = i / params.long;
  let n = i % params.long;
  duals[i] = vec4<f32>(0.0);
  reached[i] = vec4<u32>(0u);
  if (n < params.rows) { rowToColumn[problem * params.rows + n] = -1; }
  if (n < params.columns) { columnToRow[problem * params.columns + n] = -1; }
  if (n == 0u) {
    status[problem] = ${assignmentStatus.solved}u;
    progress[problem] = vec4<u32>(0u);
  }
}`,
    host({ rowToColumn, columnToRow, status, progress }, { problems, rows, columns }) {
      rowToColumn.fill(-1, 0, problems * rows);
      columnToRow.fill(-1, 0, problems * columns);
      status.fill(assignmentStatus.solved, 0, problems);
      progress.fill(0, 0, problems * progressWords);
    },
  }));
}

/** Sets the status of problems with costs that are no numbers or too large. Dispatch ceil(problems * rows * columns / 64). */
export function matchingCheckProgram({ ragged, paired }: MatchingLayout): Program {
  const words = paired ? 2 : 1;
  return program(`matching check${layoutKey({ ragged, paired })}`, () => ({
    arrays: {
      costs: { type: "f32", access: "read" },
      status: { type: "atomic<u32>", access: "read_write" },
      ...countsArray(ragged),
    },
    parameters: { problems: "u32", rows: "u32", columns: "u32" },
    wgsl: /* wgsl */ `
${sizesWgsl(ragged)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroupIndex(group, groups) * 64u + lane;
  let size = params.rows * params.columns;
  if (i >= params.problems * size) { return; }
  let problem = i / size;
  if (any(vec2<u32>(i % size / params.columns, i % params.columns) >= sizesOf(problem))) { return; }
  let word = bitcast<u32>(costs[${words}u * i]);
  let magnitude = word & 0x7fffffffu;
  if (magnitude > 0x7f800000u || word == 0xff800000u) {
    atomicOr(&status[problem], ${assignmentStatus.notANumber}u);
  } else if (magnitude != 0x7f800000u && magnitude > 0x${largestCostBits.toString(16)}u) {
    atomicOr(&status[problem], ${assignmentStatus.tooLarge}u);
  }
}`,
    host(arrays, { problems, rows, columns }) {
      const { costs, status, counts } = arrays as unknown as {
        costs: Float32Array;
        status: Uint32Array;
        counts?: Uint32Array;
      };
      for (let problem = 0; problem < problems; problem++) {
        const [height, width] = sizesOnHost(counts, problem, rows, columns);
        for (let r = 0; r < height; r++) {
          for (let c = 0; c < width; c++) {
            const cost = costs[words * ((problem * rows + r) * columns + c)]!;
            if (Number.isNaN(cost) || cost === -Infinity) {
              status[problem]! |= assignmentStatus.notANumber;
            } else if (cost !== Infinity && Math.abs(cost) > largestCost) {
              status[problem]! |= assignmentStatus.tooLarge;
            }
          }
        }
      }
    },
  }));
}
