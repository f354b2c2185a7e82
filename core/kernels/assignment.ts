/**
 * The linear assignment problem in double precision: which rows go with which columns so that the sum of their costs is least.
 *
 * Plain arithmetic. `matching.ts` solves batches of the same problem on the device by the same steps.
 *
 * Source: D. F. Crouse, "On implementing 2D rectangular assignment algorithms", IEEE TAES 52 (2016): shortest augmenting paths
 * with dual variables, one row of the smaller side after the other.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/** What came of a problem. The numbers are those that kernels write. */
export const assignmentStatus = {
  /** Solved. */
  solved: 0,
  /** A cost is NaN or negative infinity. */
  notANumber: 1,
  /** Every complete assignment has an infinite cost. */
  infeasible: 2,
  /** A cost is beyond what the device adds up: 1e36. */
  tooLarge: 4,
} as const;

/** An assignment. All of the smaller side is matched. */
export interface Assignment {
  /** Column of every row, -1 for rows left over. */
  readonly rowToColumn: Int32Array<ArrayBuffer>;
  /** Row of every column, -1 for columns left over. */
  readonly columnToRow: Int32Array<ArrayBuffer>;
  /** Sum of the costs that were chosen, in row order. */
  readonly total: number;
}

/** The error for a problem that has no answer, undefined for {@linkcode assignmentStatus}`.solved`. */
export function assignmentError(
  status: number,
  rows: number,
  columns: number,
): InputError | undefined {
  const what = `Cannot match ${rows} rows with ${columns} columns`;
  if (status & assignmentStatus.notANumber) {
    return new InputError(
      "INVALID_COST",
      `${what}: a cost is NaN or negative infinity; check the values the costs are made of`,
    );
  }
  if (status & assignmentStatus.infeasible) {
    return new InputError(
      "INFEASIBLE",
      `${what}: every complete assignment has an infinite cost; allow more pairs`,
    );
  }
  if (status & assignmentStatus.tooLarge) {
    return new InputError("INVALID_COST", `${what}: a cost is beyond 1e36; scale the costs down`);
  }
  return undefined;
}

/**
 * Finds the least total cost in double precision. Of equal path lengths a free column wins, then the first one, so results repeat.
 *
 * @param costs [rows, columns] row by row; positive infinity forbids a pair.
 * @throws {RangeError} when there are other than rows * columns costs.
 * @throws {InputError} code `INVALID_COST` for NaN and negative infinity, `INFEASIBLE` when forbidden pairs leave no assignment.
 */
export function assignment(costs: ArrayLike<number>, rows: number, columns: number): Assignment {
  if (costs.length !== rows * columns) {
    throw new RangeError(
      `Cannot match ${rows} rows with ${columns} columns: got ${costs.length} costs`,
    );
  }
  const rowToColumn = new Int32Array(rows), columnToRow = new Int32Array(columns);
  const status = assignInto(
    new Float64Array(costs),
    { rows, columns, rowToColumn, columnToRow },
  );
  const error = assignmentError(status, rows, columns);
  if (error !== undefined) throw error;
  let total = 0;
  for (let row = 0; row < rows; row++) {
    const column = rowToColumn[row];
    if (column >= 0) total += costs[row * columns + column];
  }
  return { rowToColumn, columnToRow, total };
}

/** A problem and where its answer goes. */
export interface AssignmentPlace {
  readonly rows: number;
  readonly columns: number;
  /** At least `rows` long. */
  readonly rowToColumn: Int32Array;
  /** At least `columns` long. */
  readonly columnToRow: Int32Array;
}

/** {@linkcode assignment} without exceptions: writes -1 everywhere when there is no answer. Returns the status. */
export function assignInto(
  costs: Float64Array,
  { rows, columns, rowToColumn, columnToRow }: AssignmentPlace,
): number {
  rowToColumn.fill(-1, 0, rows);
  columnToRow.fill(-1, 0, columns);
  for (const cost of costs) {
    if (Number.isNaN(cost) || cost === -Infinity) return assignmentStatus.notANumber;
  }
  const swapped = rows > columns;
  const solved = swapped
    ? augmentRows(transposed(costs, rows, columns), columns, rows, columnToRow, rowToColumn)
    : augmentRows(costs, rows, columns, rowToColumn, columnToRow);
  if (solved) return assignmentStatus.solved;
  rowToColumn.fill(-1, 0, rows);
  columnToRow.fill(-1, 0, columns);
  return assignmentStatus.infeasible;
}

function transposed(costs: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(costs.length);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++, i++) result[c * rows + r] = costs[i];
  }
  return result;
}

/** Matches all rows (not more than columns), or returns false. Both matchings hold -1 at first. */
function augmentRows(
  costs: Float64Array,
  rows: number,
  columns: number,
  columnOf: Int32Array,
  rowOf: Int32Array,
): boolean {
  const rowDual = new Float64Array(rows), columnDual = new Float64Array(columns);
  const distance = new Float64Array(columns), from = new Int32Array(columns);
  const scanned = new Uint8Array(columns);
  for (let start = 0; start < rows; start++) {
    distance.fill(Infinity);
    scanned.fill(0);
    let row = start, least = 0, end = -1;
    while (end < 0) {
      const base = least - rowDual[row], offset = row * columns;
      let nearest = -1, next = Infinity, free = false;
      for (let c = 0; c < columns; c++) {
        if (scanned[c] === 1) continue;
        const length = base + costs[offset + c] - columnDual[c];
        if (length < distance[c]) {
          distance[c] = length;
          from[c] = row;
        }
        const reached = distance[c];
        if (reached < next || (reached === next && !free && rowOf[c] < 0 && nearest >= 0)) {
          next = reached;
          nearest = c;
          free = rowOf[c] < 0;
        }
      }
      if (nearest < 0) return false;
      least = next;
      scanned[nearest] = 1;
      if (rowOf[nearest] < 0) end = nearest;
      else row = rowOf[nearest];
    }
    rowDual[start] += least;
    for (let c = 0; c < columns; c++) {
      if (scanned[c] === 0 || c === end) continue;
      rowDual[rowOf[c]] += least - distance[c];
      columnDual[c] -= least - distance[c];
    }
    for (let c = end;;) {
      const owner = from[c], before = columnOf[owner];
      rowOf[c] = owner;
      columnOf[owner] = c;
      if (owner === start) break;
      c = before;
    }
  }
  return true;
}
