/**
 * Rows written into a table at a place that only the device knows.
 *
 * @module
 */
import { appendProgram } from "../kernels/append.ts";
import { rowSpans } from "./heads.ts";
import { isDifferentiated } from "./tape.ts";
import { shapeText, type Tensor } from "./tensor.ts";

/**
 * target[start + t] = rows[t] for all rows; rows that would fall behind the last row of the target are dropped.
 *
 * @param target [capacity, columns], changed in place.
 * @param rows [count, columns], of the target's dtype.
 * @param start u32 [1], the first row to write. A recorded append follows its value from replay to replay.
 * @throws {RangeError} when the shapes do not fit.
 * @throws {TypeError} when differentiated, because it changes a tensor in place.
 */
export function appendRows(target: Tensor, rows: Tensor, start: Tensor): void {
  const columns = target.shape[1] ?? 0;
  if (
    target.shape.length !== 2 || rows.shape.length !== 2 || rows.shape[1] !== columns ||
    rows.dtype !== target.dtype || start.size !== 1 || start.dtype === "f32"
  ) {
    throw new RangeError(
      `Cannot append ${rows.dtype} ${shapeText(rows.shape)} to ${target.dtype} ${
        shapeText(target.shape)
      } at ${start.dtype} ${shapeText(start.shape)}: expected equal columns and one u32`,
    );
  }
  if (isDifferentiated(target, rows)) {
    throw new TypeError("Cannot differentiate appendRows, which changes a tensor in place");
  }
  for (const { firstRow, rows: count, range } of rowSpans(target)) {
    target.device.dispatch(
      appendProgram(),
      { source: rows.range, start: start.range, destination: range },
      { count: rows.size, columns: Math.max(1, columns), firstRow, rows: count },
      [Math.ceil(rows.size / 64)],
      { bytes: 8 * rows.size },
    );
  }
}
