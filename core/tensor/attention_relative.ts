/**
 * Relative positions of attention: their scores, and their gradients.
 *
 * @module
 */
import type { Device } from "../device/mod.ts";
import { relativeTables } from "../kernels/attention_relative.ts";
import {
  relativeQueryGradient,
  relativeTableGradient,
} from "../kernels/attention_relative_gradient.ts";
import type { AttentionShape } from "./attention.ts";
import { broadcastLanes, type LocatedHeads } from "./heads.ts";
import { sumRows } from "./reduction.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

/** Decomposed relative positions (SAM, `add_decomposed_rel_pos`); queries and keys are the same raster. */
export interface RelativePositions {
  /** [2 gridHeight - 1, headSize], row y_query - y_key + gridHeight - 1. */
  readonly height: Tensor;
  /** [2 gridWidth - 1, headSize], row x_query - x_key + gridWidth - 1. */
  readonly width: Tensor;
  /** Height and width of the raster of tokens. */
  readonly grid: readonly [number, number];
}

/** q . row for every query and every row and column of the raster: [batch, heads, tokens, gridHeight + gridWidth]. */
export function relativeScores(
  query: LocatedHeads,
  device: Device,
  { height, width, grid: [gridHeight, gridWidth] }: RelativePositions,
  { batch, heads, headSize }: AttentionShape,
  vectors: boolean,
): Tensor {
  const tokens = gridHeight * gridWidth;
  const table = empty(device, [batch, heads, tokens, gridHeight + gridWidth], "f32", "relative");
  const lanes = broadcastLanes(device);
  device.dispatch(
    relativeTables(headSize, lanes || 32, lanes > 0, vectors),
    {
      query: query.range,
      height: height.range,
      width: width.range,
      output: table.range,
    },
    {
      batch,
      heads,
      gridHeight,
      gridWidth,
      queryOffset: query.offset,
      queryStride: query.stride,
    },
    [batch * heads * Math.ceil(tokens / (lanes || 32))],
    {
      flops: 4 * table.size * headSize,
      bytes: 4 * (table.size + batch * heads * tokens * headSize),
    },
  );
  return table;
}

/** Checks the tables against the shape. @throws {RangeError} when they do not fit. */
export function checkRelative(
  { height, width, grid: [gridHeight, gridWidth] }: RelativePositions,
  { queries, keys, headSize }: AttentionShape,
): void {
  const tokens = gridHeight * gridWidth;
  if (
    tokens !== queries || tokens !== keys ||
    height.size !== (2 * gridHeight - 1) * headSize || width.size !== (2 * gridWidth - 1) * headSize
  ) {
    throw new RangeError(
      `Cannot attend with relative positions ${shapeText(height.shape)} and ${
        shapeText(width.shape)
      } on a raster of ${gridHeight} x ${gridWidth}: expected ${queries} tokens and tables [2 n - 1, ${headSize}]`,
    );
  }
}

/**
 * Adds to the gradient of q what comes through the scores of the tables.
 *
 * @param scores Gradient of {@linkcode relativeScores}.
 * @param queryGradient The gradient of q, complete but for this.
 */
export function addRelativeQueryGradient(
  scores: Tensor,
  queryGradient: LocatedHeads,
  { height, width, grid: [gridHeight, gridWidth] }: RelativePositions,
  { batch, heads, headSize }: AttentionShape,
  vectors: boolean,
): void {
  const { device } = scores, lanes = broadcastLanes(device);
  device.dispatch(
    relativeQueryGradient(headSize, lanes || 32, lanes > 0, vectors),
    {
      scores: scores.range,
      height: height.range,
      width: width.range,
      queryGradient: queryGradient.range,
    },
    {
      batch,
      heads,
      gridHeight,
      gridWidth,
      queryOffset: queryGradient.offset,
      queryStride: queryGradient.stride,
    },
    [batch * heads * Math.ceil(gridHeight * gridWidth / (lanes || 32))],
    {
      flops: 4 * scores.size * headSize,
      bytes: 4 * (scores.size + 2 * batch * heads * gridHeight * gridWidth * headSize),
    },
  );
}

/** Queries that a table's gradient sums up at once: few enough to occupy a device, enough to keep the partial sums few. */
const longestSum = { software: 8192, gpu: 1024 };

/**
 * Gradient of one of the two tables, [2 n - 1, headSize].
 *
 * @param scores Gradient of {@linkcode relativeScores}.
 */
export function relativePositionsGradient(
  table: "height" | "width",
  scores: Tensor,
  query: LocatedHeads,
  { grid: [gridHeight, gridWidth] }: RelativePositions,
  { batch, heads, headSize }: AttentionShape,
  vectors: boolean,
): Tensor {
  const { device } = scores, lanes = broadcastLanes(device);
  const [extent, step, others, otherStep] = table === "height"
    ? [gridHeight, gridWidth, gridWidth, 1]
    : [gridWidth, 1, gridHeight, gridWidth];
  const items = batch * heads, rows = 2 * extent - 1;
  const longest = longestSum[device.capabilities.software ? "software" : "gpu"];
  const part = Math.max(1, Math.floor(longest / (extent * others)));
  const parts = Math.ceil(items / part);
  const sums = empty(device, [parts, rows * headSize], "f32", "table gradient");
  device.dispatch(
    relativeTableGradient(headSize, lanes || 32, lanes > 0, vectors),
    { scores: scores.range, query: query.range, output: sums.range },
    {
      items,
      part,
      heads,
      extent,
      step,
      others,
      otherStep,
      column: table === "height" ? 0 : gridHeight,
      columns: gridHeight + gridWidth,
      queryOffset: query.offset,
      queryStride: query.stride,
    },
    [parts * Math.ceil(rows / (lanes || 32))],
    {
      flops: 2 * items * extent * extent * others * headSize,
      bytes: 4 * (scores.size + rows * items * others * headSize + sums.size),
    },
  );
  return (parts === 1 ? sums : sumRows(sums)).reshape(rows, headSize);
}
