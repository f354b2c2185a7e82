/**
 * Row ranges of several matrices in one, such as image tokens between text embeddings.
 *
 * @module
 */
import { fill, slice, unslice } from "./movement.ts";
import { copyStrided } from "./strided_copy.ts";
import { accumulate, note } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** Rows of a matrix: all of them, or `length` from `start` on. */
export interface RowPiece {
  /** [n, C]. */
  readonly tensor: Tensor;
  /** Default 0. */
  readonly start?: number;
  /** Default: to the end. */
  readonly length?: number;
}

/**
 * Puts row ranges of several matrices one below the other, such as image tokens between text embeddings.
 *
 * @param pieces At least one; equal dtypes and row lengths.
 * @returns [sum of the lengths, C].
 * @throws {RangeError} when the pieces do not fit or a range leaves its matrix.
 */
export function spliceRows(pieces: readonly RowPiece[]): Tensor {
  const first = pieces[0]?.tensor;
  const columns = first?.shape[1];
  const ranges = pieces.map(({ tensor, start = 0, length = (tensor.shape[0] ?? 0) - start }) => {
    const { shape, dtype } = tensor;
    if (
      shape.length !== 2 || shape[1] !== columns || dtype !== first!.dtype ||
      !Number.isInteger(start) || !Number.isInteger(length) || start < 0 || length < 0 ||
      start + length > shape[0]!
    ) {
      throw new RangeError(
        `Cannot splice rows ${start} to ${start + length} of ${dtype} ${
          shapeText(shape)
        }: expected a range of ${first!.dtype} [n, ${columns}]`,
      );
    }
    return { tensor, start, length };
  });
  if (first === undefined) throw new RangeError("Cannot splice no rows: expected a piece");
  const rows = ranges.reduce((sum, { length }) => sum + length, 0);
  const y = empty(first.device, [rows, columns!], first.dtype, "spliced rows");
  let row = 0;
  for (const { tensor, start, length } of ranges) {
    copyStrided(tensor, y, {
      outer: 1,
      inner: length * columns!,
      sourceOffset: start * columns!,
      targetOffset: row * columns!,
    });
    row += length;
  }
  const sources = [...new Set(ranges.map(({ tensor }) => tensor))];
  note({
    name: "spliceRows",
    inputs: sources,
    outputs: [y],
    saved: [],
    backward: ([gradient], wanted) =>
      sources.map((source, i) => wanted[i] ? gatherPieces(gradient!, source, ranges) : undefined),
  });
  return y;
}

/** The gradient of one source of {@linkcode spliceRows}: every piece of it back in its place. */
function gatherPieces(
  gradient: Tensor,
  source: Tensor,
  ranges: readonly { tensor: Tensor; start: number; length: number }[],
): Tensor {
  const columns = source.shape[1]!;
  const total = fill(source.device, source.shape, 0);
  const covered = new Uint8Array(source.shape[0]!);
  let row = 0;
  for (const { tensor, start, length } of ranges) {
    const from = row;
    row += length;
    if (tensor !== source || length === 0) continue;
    if (covered.subarray(start, start + length).includes(1)) {
      // Rows that were spliced in twice get the sum.
      accumulate(total, unslice(slice(gradient, 0, from, length), source.shape, 0, start));
    } else {
      copyStrided(gradient, total, {
        outer: 1,
        inner: length * columns,
        sourceOffset: from * columns,
        targetOffset: start * columns,
      });
    }
    covered.fill(1, start, start + length);
  }
  return total;
}
