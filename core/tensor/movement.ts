/**
 * Operations that rearrange tensors on the device.
 *
 * @module
 */
import type { Device } from "../device/mod.ts";
import {
  copyRank,
  fillProgram,
  meanProgram,
  scatterRowsProgram,
  stridedCopyProgram,
} from "../kernels/movement.ts";
import { type DType, elementCount, empty, shapeText, type Tensor } from "./tensor.ts";

/** Strides of a contiguous shape, in elements. */
function strides(shape: readonly number[]): number[] {
  const result = new Array<number>(shape.length);
  for (let axis = shape.length - 1, stride = 1; axis >= 0; axis--) {
    result[axis] = stride;
    stride *= shape[axis]!;
  }
  return result;
}

interface Place {
  readonly tensor: Tensor;
  readonly offset?: number;
  readonly strides: readonly number[];
}

/** Copies a block of `extents` elements between two places. */
function copyBlock(extents: readonly number[], source: Place, target: Place): void {
  const count = elementCount(extents);
  if (count === 0) return;
  if (extents.length > copyRank) {
    throw new RangeError(`Cannot move ${extents.length} axes: at most ${copyRank}`);
  }
  const parameters: Record<string, number> = {
    count,
    sourceOffset: source.offset ?? 0,
    targetOffset: target.offset ?? 0,
  };
  const lead = copyRank - extents.length;
  for (let axis = 0; axis < copyRank; axis++) {
    parameters[`extent${axis}`] = axis < lead ? 1 : extents[axis - lead]!;
    parameters[`from${axis}`] = axis < lead ? 0 : source.strides[axis - lead]!;
    parameters[`to${axis}`] = axis < lead ? 0 : target.strides[axis - lead]!;
  }
  source.tensor.device.dispatch(
    stridedCopyProgram(),
    { source: source.tensor.range, result: target.tensor.range },
    parameters,
    [Math.ceil(count / 64)],
    { bytes: 8 * count },
  );
}

function axisOf(shape: readonly number[], axis: number, action: string): number {
  const found = axis < 0 ? axis + shape.length : axis;
  if (!Number.isInteger(found) || found < 0 || found >= shape.length) {
    throw new RangeError(`Cannot ${action} ${shapeText(shape)} along axis ${axis}`);
  }
  return found;
}

/**
 * Axes in another order: result axis i is axis `order[i]` of x. At most six axes.
 *
 * @throws {RangeError} when `order` is no permutation.
 */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  if (order.length !== x.shape.length || x.shape.some((_, axis) => !order.includes(axis))) {
    throw new RangeError(
      `Cannot permute ${shapeText(x.shape)} by ${shapeText(order)}: expected every axis once`,
    );
  }
  const shape = order.map((axis) => x.shape[axis]!);
  const from = strides(x.shape);
  const y = empty(x.device, shape, x.dtype, "permute");
  copyBlock(shape, { tensor: x, strides: order.map((axis) => from[axis]!) }, {
    tensor: y,
    strides: strides(shape),
  });
  return y;
}

/**
 * Tensors one after the other along an axis.
 *
 * @throws {RangeError} when the other axes or the dtypes differ, or there are no tensors.
 */
export function concat(parts: readonly Tensor[], axis: number): Tensor {
  const first = parts[0];
  if (first === undefined) throw new RangeError("Cannot concatenate nothing");
  const along = axisOf(first.shape, axis, "concatenate");
  for (const { shape, dtype } of parts) {
    const fits = shape.length === first.shape.length && dtype === first.dtype &&
      shape.every((extent, i) => i === along || extent === first.shape[i]);
    if (!fits) {
      throw new RangeError(
        `Cannot concatenate ${shapeText(first.shape)} and ${shapeText(shape)} along axis ${along}`,
      );
    }
  }
  const shape = first.shape.with(along, parts.reduce((sum, part) => sum + part.shape[along]!, 0));
  const y = empty(first.device, shape, first.dtype, "concat");
  const to = strides(shape);
  let start = 0;
  for (const part of parts) {
    copyBlock(part.shape, { tensor: part, strides: strides(part.shape) }, {
      tensor: y,
      offset: start * to[along]!,
      strides: to,
    });
    start += part.shape[along]!;
  }
  return y;
}

/**
 * `length` indices of an axis from `start` on.
 *
 * @throws {RangeError} when the range leaves the axis.
 */
export function slice(x: Tensor, axis: number, start: number, length: number): Tensor {
  const along = axisOf(x.shape, axis, "slice");
  if (start < 0 || length < 0 || start + length > x.shape[along]!) {
    throw new RangeError(
      `Cannot slice ${start} to ${start + length} of axis ${along} of ${shapeText(x.shape)}`,
    );
  }
  const shape = x.shape.with(along, length);
  const from = strides(x.shape);
  const y = empty(x.device, shape, x.dtype, "slice");
  copyBlock(shape, { tensor: x, offset: start * from[along]!, strides: from }, {
    tensor: y,
    strides: strides(shape),
  });
  return y;
}

