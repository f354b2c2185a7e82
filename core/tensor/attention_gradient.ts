/**
 * Gradient of attention over views of projections.
 *
 * @module
 */
import type { BufferRange, Device, Program } from "../device/mod.ts";
import {
  type AttentionGradientConstants,
  attentionStatistics,
  type GradientSide,
} from "../kernels/attention_gradient.ts";
import { attentionGradientLanes, ownRows } from "../kernels/attention_gradient_lanes.ts";
import { chooseGradientTile } from "../kernels/attention_gradient_parts.ts";
import { attentionGradientTiles } from "../kernels/attention_gradient_tiles.ts";
import type { AttentionShape } from "./attention.ts";
import {
  addRelativeQueryGradient,
  type RelativePositions,
  relativePositionsGradient,
  relativeScores,
} from "./attention_relative.ts";
import { broadcastLanes, type HeadsView, type LocatedHeads } from "./heads.ts";
import { note } from "./tape.ts";
import { empty, type Tensor } from "./tensor.ts";
import { emptyGradient } from "./view_gradient.ts";

/** An attention that was computed, with everything that its way back needs. */
export interface NotedAttention {
  /** q, k and v. */
  readonly views: readonly [HeadsView, HeadsView, HeadsView];
  /** The same, located. */
  readonly located: readonly [LocatedHeads, LocatedHeads, LocatedHeads];
  readonly shape: Required<AttentionShape>;
  readonly scale: number;
  readonly causal: boolean;
  readonly keyLengths: Tensor | undefined;
  readonly relative: RelativePositions | undefined;
  /** All offsets, strides and head sizes are multiples of 4. */
  readonly vectors: boolean;
  /** [batch, queries, heads * valueSize]. */
  readonly output: Tensor;
  /** [batch, heads, queries]. */
  readonly logSums: Tensor;
}

/** The elements of a tensor that a view reads. */
interface Extent {
  readonly tensor: Tensor;
  readonly offset: number;
  readonly stride: number;
  readonly tokens: number;
  readonly width: number;
}

/** A tensor whose gradient is written in one piece. */
interface Target {
  readonly tensor: Tensor;
  readonly extents: Extent[];
}

/** Whether two views of a tensor surely have no element in common. */
function apart(a: Extent, b: Extent): boolean {
  const end = ({ offset, stride, tokens, width }: Extent) => offset + (tokens - 1) * stride + width;
  if (a.tokens * b.tokens === 0 || end(a) <= b.offset || end(b) <= a.offset) return true;
  const columns = ({ offset, stride, width }: Extent): [number, number] => [
    offset % stride,
    offset % stride + width,
  ];
  const [firstA, lastA] = columns(a), [firstB, lastB] = columns(b);
  return a.stride === b.stride && Math.max(lastA, lastB) <= a.stride &&
    (lastA <= firstB || lastB <= firstA);
}

/** Views of the same tensor share a target, unless they overlap: then the tape adds their gradients up. */
function targetsOf(extents: readonly Extent[]): { targets: Target[]; of: Target[] } {
  const targets: Target[] = [];
  const of = extents.map((extent) => {
    const { tensor } = extent;
    let target = targets.find((one) =>
      one.tensor.buffer === tensor.buffer && one.tensor.node === tensor.node &&
      one.extents.every((other) => apart(extent, other))
    );
    if (target === undefined) targets.push(target = { tensor, extents: [] });
    target.extents.push(extent);
    return target;
  });
  return { targets, of };
}

/** The same place in another tensor of the shape. */
function inside(place: LocatedHeads, { buffer }: Tensor): LocatedHeads {
  return { ...place, range: { ...place.range, buffer } };
}

