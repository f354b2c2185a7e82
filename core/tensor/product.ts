/**
 * Dispatch of matrix products: what {@link linear} and {@link matmul} have in common.
 *
 * @module
 */
import type { BufferRange, Device } from "../device/mod.ts";
import type { Unary } from "../kernels/elementwise.ts";
import { planProduct, runAlignment } from "../kernels/matmul.ts";
import { packedLayout } from "../kernels/quantise.ts";
import type { RightKind } from "../kernels/matmul_operands.ts";
import type { Tensor } from "./tensor.ts";
import type { Weight } from "./weight.ts";

/** The left operand: rows of `inner` values. */
export interface LeftOperand {
  /** Its memory. */
  readonly range: BufferRange;
  /** Rows there are. */
  readonly rows: number;
  /** Values between batch entries. Default 0. */
  readonly batchStride?: number;
}

/** The right operand as a float tensor; [N, K] where it is `transposed`, else [K, N]. */
export interface RightTensor {
  /** Its memory. */
  readonly range: BufferRange;
  /** Its rows, not its columns, belong to the outputs. */
  readonly transposed: boolean;
  /** Values between batch entries. Default 0. */
  readonly batchStride?: number;
}

/** Where the result goes. */
export interface ProductTarget {
  /** Its memory. */
  readonly range: BufferRange;
  /** Length of an output row. */
  readonly stride: number;
  /** Row of the first result. Default 0. */
  readonly firstRow?: number;
  /** Column of the first result. Default 0. */
  readonly firstColumn?: number;
  /** Values between batch entries. Default 0. */
  readonly batchStride?: number;
}

/** Everything about a product beyond its operands. */
export interface ProductOptions {
  /** Independent products. Default 1. */
  readonly batches?: number;
  /** Factor of the sums. Default 1. */
  readonly alpha?: number;
  /** [N], added to the scaled sums. */
  readonly bias?: Tensor | undefined;
  /** Applied after the bias. */
  readonly activation?: Unary | undefined;
  /** [rows, N], added last. */
  readonly residual?: Tensor | undefined;
  /** h [rows, rank] and b [N, rank]. */
  readonly update?: { readonly h: Tensor; readonly b: Tensor; readonly rank: number } | undefined;
  /** Rows of the left operand, by output row. */
  readonly index?: Tensor | undefined;
  /** First row of the left operand, or first entry of `index`. Default 0. */
  readonly first?: number;
  /** Counts, of which one limits the rows. */
  readonly counts?: Tensor | undefined;
  /** Which of the counts. Default 0. */
  readonly counter?: number;
}

/** Queues y = x W^T for a weight, one dispatch per part. */
export function multiplyWeight(
  device: Device,
  left: LeftOperand,
  w: Weight,
  target: ProductTarget,
  rows: number,
  options: ProductOptions,
): void {
  for (const { buffer, firstRow, rows: columns } of w.parts) {
    const layout = packedLayout(columns, w.columns, w.dtype);
    queue(
      device,
      left,
      w.dtype,
      { buffer, size: Math.max(16, layout.bytes) },
      {
        rows,
        columns,
        inner: w.columns,
        steps: 8 * layout.blocks,
        granules: layout.granules,
        blocks: layout.blocks,
        scaleBase: layout.scaleBase,
        whole: w.columns % 32 === 0,
        rightBatch: 0,
      },
      { ...target, firstColumn: (target.firstColumn ?? 0) + firstRow },
      options,
      layout.bytes,
    );
  }
}

/** Queues y = x B or y = x B^T for a float tensor. */
export function multiplyTensor(
  device: Device,
  left: LeftOperand,
  right: RightTensor,
  target: ProductTarget,
  { rows, columns, inner }: { rows: number; columns: number; inner: number },
  options: ProductOptions,
): void {
  const alignment = runAlignment(device.capabilities, rows);
  const whole = inner % alignment === 0;
  const steps = (alignment / 4) * Math.ceil(inner / alignment);
  const kind: RightKind = right.transposed ? whole && inner > 0 ? "rows" : "rowsMasked" : "columns";
  queue(
    device,
    left,
    kind,
    right.range,
    {
      rows,
      columns,
      inner,
      steps,
      granules: steps,
      blocks: 0,
      scaleBase: 0,
      whole,
      rightBatch: right.batchStride ?? 0,
    },
    target,
    options,
    4 * inner * columns * (options.batches ?? 1),
  );
}

interface Extents {
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
  readonly steps: number;
  readonly granules: number;
  readonly blocks: number;
  readonly scaleBase: number;
  /** The left operand may be read in whole runs. */
  readonly whole: boolean;
  readonly rightBatch: number;
}

function queue(
  device: Device,
  left: LeftOperand,
  right: RightKind,
  rightRange: BufferRange,
  extents: Extents,
  target: ProductTarget,
  options: ProductOptions,
  rightBytes: number,
): void {
  const { rows, columns, inner, whole, ...layout } = extents;
  const { batches = 1, alpha = 1, bias, activation, residual, update, index, counts } = options;
  if (rows === 0 || columns === 0 || batches === 0) return;
  const { program, workgroups } = planProduct(device.capabilities, {
    left: whole && inner > 0 ? "whole" : "masked",
    right,
    bias: bias !== undefined,
    activation,
    residual: residual !== undefined,
    lora: update !== undefined,
    index: index !== undefined,
    counts: counts !== undefined,
  }, { rows, columns, inner, batches });
  device.dispatch(
    program,
    {
      x: left.range,
      w: rightRange,
      y: target.range,
      ...(bias && { bias: bias.range }),
      ...(residual && { residual: residual.range }),
      ...(update && { h: update.h.range, b: update.b.range }),
      ...(index && { index: index.range }),
      ...(counts && { counts: counts.range }),
    },
    {
      ...layout,
      rows,
      columns,
      inner,
      batches,
      alpha,
      first: options.first ?? 0,
      sourceRows: left.rows,
      outRow: target.firstRow ?? 0,
      outColumn: target.firstColumn ?? 0,
      outStride: target.stride,
      counter: options.counter ?? 0,
      rank: update?.rank ?? 0,
      leftBatch: left.batchStride ?? 0,
      outBatch: target.batchStride ?? 0,
    },
    workgroups,
    {
      flops: 2 * batches * rows * columns * (inner + (update?.rank ?? 0)),
      bytes: rightBytes + 4 * batches * rows * (inner + columns),
    },
  );
}
