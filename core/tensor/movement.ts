/**
 * Operations that move values without changing them, on the device throughout. They take f32, i32 and u32 alike.
 *
 * @module
 */
import type { Device } from "../device/mod.ts";
import {
  permutationRank,
  permuteProgram,
  scatterProgram,
  transposeGroups,
  transposeProgram,
} from "../kernels/movement.ts";
import { sumRows } from "./reduction.ts";
import { copyStrided, fillWords, groupsFor, widthOf } from "./strided_copy.ts";
import { isDifferentiated, note } from "./tape.ts";
import { type DType, elementCount, empty, shapeText, type Tensor } from "./tensor.ts";

export { reduceMean, sumRows } from "./reduction.ts";
export { type RowPiece, spliceRows } from "./splice.ts";

/** An axis counted from the front, or undefined when the shape has no such axis. */
function axisOf(shape: readonly number[], axis: number): number | undefined {
  const at = axis < 0 ? axis + shape.length : axis;
  return Number.isInteger(at) && at >= 0 && at < shape.length ? at : undefined;
}

/**
 * Reorders axes: axis i of the result is axis `order[i]` of `x`.
 *
 * @param order Every axis of `x` once.
 * @throws {RangeError} when `order` is no permutation, or more than six groups of axes move apart.
 */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  const { device, shape } = x;
  if (
    order.length !== shape.length ||
    shape.some((_, axis) => !order.includes(axis))
  ) {
    throw new RangeError(
      `Cannot permute ${shapeText(shape)} by ${shapeText(order)}: expected every axis once`,
    );
  }
  const y = empty(device, order.map((axis) => shape[axis]!), x.dtype, "permuted");
  note({
    name: "permute",
    inputs: [x],
    outputs: [y],
    saved: [],
    backward: ([gradient]) => [permute(gradient!, order.map((_, axis) => order.indexOf(axis)))],
  });
  if (x.size === 0) return y;
  const axes = simplify(shape, order);
  if (axes.length > permutationRank) {
    throw new RangeError(
      `Cannot permute ${shapeText(shape)} by ${
        shapeText(order)
      }: ${axes.length} groups of axes move apart, at most ${permutationRank} can`,
    );
  }
  if (axes.length <= 1) {
    copyStrided(x, y, { outer: 1, inner: x.size });
    return y;
  }
  const ranges = { input: x.range, output: y.range }, cost = { bytes: 8 * x.size };
  const swap = asTransposition(axes);
  const { software } = device.capabilities;
  if (swap !== undefined && (!software || widthOf(swap.columns) === 4)) {
    const variant = software ? widthOf(swap.rows) === 4 ? "block" : "ragged" : "tile";
    const groups = transposeGroups(variant, swap.batch, swap.rows, swap.columns);
    device.dispatch(transposeProgram(variant), ranges, { ...swap }, [groups], cost);
    return y;
  }
  // Vectors can move whole when the innermost axis stays innermost.
  const width = axes.at(-1)!.stride === 1 ? widthOf(axes.at(-1)!.extent) : 1;
  const parameters: Record<string, number> = { count: x.size / width };
  axes.forEach(({ extent, stride }, i) => {
    const innermost = i === axes.length - 1;
    parameters[`extent${i}`] = innermost ? extent / width : extent;
    parameters[`stride${i}`] = innermost && width === 4 ? 1 : stride / width;
  });
  device.dispatch(
    permuteProgram(axes.length, width),
    ranges,
    parameters,
    groupsFor(x.size / width),
    cost,
  );
  return y;
}

/** An axis of a result: how long it is and how far apart its values lie in the source. */
interface StridedAxis {
  readonly extent: number;
  readonly stride: number;
}

/** The axes of the result without those of length 1, neighbours that stay neighbours merged. */
function simplify(shape: readonly number[], order: readonly number[]): StridedAxis[] {
  const axes: StridedAxis[] = [];
  for (const axis of order) {
    const extent = shape[axis]!, stride = elementCount(shape.slice(axis + 1));
    const last = axes.at(-1);
    if (extent === 1) continue;
    if (last !== undefined && last.stride === extent * stride) {
      axes[axes.length - 1] = { extent: last.extent * extent, stride };
    } else {
      axes.push({ extent, stride });
    }
  }
  return axes;
}