/** One range over two places in the same buffer, and their offsets in it. */
function together(
  a: LocatedHeads,
  b: LocatedHeads,
): { range: BufferRange; offsets: [number, number] } {
  const start = ({ range }: LocatedHeads) => range.offset ?? 0;
  const end = (place: LocatedHeads) => start(place) + place.range.size!;
  const offset = Math.min(start(a), start(b));
  return {
    range: { buffer: a.range.buffer, offset, size: Math.max(end(a), end(b)) - offset },
    offsets: [a.offset + (start(a) - offset) / 4, b.offset + (start(b) - offset) / 4],
  };
}

/** The kernel for a device, and the rows that one of its workgroups owns. */
function chooseProgram(
  device: Device,
  side: GradientSide,
  constants: AttentionGradientConstants,
  owned: number,
  work: number,
  vectors: boolean,
): { program: Program; rowsPerGroup: number } {
  const lanes = broadcastLanes(device);
  if (lanes > 0) {
    const rows = ownRows(side, constants, lanes, owned, work);
    return {
      program: attentionGradientLanes(side, constants, lanes, rows, vectors),
      rowsPerGroup: lanes * rows,
    };
  }
  const tile = chooseGradientTile(constants, device.capabilities);
  return {
    program: attentionGradientTiles(side, constants, tile, vectors),
    rowsPerGroup: 8 * tile.rows,
  };
}

/** Most loop iterations of one invocation: lavapipe ends loops silently after 65535 in total. */
const mostIterations = 60000;

/** Notes an attention on the tape under way. */
export function noteAttention(noted: NotedAttention): void {
  const { views, located, shape, keyLengths, relative, output, logSums } = noted;
  const { batch, queries, keys, heads, keyHeads, headSize, valueSize } = shape;
  const tokens = [batch * queries, batch * keys, batch * keys];
  const widths = [heads * headSize, keyHeads * headSize, keyHeads * valueSize];
  const { targets, of } = targetsOf(views.map(({ tensor, offset = 0 }, i) => ({
    tensor,
    offset,
    stride: located[i]!.stride,
    tokens: tokens[i]!,
    width: widths[i]!,
  })));
  const tables = relative === undefined ? [] : [relative.height, relative.width];
  note({
    name: "attention",
    inputs: [...targets.map(({ tensor }) => tensor), ...tables],
    outputs: [output],
    saved: [
      ...targets.map(({ tensor }) => tensor),
      ...tables,
      ...(keyLengths === undefined ? [] : [keyLengths]),
      output,
      logSums,
    ],
    backward([gradient], wanted) {
      const wants = (target: Target) => wanted[targets.indexOf(target)]!;
      const gradients = targets.map(({ tensor, extents }, i) => {
        const covered = extents.reduce((sum, { tokens, width }) => sum + tokens * width, 0);
        // What nobody wants is scratch memory.
        return emptyGradient(tensor, wanted[i] ? covered : tensor.size);
      });
      const [dq, dk, dv] = located.map((place, i) =>
        inside(place, gradients[targets.indexOf(of[i]!)]!)
      ) as [LocatedHeads, LocatedHeads, LocatedHeads];
      const statistics = queueStatistics(noted, gradient!);
      const scores = relative &&
        relativeScores(located[0], output.device, relative, shape, noted.vectors);
      const queue = (side: GradientSide, results: Results) =>
        queueSide(side, noted, gradient!, statistics, scores, results);
      if (wants(of[1]!) || wants(of[2]!)) {
        queue("key", { key: dk, value: dv, together: of[1] === of[2] });
      }
      const [wantsHeight = false, wantsWidth = false] = wanted.slice(targets.length);
      const results: (Tensor | undefined)[] = targets.map((target, i) =>
        wants(target) ? gradients[i] : undefined
      );
      if (wants(of[0]!) || wantsHeight || wantsWidth) {
        const scoresGradient = scores && empty(output.device, scores.shape, "f32", "relative");
        queue("query", { query: dq, scores: scoresGradient });
        if (relative !== undefined && scoresGradient !== undefined) {
          addRelativeQueryGradient(scoresGradient, dq, relative, shape, noted.vectors);
          const ofTable = (table: "height" | "width") =>
            relativePositionsGradient(
              table,
              scoresGradient,
              located[0],
              relative,
              shape,
              noted.vectors,
            );
          results.push(wantsHeight ? ofTable("height") : undefined);
          results.push(wantsWidth ? ofTable("width") : undefined);
        }
      }
      return results;
    },
  });
}

