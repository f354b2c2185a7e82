/**
 * Matching: exact linear assignment of a batch of problems on the device.
 *
 * @module
 */
import {
  matchingCheckProgram,
  matchingLanes,
  matchingStartProgram,
  matchingSteps,
} from "../kernels/matching.ts";
import { matchingSearchProgram } from "../kernels/matching_search.ts";
import { assignmentError } from "../kernels/assignment.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

export { type Assignment, assignment, assignmentStatus } from "../kernels/assignment.ts";

/** The answers to a batch of problems, on the device. */
export interface Assignments {
  /** Column of every row, -1 for rows left over: i32 [B, R]. */
  readonly rowToColumn: Tensor;
  /** Row of every column, -1 for columns left over: i32 [B, C]. */
  readonly columnToRow: Tensor;
  /** How each problem ended, see `assignmentStatus`: u32 [B]. Where it is not 0, nothing is matched. */
  readonly status: Tensor;
}

/** What problems look like. */
export interface AssignOptions {
  /** Rows and columns of each problem, u32 [B, 2], at most R and C; what lies outside is not read. Default: all R and C. */
  readonly counts?: Tensor;
  /** Costs are pairs of floats to be added, the first the rounded whole: see {@linkcode pairedCosts}. Default false. */
  readonly paired?: boolean;
}

/**
 * Finds, for every problem of a batch, the complete assignment with the least total cost. Nothing is read back: how a problem
 * ended is on the device too. Ends are deterministic; of equal totals any may win.
 *
 * @param costs f32 [B, R, C], or [B, R, C, 2] when paired. Positive infinity forbids a pair.
 * @throws {RangeError} when shapes do not fit.
 */
export function assign(
  costs: Tensor,
  { counts, paired = false }: AssignOptions = {},
): Assignments {
  const { device, shape, dtype } = costs;
  const [problems, rows, columns] = shape as [number, number, number];
  const whole = paired ? [problems, rows, columns, 2] : [problems, rows, columns];
  if (shapeText(shape) !== shapeText(whole) || dtype !== "f32" || shape.length < 3) {
    throw new RangeError(
      `Cannot assign by ${dtype} costs of shape ${shapeText(shape)}: expected f32 [B, R, C${
        paired ? ", 2" : ""
      }]`,
    );
  }
  if (counts !== undefined && (counts.size !== 2 * problems || counts.dtype !== "u32")) {
    throw new RangeError(
      `Cannot assign ${problems} problems with ${counts.dtype} counts of shape ${
        shapeText(counts.shape)
      }: expected u32 [${problems}, 2]`,
    );
  }
  const long = Math.max(1, rows, columns);
  const rowToColumn = empty(device, [problems, rows], "i32", "row to column");
  const columnToRow = empty(device, [problems, columns], "i32", "column to row");
  const status = empty(device, [problems], "u32", "matching status");
  const duals = empty(device, [problems, long, 4], "f32", "matching duals");
  const reached = empty(device, [problems, long, 4], "u32", "matching paths");
  const progress = empty(device, [problems, 4], "u32", "matching progress");
  const state = {
    rowToColumn: rowToColumn.range,
    columnToRow: columnToRow.range,
    status: status.range,
    duals: duals.range,
    reached: reached.range,
    progress: progress.range,
  };
  const sizes = { problems, rows, columns };
  device.dispatch(
    matchingStartProgram(),
    state,
    { ...sizes, long },
    [Math.ceil(problems * long / 64)],
    { bytes: 32 * problems * long },
  );
  const given = {
    costs: costs.range,
    ...(counts === undefined ? {} : { counts: counts.range }),
  };
  const layout = { ragged: counts !== undefined, paired };
  device.dispatch(
    matchingCheckProgram(layout),
    { ...given, status: status.range },
    sizes,
    [Math.ceil(problems * rows * columns / 64)],
    { bytes: 4 * costs.size },
  );
  const lanes = matchingLanes(device.capabilities, long);
  const { steps, dispatches } = matchingSteps(
    lanes,
    Math.min(rows, columns),
    Math.max(rows, columns),
  );
  const search = matchingSearchProgram(lanes, layout);
  // The twin on the host is done after the first.
  for (let n = 0; n < (device.kind === "wasm" ? Math.min(1, dispatches) : dispatches); n++) {
    device.dispatch(search, { ...state, ...given }, { ...sizes, long, steps, zero: 0 }, [problems]);
  }
  for (const { buffer } of [duals, reached, progress]) device.release(buffer);
  return { rowToColumn, columnToRow, status };
}

/**
 * Costs in double precision as pairs of floats for {@linkcode assign}.
 *
 * @throws {RangeError} for finite costs beyond 1e36, which a float cannot hold or add up.
 */
export function pairedCosts(costs: ArrayLike<number>): Float32Array<ArrayBuffer> {
  const pairs = new Float32Array(2 * costs.length);
  for (let i = 0; i < costs.length; i++) {
    const cost = costs[i]!;
    if (Number.isFinite(cost) && Math.abs(cost) > 1e36) {
      throw new RangeError(`Cannot assign by the cost ${cost}: beyond 1e36`);
    }
    pairs[2 * i] = cost;
    pairs[2 * i + 1] = Number.isFinite(cost) ? cost - pairs[2 * i]! : 0;
  }
  return pairs;
}

/**
 * Reads the columns of all rows, [B, R]. Waits for the device.
 *
 * @param counts Rows and columns of each problem for messages, as they lie in `AssignOptions.counts`.
 * @throws {InputError} for the first problem without an answer: code `INVALID_COST` or `INFEASIBLE`.
 */
export async function readAssignments(
  { rowToColumn, columnToRow, status }: Assignments,
  counts?: ArrayLike<number>,
): Promise<Int32Array<ArrayBuffer>> {
  const [ends, columns] = await Promise.all([status.read(), rowToColumn.read()]);
  for (const [problem, end] of ends.entries()) {
    const error = assignmentError(
      end,
      counts?.[2 * problem] ?? rowToColumn.shape[1]!,
      counts?.[2 * problem + 1] ?? columnToRow.shape[1]!,
    );
    if (error !== undefined) throw error;
  }
  return columns as Int32Array<ArrayBuffer>;
}