/** The permutation as an exchange of the last two axes, if it is one. */
function asTransposition(
  axes: readonly StridedAxis[],
): { batch: number; rows: number; columns: number } | undefined {
  const [b, c, r] = axes.length === 2 ? [{ extent: 1, stride: 0 }, ...axes] : axes;
  if (axes.length > 3 || c!.stride !== 1 || r!.stride !== c!.extent) return undefined;
  if (b!.extent > 1 && b!.stride !== c!.extent * r!.extent) return undefined;
  return { batch: b!.extent, rows: r!.extent, columns: c!.extent };
}

/**
 * Puts tensors one after the other along an axis.
 *
 * @param parts At least one; equal dtypes, and equal shapes but for the axis.
 * @param axis Negative ones count from the end.
 * @throws {RangeError} when the parts do not fit.
 */
export function concat(parts: readonly Tensor[], axis: number): Tensor {
  const first = parts[0];
  const at = first === undefined ? undefined : axisOf(first.shape, axis);
  const fits = first !== undefined && at !== undefined &&
    parts.every(({ shape, dtype }) =>
      dtype === first.dtype && shape.length === first.shape.length &&
      shape.every((extent, i) => i === at || extent === first.shape[i])
    );
  if (!fits) {
    throw new RangeError(
      `Cannot concat ${
        parts.map(({ dtype, shape }) => `${dtype} ${shapeText(shape)}`).join(", ") || "nothing"
      } along axis ${axis}: expected equal dtypes and shapes but for that axis`,
    );
  }
  const length = parts.reduce((sum, { shape }) => sum + shape[at]!, 0);
  const y = empty(first.device, first.shape.with(at, length), first.dtype, "concatenated");
  const outer = elementCount(first.shape.slice(0, at));
  const inner = elementCount(first.shape.slice(at + 1));
  let offset = 0;
  for (const part of parts) {
    const block = part.shape[at]! * inner;
    copyStrided(part, y, {
      outer,
      inner: block,
      sourceStride: block,
      targetOffset: offset,
      targetStride: length * inner,
    });
    offset += block;
  }
  note({
    name: "concat",
    inputs: parts,
    outputs: [y],
    saved: [],
    backward([gradient], wanted) {
      let start = 0;
      return parts.map(({ shape }, i) => {
        const from = start;
        start += shape[at]!;
        return wanted[i] ? slice(gradient!, at, from, shape[at]!) : undefined;
      });
    },
  });
  return y;
}

/**
 * A range of an axis, copied.
 *
 * @param axis Negative ones count from the end.
 * @param start First index.
 * @param length Number of indices; may be 0.
 * @throws {RangeError} when the range leaves the axis.
 */
export function slice(x: Tensor, axis: number, start: number, length: number): Tensor {
  const at = axisOf(x.shape, axis);
  if (
    at === undefined || !Number.isInteger(start) || !Number.isInteger(length) || start < 0 ||
    length < 0 || start + length > x.shape[at]!
  ) {
    throw new RangeError(
      `Cannot slice ${
        shapeText(x.shape)
      } along axis ${axis} from ${start} over ${length}: out of range`,
    );
  }
  const y = empty(x.device, x.shape.with(at, length), x.dtype, "slice");
  const inner = elementCount(x.shape.slice(at + 1));
  copyStrided(x, y, {
    outer: elementCount(x.shape.slice(0, at)),
    inner: length * inner,
    sourceOffset: start * inner,
    sourceStride: x.shape[at]! * inner,
    targetStride: length * inner,
  });
  note({
    name: "slice",
    inputs: [x],
    outputs: [y],
    saved: [],
    backward: ([gradient]) => [unslice(gradient!, x.shape, at, start)],
  });
  return y;
}