/** [batch, heads, queries, 2]: the logarithm of the sum and the correction of every query. */
function queueStatistics({ shape, output, logSums }: NotedAttention, gradient: Tensor): Tensor {
  const { batch, queries, heads, valueSize } = shape;
  const rows = batch * queries * heads;
  const statistics = empty(output.device, [batch, heads, queries, 2], "f32", "statistics");
  output.device.dispatch(
    attentionStatistics(valueSize),
    {
      output: output.range,
      gradient: gradient.range,
      logSums: logSums.range,
      statistics: statistics.range,
    },
    { rows, queries, heads },
    [Math.ceil(rows / 64)],
    { flops: 2 * output.size, bytes: 8 * output.size },
  );
  return statistics;
}

/** Where a side leaves its results. */
type Results =
  | { readonly query: LocatedHeads; readonly scores: Tensor | undefined }
  | { readonly key: LocatedHeads; readonly value: LocatedHeads; readonly together: boolean };

function queueSide(
  side: GradientSide,
  { located: [query, key, value], shape, scale, causal, keyLengths, relative, vectors, output }:
    NotedAttention,
  gradient: Tensor,
  statistics: Tensor,
  scores: Tensor | undefined,
  results: Results,
): void {
  const { batch, queries, keys, heads, keyHeads, headSize, valueSize } = shape;
  const [owned, ownHeads] = side === "query" ? [queries, heads] : [keys, keyHeads];
  if (batch * owned === 0) return;
  const constants = {
    headSize,
    valueSize,
    causal,
    padded: keyLengths !== undefined,
    relative: relative !== undefined,
    together: "together" in results && results.together,
  };
  const pairs = batch * heads * queries * keys;
  const group = heads / keyHeads;
  let ranges: Record<string, BufferRange>;
  let offsets: readonly [number, number] = [0, 0];
  if ("query" in results) {
    ranges = {
      queryGradient: results.query.range,
      ...(results.scores && { relativeGradient: results.scores.range }),
    };
  } else if (results.together) {
    const both = together(results.key, results.value);
    ranges = { keyGradient: both.range };
    offsets = both.offsets;
  } else {
    ranges = { keyGradient: results.key.range, valueGradient: results.value.range };
    offsets = [results.key.offset, results.value.offset];
  }
  // Keys that very many queries share are summed over in several rounds.
  const most = side === "query" ? group : Math.max(1, Math.floor(mostIterations / (queries + 1)));
  for (let firstMember = 0; firstMember < group; firstMember += most) {
    const members = Math.min(most, group - firstMember);
    const { program, rowsPerGroup } = chooseProgram(
      output.device,
      side,
      { ...constants, adding: firstMember > 0 },
      owned,
      pairs * (headSize + valueSize),
      vectors,
    );
    const products = side === "query" ? 4 * headSize + 2 * valueSize : 4 * headSize + 4 * valueSize;
    output.device.dispatch(
      program,
      {
        query: query.range,
        key: key.range,
        value: value.range,
        gradient: gradient.range,
        statistics: statistics.range,
        ...(keyLengths && { lengths: keyLengths.range }),
        ...(scores && { relative: scores.range }),
        ...ranges,
      },
      {
        batch,
        queries,
        keys,
        heads,
        group,
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
        keyGradientOffset: offsets[0],
        valueGradientOffset: offsets[1],
        firstMember,
        members,
      },
      [batch * ownHeads * Math.ceil(owned / rowsPerGroup)],
      {
        flops: pairs * products * (causal ? 0.5 : 1) * members / group,
        bytes: 4 * batch * (queries * heads + keys * keyHeads) * (headSize + valueSize) * 2,
      },
    );
  }
}
