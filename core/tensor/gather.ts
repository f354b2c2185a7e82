/**
 * Gathers of rows, such as embedding lookups.
 *
 * @module
 */
import { gatherProgram } from "../kernels/gather.ts";
import { chainOf, chainProgram, chainSumProgram } from "../kernels/gather_gradient.ts";
import { packedLayout } from "../kernels/quantise.ts";
import { fillWords } from "./strided_copy.ts";
import { note } from "./tape.ts";
import type { Device } from "../device/mod.ts";
import { empty, shapeText, Tensor, tensor } from "./tensor.ts";
import type { Weight } from "./weight.ts";

/** Indices that the host has made, with what links their entries once a gradient has needed it. */
const known = new WeakMap<
  Tensor,
  { readonly rows: Int32Array<ArrayBuffer>; chain?: Uint32Array<ArrayBuffer> }
>();

/**
 * An index for {@linkcode gatherRows} that never changes: for gradients equal entries are linked on the host, in one pass, and not
 * on the device, in one for every entry. Worth it for indices of thousands of entries.
 *
 * @param rows Kept, and not to be changed.
 * @returns i32 [n].
 */
export function rowIndex(device: Device, rows: Int32Array<ArrayBuffer>): Tensor {
  const index = tensor(device, rows);
  known.set(index, { rows });
  return index;
}

/**
 * The rows of `source` that `index` names, as floats. An index that is negative or too large gives a row of zeros.
 *
 * @param source Float tensor [R, C] or weight of R rows and C columns in any dtype.
 * @param index i32 or u32 tensor [n].
 * @returns f32 tensor [n, C].
 * @throws {RangeError} when the shapes or dtypes are others.
 */
export function gatherRows(source: Weight | Tensor, index: Tensor): Tensor {
  const isTensor = source instanceof Tensor;
  const shape = isTensor ? source.shape : [source.rows, source.columns];
  if (
    shape.length !== 2 || index.shape.length !== 1 || index.dtype === "f32" ||
    (isTensor && source.dtype !== "f32")
  ) {
    throw new RangeError(
      `Cannot gather rows of ${isTensor ? `${source.dtype} ` : ""}${
        shapeText(shape)
      } by ${index.dtype} ${shapeText(index.shape)}: expected [R, C] floats and [n] integers`,
    );
  }
  const [totalRows, columns] = shape as [number, number];
  const count = index.size;
  const y = empty(source.device, [count, columns], "f32", "gather");
  const steps = Math.ceil(columns / 4);
  const parts = isTensor
    ? [{ range: source.range, firstRow: 0, rows: totalRows }]
    : source.parts.map(({ buffer, firstRow, rows }) => ({ range: { buffer }, firstRow, rows }));
  for (const { range, firstRow, rows } of parts) {
    const { blocks, granules, scaleBase, bytes } = packedLayout(
      rows,
      columns,
      isTensor ? "f32" : source.dtype,
    );
    source.device.dispatch(
      gatherProgram(isTensor ? "tensor" : source.dtype),
      {
        w: isTensor ? range : { ...range, size: Math.max(16, bytes) },
        index: index.range,
        y: y.range,
      },
      { count, columns, steps, rows, firstRow, totalRows, blocks, granules, scaleBase },
      [Math.ceil((count * steps) / 64)],
      { bytes: 8 * count * columns },
    );
  }
  note({
    name: "gatherRows",
    inputs: [source],
    outputs: [y],
    saved: [index],
    backward: ([gradient]) => [sumByRow(gradient!, index, totalRows)],
  });
  return y;
}

/** The chain of an index, u32 [n]: linked by whoever knows its entries. */
function chainFor(index: Tensor): Tensor {
  const { device, size: count } = index, made = known.get(index);
  if (made !== undefined) return tensor(device, made.chain ??= chainOf(made.rows));
  const next = empty(device, [count], "u32", "gather chain");
  device.dispatch(
    chainProgram(),
    { index: index.range, next: next.range },
    { count },
    [Math.ceil(count / 64)],
    { bytes: 8 * count },
  );
  return next;
}

/**
 * Row r of the result is the sum of the rows of x whose index is r, in their order; indices outside are dropped.
 *
 * @param x f32 [n, C].
 * @param index i32 or u32 [n].
 * @returns f32 [rows, C].
 */
function sumByRow(x: Tensor, index: Tensor, rows: number): Tensor {
  const { device } = x;
  const [count, columns] = x.shape as [number, number];
  const y = empty(device, [rows, columns], "f32", "gather gradient");
  fillWords(y, 0, y.size, 0);
  if (x.size === 0) return y;
  const next = chainFor(index);
  const steps = Math.ceil(columns / 4);
  device.dispatch(
    chainSumProgram(),
    { x: x.range, index: index.range, next: next.range, y: y.range },
    { count, columns, steps, rows },
    [Math.ceil(count * steps / 64)],
    { flops: x.size, bytes: 8 * x.size },
  );
  return y;
}
