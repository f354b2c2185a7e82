/**
 * Attention over views of projections.
 *
 * @module
 */
import type { Device, Program } from "../device/mod.ts";
import type { AttentionConstants } from "../kernels/attention.ts";
import { attentionLanes, queriesPerLane } from "../kernels/attention_lanes.ts";
import { attentionTiles, chooseTile } from "../kernels/attention_tiles.ts";
import { noteAttention } from "./attention_gradient.ts";
import { checkRelative, type RelativePositions, relativeScores } from "./attention_relative.ts";
import { broadcastLanes, type HeadsView, locateHeads } from "./heads.ts";
import { isDifferentiated } from "./tape.ts";
import { empty, shapeText, type Tensor } from "./tensor.ts";

export { decodeAttention, type DecodeShape } from "./decode_attention.ts";
export type { RelativePositions } from "./attention_relative.ts";
export type { HeadsView } from "./heads.ts";

/** Extents of an attention. */
export interface AttentionShape {
  /** Independent items, each with queries and keys of its own. */
  readonly batch: number;
  /** Queries per batch item. */
  readonly queries: number;
  /** Keys per batch item. */
  readonly keys: number;
  /** Query heads. */
  readonly heads: number;
  /** Heads of keys and values, a divisor of `heads`: query head h uses key head h / (heads / keyHeads). Default `heads`. */
  readonly keyHeads?: number;
  /** Elements per head, 1 to 256. */
  readonly headSize: number;
  /** Elements per head of the values and the output. Default `headSize`. */
  readonly valueSize?: number;
}

/** What modifies an attention. */
export interface AttentionOptions {
  /** Factor of q . k. Default 1 / sqrt(headSize). */
  readonly scale?: number;
  /** Query i sees the keys j <= i + keys - queries. Default false. */
  readonly causal?: boolean;
  /** u32 [batch]: keys from this index on are padding, which no query sees. */
  readonly keyLengths?: Tensor;
  /** Bias from the distance of query and key on a raster. Default none. */
  readonly relative?: RelativePositions;
}

/** The kernel for a device, and the queries that one of its workgroups takes. */
function chooseProgram(
  device: Device,
  constants: AttentionConstants,
  work: number,
  vectors: boolean,
): { program: Program; queriesPerGroup: number } {
  const lanes = broadcastLanes(device);
  if (lanes > 0) {
    const rows = queriesPerLane(constants, work);
    return {
      program: attentionLanes(constants, lanes, rows, vectors),
      queriesPerGroup: lanes * rows,
    };
  }
  const tile = chooseTile(constants.valueSize, device.capabilities);
  return { program: attentionTiles(constants, tile, vectors), queriesPerGroup: 8 * tile.rows };
}

/**
 * softmax(scale * q k^T + relative) v for every head, with keys hidden as the options say. A query without visible keys
 * gives zeros. Padded queries (behind `keyLengths`) still attend to the visible keys.
 *
 * Differentiable by q, k, v and the tables; the way back keeps the output and one number per query and head, and recomputes the
 * probabilities.
 *
 * @param q batch * queries tokens of heads * headSize.
 * @param k batch * keys tokens of keyHeads * headSize.
 * @param v batch * keys tokens of keyHeads * valueSize.
 * @returns [batch, queries, heads * valueSize].
 * @throws {RangeError} when a view, the lengths or the tables do not fit the shape.
 */
export function attention(
  q: HeadsView,
  k: HeadsView,
  v: HeadsView,
  shape: AttentionShape,
  options: AttentionOptions = {},
): Tensor {
  const { batch, queries, keys, heads, keyHeads = heads, headSize, valueSize = headSize } = shape;
  const extents = [batch, queries, keys, heads, keyHeads, headSize, valueSize];
  if (
    extents.some((extent) => !Number.isSafeInteger(extent) || extent < 0) ||
    Math.min(heads, keyHeads, headSize, valueSize) < 1 ||
    heads % keyHeads !== 0 || Math.max(headSize, valueSize) > 256
  ) {
    throw new RangeError(
      `Cannot attend with [batch, queries, keys, heads, keyHeads, headSize, valueSize] = ${
        shapeText(extents)
      }: expected keyHeads to divide heads and head sizes of 1 to 256`,
    );
  }
  const query = locateHeads("attend: q", q, batch * queries, heads * headSize);
  const key = locateHeads("attend: k", k, batch * keys, keyHeads * headSize);
  const value = locateHeads("attend: v", v, batch * keys, keyHeads * valueSize);
  const { scale = 1 / Math.sqrt(headSize), causal = false, keyLengths } = options;
  if (keyLengths !== undefined && (keyLengths.dtype !== "u32" || keyLengths.size !== batch)) {
    throw new RangeError(
      `Cannot attend with key lengths ${keyLengths.dtype} ${
        shapeText(keyLengths.shape)
      }: expected u32 [${batch}]`,
    );
  }
  const { relative } = options;
  if (relative !== undefined) checkRelative(relative, shape);
  const { device } = q.tensor;
  const output = empty(device, [batch, queries, heads * valueSize], "f32", "attention");
  if (batch * queries === 0) return output;
  const vectors =
    [query, key, value].every(({ offset, stride }) => offset % 4 === 0 && stride % 4 === 0) &&
    headSize % 4 === 0 && valueSize % 4 === 0;
  const table = relative && relativeScores(query, device, relative, shape, vectors);
  const constants = {
    headSize,
    valueSize,
    causal,
    padded: keyLengths !== undefined,
    relative: relative !== undefined,
    logSums: isDifferentiated(q.tensor, k.tensor, v.tensor, relative?.height, relative?.width),
  };
  const logSums = constants.logSums
    ? empty(device, [batch, heads, queries], "f32", "log sums")
    : undefined;
  const { program, queriesPerGroup } = chooseProgram(
    device,
    constants,
    batch * heads * queries * keys * (headSize + valueSize),
    vectors,
  );
  device.dispatch(
    program,
    {
      query: query.range,
      key: key.range,
      value: value.range,
      lengths: keyLengths?.range ?? query.range,
      relative: table?.range ?? query.range,
      output: output.range,
      ...(logSums && { logSums: logSums.range }),
    },
    {
      batch,
      queries,
      keys,
      heads,
      group: heads / keyHeads,
      queryOffset: query.offset,
      queryStride: query.stride,
      keyOffset: key.offset,
      keyStride: key.stride,
      valueOffset: value.offset,
      valueStride: value.stride,
      gridHeight: relative?.grid[0] ?? 1,
      gridWidth: relative?.grid[1] ?? 1,
      shift: keys - queries,
      scale,
    },
    [batch * heads * Math.ceil(queries / queriesPerGroup)],
    {
      flops: 2 * batch * heads * queries * keys * (headSize + valueSize) * (causal ? 0.5 : 1),
      bytes: 4 * batch * (queries * heads + keys * keyHeads) * (headSize + valueSize),
    },
  );
  table?.dispose();
  if (logSums !== undefined) {
    noteAttention({
      views: [q, k, v],
      located: [query, key, value],
      shape: { batch, queries, keys, heads, keyHeads, headSize, valueSize },
      scale,
      causal,
      keyLengths,
      relative,
      vectors,
      output,
      logSums,
    });
  }
  return output;
}