/** Zeros of the given shape with `x` at `start` of an axis: the gradient of {@linkcode slice}. */
export function unslice(x: Tensor, shape: readonly number[], axis: number, start: number): Tensor {
  const y = fill(x.device, shape, 0, x.dtype);
  const inner = elementCount(shape.slice(axis + 1)), block = x.shape[axis]! * inner;
  copyStrided(x, y, {
    outer: elementCount(shape.slice(0, axis)),
    inner: block,
    sourceStride: block,
    targetOffset: start * inner,
    targetStride: shape[axis]! * inner,
  });
  return y;
}

/** A tensor with the same value everywhere. */
export function fill(
  device: Device,
  shape: readonly number[],
  value: number,
  dtype: DType = "f32",
): Tensor {
  const y = empty(device, shape, dtype, "filled");
  fillWords(y, 0, y.size, value);
  return y;
}

/**
 * Appends rows of one value.
 *
 * @param x [n, ...].
 * @param rows Rows of the result, at least n.
 * @param value What the new rows hold. Default 0.
 * @returns [rows, ...].
 * @throws {RangeError} when `x` has more rows.
 */
export function padRows(x: Tensor, rows: number, value = 0): Tensor {
  const have = x.shape[0];
  if (have === undefined || !Number.isInteger(rows) || rows < have) {
    throw new RangeError(
      `Cannot pad ${shapeText(x.shape)} to ${rows} rows: expected at most ${rows} rows`,
    );
  }
  const y = empty(x.device, x.shape.with(0, rows), x.dtype, "padded rows");
  copyStrided(x, y, { outer: 1, inner: x.size });
  fillWords(y, x.size, y.size - x.size, value);
  note({
    name: "padRows",
    inputs: [x],
    outputs: [y],
    saved: [],
    backward: ([gradient]) => [slice(gradient!, 0, 0, have)],
  });
  return y;
}

/**
 * Repeats a row.
 *
 * @param row [C].
 * @param n Number of rows.
 * @returns [n, C].
 * @throws {RangeError} for other shapes.
 */
export function broadcastRows(row: Tensor, n: number): Tensor {
  const columns = row.shape[0];
  if (columns === undefined || row.shape.length !== 1) {
    throw new RangeError(`Cannot broadcastRows ${shapeText(row.shape)}: expected [C]`);
  }
  const y = empty(row.device, [n, columns], row.dtype, "repeated row");
  copyStrided(row, y, {
    outer: n,
    inner: columns,
    targetStride: columns,
  });
  note({
    name: "broadcastRows",
    inputs: [row],
    outputs: [y],
    saved: [],
    backward: ([gradient]) => [sumRows(gradient!)],
  });
  return y;
}

/**
 * Writes rows into a matrix in place: row `index[r]` of `target` becomes row r of `rows`.
 *
 * Rows whose index is not a row of `target` are dropped (negative ones too); with repeated indices any of the rows may win.
 *
 * @param target [m, C], changed.
 * @param rows [n, C] of the same dtype, not sharing memory with `target`.
 * @param index u32 or i32 [n].
 * @throws {RangeError} when the shapes do not fit.
 */
export function scatterRows(target: Tensor, rows: Tensor, index: Tensor): void {
  const columns = target.shape[1];
  if (
    target.shape.length !== 2 || rows.shape.length !== 2 || rows.shape[1] !== columns ||
    rows.dtype !== target.dtype || index.dtype === "f32" || index.size !== rows.shape[0]
  ) {
    throw new RangeError(
      `Cannot scatter ${rows.dtype} rows ${shapeText(rows.shape)} by ${index.dtype} ${
        shapeText(index.shape)
      } into ${target.dtype} ${shapeText(target.shape)}: expected [n, C] by [n] into [m, C]`,
    );
  }
  if (isDifferentiated(target, rows)) {
    throw new TypeError("Cannot differentiate scatterRows, which changes a tensor in place");
  }
  if (rows.size === 0) return;
  const width = widthOf(columns!);
  target.device.dispatch(
    scatterProgram(width),
    { input: rows.range, index: index.range, output: target.range },
    { count: rows.size / width, columns: columns! / width, limit: target.shape[0]! },
    groupsFor(rows.size / width),
    { bytes: 8 * rows.size + 4 * index.size },
  );
}