/** A range of rows of a tensor [n, C]; all of them when nothing else is said. */
export interface RowPiece {
  readonly tensor: Tensor;
  readonly start?: number;
  readonly length?: number;
}

/**
 * Rows of several tensors one after the other, [sum of lengths, C].
 *
 * @throws {RangeError} when the widths differ or a range leaves its tensor.
 */
export function spliceRows(pieces: readonly RowPiece[]): Tensor {
  const first = pieces[0]?.tensor;
  if (first === undefined) throw new RangeError("Cannot splice nothing");
  const columns = first.shape.at(-1)!;
  const ranges = pieces.map(({ tensor, start = 0, length }) => {
    const rows = tensor.size / Math.max(1, columns);
    const count = length ?? rows - start;
    if (tensor.shape.at(-1) !== columns || start < 0 || count < 0 || start + count > rows) {
      throw new RangeError(
        `Cannot splice rows ${start} to ${start + count} of ${
          shapeText(tensor.shape)
        } with ${columns} columns`,
      );
    }
    return { tensor, start, count };
  });
  const y = empty(
    first.device,
    [ranges.reduce((sum, { count }) => sum + count, 0), columns],
    first.dtype,
    "splice",
  );
  let at = 0;
  for (const { tensor, start, count } of ranges) {
    const row = [columns, 1];
    copyBlock([count, columns], { tensor, offset: start * columns, strides: row }, {
      tensor: y,
      offset: at * columns,
      strides: row,
    });
    at += count;
  }
  return y;
}

/** A row [C] repeated, [count, C]. */
export function broadcastRows(row: Tensor, count: number): Tensor {
  const columns = row.size;
  const y = empty(row.device, [count, columns], row.dtype, "broadcast");
  copyBlock([count, columns], { tensor: row, strides: [0, 1] }, {
    tensor: y,
    strides: [columns, 1],
  });
  return y;
}

/** A tensor of one value. */
export function fill(
  device: Device,
  shape: readonly number[],
  value: number,
  dtype: DType = "f32",
): Tensor {
  const y = empty(device, shape, dtype, "fill");
  const view = new DataView(new ArrayBuffer(4));
  if (dtype === "f32") view.setFloat32(0, value);
  else view.setInt32(0, value);
  device.dispatch(fillProgram(), { result: y.range }, { count: y.size, bits: view.getUint32(0) }, [
    Math.ceil(y.size / 64),
  ]);
  return y;
}

/** Rows [n, C] below which zero rows are added until there are `rows`. @throws {RangeError} when there are more already. */
export function padRows(x: Tensor, rows: number): Tensor {
  const [count, columns] = x.shape as [number, number];
  if (x.shape.length !== 2 || count > rows) {
    throw new RangeError(`Cannot pad ${shapeText(x.shape)} to ${rows} rows`);
  }
  const y = fill(x.device, [rows, columns], 0, x.dtype);
  const row = [columns, 1];
  copyBlock([count, columns], { tensor: x, strides: row }, { tensor: y, strides: row });
  return y;
}

/**
 * Writes rows into a tensor in place: target[index[r]] = rows[r]. Indices beyond the target are left out; equal indices are
 * an error of the caller.
 *
 * @param target [n, C].
 * @param rows [r, C].
 * @param index u32 or i32 [r].
 */
export function scatterRows(target: Tensor, rows: Tensor, index: Tensor): void {
  const columns = target.shape.at(-1)!;
  if (rows.shape.at(-1) !== columns || index.size * columns !== rows.size) {
    throw new RangeError(
      `Cannot scatter ${shapeText(rows.shape)} by ${shapeText(index.shape)} into ${
        shapeText(target.shape)
      }`,
    );
  }
  target.device.dispatch(
    scatterRowsProgram(),
    { rows: rows.range, index: index.range, result: target.range },
    { count: rows.size, columns, limit: target.size / columns },
    [Math.ceil(rows.size / 64)],
    { bytes: 8 * rows.size },
  );
}

function reduce(x: Tensor, axis: number, scaled: boolean): Tensor {
  const along = axisOf(x.shape, axis, "reduce");
  const length = x.shape[along]!;
  const outer = elementCount(x.shape.slice(0, along)),
    inner = elementCount(x.shape.slice(along + 1));
  const y = empty(x.device, x.shape.toSpliced(along, 1), "f32", "reduce");
  x.device.dispatch(
    meanProgram(),
    { x: x.range, y: y.range },
    { outer, length, inner, scale: scaled ? 1 / Math.max(1, length) : 1 },
    [Math.ceil(outer * inner / 64)],
    { flops: x.size, bytes: 4 * (x.size + outer * inner) },
  );
  return y;
}

/** Mean over an axis, which disappears; f32. */
export function reduceMean(x: Tensor, axis: number): Tensor {
  return reduce(x, axis, true);
}

/** Sum over an axis, which disappears; f32. */
export function reduceSum(x: Tensor, axis: number): Tensor {
  return reduce(x, axis, false);
}
