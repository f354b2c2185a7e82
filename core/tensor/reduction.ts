/**
 * Sums and means along an axis.
 *
 * @module
 */
import { elementwiseGroups, lanesFor } from "../kernels/elementwise.ts";
import { fillProgram } from "../kernels/movement.ts";
import { planeTiling } from "../kernels/plane_norm.ts";
import { columnSumProgram, repeatProgram, rowSumProgram } from "../kernels/reduction.ts";
import { rowTeam, teamGroups } from "../kernels/row_team.ts";
import { note } from "./tape.ts";
import { elementCount, empty, shapeText, type Tensor } from "./tensor.ts";

/** scale * sum of x [outer, length, inner] over its middle axis, under the given shape. */
function scaledSum(
  operation: string,
  x: Tensor,
  extents: readonly [number, number, number],
  shape: readonly number[],
  scale: number,
): Tensor {
  const y = empty(x.device, shape, "f32", operation);
  queueSum(x, y, extents, scale);
  note({
    name: operation,
    inputs: [x],
    outputs: [y],
    saved: [],
    backward: ([gradient]) => [repeat(gradient!, x.shape, extents, scale)],
  });
  return y;
}

/** scale * x [outer, inner], repeated to [outer, length, inner], under the given shape. */
function repeat(
  x: Tensor,
  shape: readonly number[],
  [outer, length, inner]: readonly [number, number, number],
  scale: number,
): Tensor {
  const y = empty(x.device, shape, "f32", "repeated");
  const count = outer * length * inner;
  const lanes = lanesFor(inner);
  x.device.dispatch(
    repeatProgram(lanes),
    { input: x.range, output: y.range },
    { count: count / lanes, length, inner: inner / lanes, scale },
    elementwiseGroups(count, lanes),
    { flops: count, bytes: 8 * count },
  );
  return y;
}

function queueSum(
  x: Tensor,
  y: Tensor,
  [outer, length, inner]: readonly [number, number, number],
  scale: number,
): void {
  const { device } = x;
  if (x.size === 0) {
    const parameters = { count: y.size, offset: 0, bits: 0 };
    device.dispatch(fillProgram(), { output: y.range }, parameters, [Math.ceil(y.size / 64)]);
    return;
  }
  const ranges = { input: x.range, output: y.range };
  const cost = { flops: x.size, bytes: 4 * (x.size + y.size) };
  if (inner === 1) {
    const width = length % 4 === 0 ? 4 : 1;
    const team = rowTeam(device.capabilities, length / width);
    const parameters = { rows: outer, length, scale };
    const groups = teamGroups(team, outer);
    device.dispatch(rowSumProgram(team, width), ranges, parameters, [groups], cost);
  } else {
    const tiling = planeTiling(device.capabilities, inner, length);
    const groups = Math.ceil(outer * inner / tiling.width / tiling.columns);
    const parameters = { outer, length, inner, scale };
    device.dispatch(columnSumProgram(tiling), ranges, parameters, [groups], cost);
  }
}

/**
 * Mean over one axis, which disappears from the shape.
 *
 * @param x f32 of any shape, such as [B, N, C].
 * @param axis The axis, negative ones counting from the end.
 * @returns Such as [B, C] for axis 1. Zeros when the axis has no values.
 * @throws {RangeError} when there is no such axis, or for other dtypes.
 */
export function reduceMean(x: Tensor, axis: number): Tensor {
  return reduce("reduceMean", x, axis, (length) => 1 / Math.max(1, length));
}

/** Sum over one axis; otherwise as {@linkcode reduceMean}. */
export function reduceSum(x: Tensor, axis: number): Tensor {
  return reduce("reduceSum", x, axis, () => 1);
}

function reduce(
  operation: string,
  x: Tensor,
  axis: number,
  scale: (length: number) => number,
): Tensor {
  const at = axis < 0 ? axis + x.shape.length : axis;
  const length = x.shape[at];
  if (length === undefined || x.dtype !== "f32") {
    throw new RangeError(
      `Cannot ${operation} a ${x.dtype} tensor of shape ${
        shapeText(x.shape)
      } over axis ${axis}: expected f32 and an axis of it`,
    );
  }
  const outer = elementCount(x.shape.slice(0, at)), inner = elementCount(x.shape.slice(at + 1));
  return scaledSum(operation, x, [outer, length, inner], x.shape.toSpliced(at, 1), scale(length));
}

/**
 * Sum over all axes but the last, such as the gradient of a bias.
 *
 * @param x f32 [..., C].
 * @returns [C].
 * @throws {RangeError} for other dtypes or no axes.
 */
export function sumRows(x: Tensor): Tensor {
  const columns = x.shape.at(-1);
  if (columns === undefined || x.dtype !== "f32") {
    throw new RangeError(
      `Cannot sumRows a ${x.dtype} tensor of shape ${shapeText(x.shape)}: expected f32 [..., C]`,
    );
  }
  const rows = columns === 0 ? 0 : x.size / columns;
  return scaledSum("sumRows", x, [1, rows, columns], [columns], 1);
}
