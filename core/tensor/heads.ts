/**
 * Views of tokens inside projections and caches, and how kernels bind them.
 *
 * @module
 */
import type { BufferRange, Device } from "../device/mod.ts";
import { shapeText, type Tensor } from "./tensor.ts";

/** Where the heads of one operand lie inside a tensor, so that a fused projection needs no copies. */
export interface HeadsView {
  /** f32. */
  readonly tensor: Tensor;
  /** First element of head 0 of token 0. Default 0. */
  readonly offset?: number;
  /**
   * Elements from one token to the next; the heads of a token are adjacent. Default: the last axis of a tensor of two
   * axes or more if it holds all heads, else heads times head size.
   */
  readonly stride?: number;
}

/** A view with its defaults filled in and the memory it needs. */
export interface LocatedHeads {
  /** What to bind. */
  readonly range: BufferRange;
  /** First element, counted from the start of `range`. */
  readonly offset: number;
  /** Elements from one token to the next. */
  readonly stride: number;
}

/**
 * Checks a view and narrows its binding to the part in use, so that a few tokens of a large cache fit a binding.
 *
 * @param what The operation and operand, for messages: `attend: k`.
 * @param tokens Tokens that are read.
 * @param width Elements per token.
 * @throws {RangeError} when the tensor is not f32, too small for the view, or the part exceeds a binding.
 */
export function locateHeads(
  what: string,
  { tensor, offset = 0, stride }: HeadsView,
  tokens: number,
  width: number,
): LocatedHeads {
  stride ??= Math.max(tensor.shape.length > 1 ? tensor.shape.at(-1)! : 0, width);
  const end = tokens === 0 ? offset : offset + (tokens - 1) * stride + width;
  const misfit = tensor.dtype !== "f32" || !Number.isSafeInteger(offset) || offset < 0 ||
    !Number.isSafeInteger(stride) || stride < width || end > tensor.size;
  if (misfit) {
    throw new RangeError(
      `Cannot ${what} is ${tensor.dtype} ${
        shapeText(tensor.shape)
      } read from element ${offset} with stride ${stride}, expected f32 with ${tokens} tokens of ${width} elements`,
    );
  }
  const { bindingBytes, offsetAlignment } = tensor.device.capabilities;
  const start = Math.floor(4 * offset / offsetAlignment) * offsetAlignment;
  const size = Math.max(4, 4 * end - start);
  if (size > bindingBytes) {
    throw new RangeError(
      `Cannot ${what} takes ${size} bytes, more than the ${bindingBytes} that one binding holds; attend to fewer tokens`,
    );
  }
  const base = (tensor.range.offset ?? 0) + start;
  return {
    range: { buffer: tensor.buffer, offset: base, size },
    offset: offset - start / 4,
    stride,
  };
}

/** Rows of a table that one binding holds. */
export interface RowSpan {
  /** Row of the table that the piece begins with. */
  readonly firstRow: number;
  /** Rows in the piece. */
  readonly rows: number;
  /** What to bind. */
  readonly range: BufferRange;
}

/**
 * A table [rows, columns] in pieces that fit a binding each.
 *
 * @param widest Columns of the widest of several tables that are cut alike. Default: the columns of this one.
 */
export function rowSpans(table: Tensor, widest: number = table.shape[1] ?? 0): RowSpan[] {
  const [rows = 0, columns = 0] = table.shape;
  const { bindingBytes } = table.device.capabilities;
  // 64 rows are a multiple of every offset alignment.
  const most = Math.max(64, Math.floor(bindingBytes / (256 * Math.max(1, widest))) * 64);
  const spans: RowSpan[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += most) {
    const count = Math.min(most, rows - firstRow);
    spans.push({
      firstRow,
      rows: count,
      range: {
        buffer: table.buffer,
        offset: (table.range.offset ?? 0) + 4 * firstRow * columns,
        size: Math.max(4, 4 * count * columns),
      },
    });
  }
  return spans;
}

/** The size of all subgroups of a software adapter whose rows are best broadcast, or 0. */
export function broadcastLanes({ capabilities }: Device): number {
  const { software, subgroups, subgroupSizes: [smallest, largest] } = capabilities;
  return software && subgroups && smallest === largest && smallest >= 4 ? smallest : 0;
}
