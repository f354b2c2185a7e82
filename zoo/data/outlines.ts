/**
 * Outlines to masks.
 *
 * @module
 */
import { FieldError } from "./fields.ts";
import type { MaskRuns } from "./mask_runs.ts";

/**
 * Most places in which the outlines of one mask cross the middle of a column of pixels. Each takes up to 8 bytes in the
 * runs, however short the list of corners; a real outline crosses a column a few times.
 */
const MAX_CROSSINGS = 2 ** 20;
/** Corners farther out, in pixels, belong to no picture; products of smaller ones are exact enough. */
const MAX_COORDINATE = 2 ** 31;

/** An outline as in COCO files: `x, y, x, y, ...` in pixels, closed by itself. */
export type FlatOutline = readonly number[];

/** Columns whose middle lies between two places, clipped to the picture; the end is exclusive. */
function columnsBetween(x0: number, x1: number, width: number): [first: number, end: number] {
  const clip = (column: number) => Math.min(width, Math.max(0, column));
  return [clip(Math.ceil(Math.min(x0, x1) - 0.5)), clip(Math.ceil(Math.max(x0, x1) - 0.5))];
}

/** Calls for every edge with its ends and the columns it crosses. */
function eachEdge(
  outline: FlatOutline,
  width: number,
  call: (first: number, end: number, x0: number, y0: number, x1: number, y1: number) => void,
): void {
  let x0 = outline[outline.length - 2], y0 = outline[outline.length - 1];
  for (let at = 0; at < outline.length; at += 2) {
    const x1 = outline[at], y1 = outline[at + 1];
    const [first, end] = columnsBetween(x0, x1, width);
    if (end > first) call(first, end, x0, y0, x1, y1);
    [x0, y0] = [x1, y1];
  }
}

/** Adds the stretches of pixels inside an outline, down the columns: start, end, start, end, ... */
function addStretches(
  outline: FlatOutline,
  crossings: number,
  [height, width]: MaskRuns["size"],
  stretches: number[],
): void {
  let left = width, right = 0;
  eachEdge(outline, width, (first, end) => {
    left = Math.min(left, first);
    right = Math.max(right, end);
  });
  // Crossings sorted by column: where those of each column begin, then their heights.
  const starts = new Uint32Array(Math.max(right - left, 0) + 1);
  eachEdge(outline, width, (first, end) => {
    for (let column = first; column < end; column++) starts[column - left + 1]++;
  });
  for (let i = 1; i < starts.length; i++) starts[i] += starts[i - 1];
  const next = starts.slice();
  const heights = new Float64Array(crossings);
  eachEdge(outline, width, (first, end, x0, y0, x1, y1) => {
    for (let column = first; column < end; column++) {
      const along = (column + 0.5 - x0) / (x1 - x0);
      heights[next[column - left]++] = y0 + along * (y1 - y0);
    }
  });
  const row = (y: number) => Math.min(height, Math.max(0, Math.ceil(y - 0.5)));
  for (let column = left; column < right; column++) {
    const inColumn = heights.subarray(starts[column - left], starts[column - left + 1]).sort();
    for (let i = 0; i + 1 < inColumn.length; i += 2) {
      const top = row(inColumn[i]), bottom = row(inColumn[i + 1]);
      if (bottom > top) stretches.push(column * height + top, column * height + bottom);
    }
  }
}

/** Stretches in the order of their starts. */
function sorted(stretches: readonly number[]): number[] {
  const order = Array.from({ length: stretches.length / 2 }, (_, index) => 2 * index)
    .sort((a, b) => stretches[a] - stretches[b]);
  return order.flatMap((at) => [stretches[at], stretches[at + 1]]);
}

/** The runs of stretches in the order of their starts; they may overlap. */
function runsOf(stretches: readonly number[], size: MaskRuns["size"]): MaskRuns {
  const counts: number[] = [];
  let end = 0;
  for (let at = 0; at < stretches.length; at += 2) {
    const start = stretches[at], stop = stretches[at + 1];
    if (start > end || counts.length === 0) counts.push(start - end, stop - start);
    else if (stop > end) counts[counts.length - 1] += stop - end;
    end = Math.max(end, stop);
  }
  const rest = size[0] * size[1] - end;
  if (rest > 0 || counts.length === 0) counts.push(rest);
  return { size, counts };
}

/**
 * The mask of the parts of one object: all pixels whose middle lies inside at least one outline. Where an outline crosses
 * itself, what it goes round twice is outside. Pixels on the edge may differ from those of pycocotools, which
 * draws on a finer grid.
 *
 * @param size Height and width of the picture; what lies outside is cut off.
 * @throws {FieldError} for an odd number of coordinates, fewer than three corners, coordinates beyond 2^31, and outlines
 *   so long and tangled that they cross columns more than 2^20 times.
 */
export function runsOfOutlines(outlines: readonly FlatOutline[], size: MaskRuns["size"]): MaskRuns {
  const crossings = outlines.map((outline, index) => {
    const what = `outline ${index + 1}`;
    if (outline.length % 2 !== 0) {
      throw new FieldError(`${what} has ${outline.length} coordinates, an odd number`);
    }
    if (outline.length < 6) {
      throw new FieldError(`${what} has ${outline.length / 2} corners, fewer than 3`);
    }
    if (!outline.every((value) => Math.abs(value) <= MAX_COORDINATE)) {
      throw new FieldError(`${what} has a corner far outside every picture`);
    }
    let count = 0;
    eachEdge(outline, size[1], (first, end) => count += end - first);
    return count;
  });
  const all = crossings.reduce((sum, count) => sum + count, 0);
  if (all > MAX_CROSSINGS) {
    throw new FieldError(
      `the outlines cross columns of pixels ${all} times, more than the ${MAX_CROSSINGS} allowed`,
    );
  }
  const stretches: number[] = [];
  outlines.forEach((outline, index) => addStretches(outline, crossings[index], size, stretches));
  // Those of one outline are in order already.
  return runsOf(outlines.length === 1 ? stretches : sorted(stretches), size);
}
