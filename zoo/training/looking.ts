/**
 * Where attention itself should look when a box is written: before a digit, one head of a layer at the rows that the edge runs
 * through. A state can point at the right rows without having fetched what they say (`pointing.ts`), and a small model is slow to
 * find out by the answers alone which rows are worth fetching: for boxes that are rare in a place it writes what is usual there.
 * Attention supervised by alignments is that of Liu et al., "Neural machine translation with supervised attention", 2016.
 *
 * @module
 */
import { imageRowCount, type MinigptBatch, type MinigptConfig } from "@medvlm/core/minigpt";
import { attentionLogits, type Parameters, sampleOf, sharedPositions } from "@medvlm/core/nn";
import { add, crossEntropy, type Tensor, tensor, weightedSum } from "@medvlm/core/tensor";
import type { PointingState } from "./pointing.ts";

/** Where the queries of a head should look: at the rows that show the edge, in whatever shares. */
export interface HeadLooking {
  /** Rows of the batch whose queries are meant [N]. */
  readonly rows: Int32Array<ArrayBuffer>;
  /** Added to logits [N, rows]: 0 for what the query may see, and so little for the rest that it does not count. */
  readonly seen: Float32Array<ArrayBuffer>;
  /** The same for the rows of the edge alone. */
  readonly edge: Float32Array<ArrayBuffer>;
  /** Of each query one row of its edge [N]. */
  readonly one: Int32Array<ArrayBuffer>;
}

const unseen = -1e9;

/**
 * Where attention should look in a batch, by head: x1, y1, x2, y2 have a head each, in turn where there are fewer.
 *
 * @returns undefined where no state writes a digit.
 * @throws {RangeError} for a batch whose samples share no beginnings.
 */
export function lookingOf(
  states: readonly PointingState[],
  batch: MinigptBatch,
  config: MinigptConfig,
): readonly HeadLooking[] | undefined {
  const { prefixes, source, tokens, length } = batch, perPicture = imageRowCount(config);
  if (prefixes === undefined) {
    throw new RangeError("Cannot say where attention should look: the batch shares no beginnings");
  }
  const digits = states.filter(({ coordinate }) => coordinate !== undefined);
  if (digits.length === 0) return undefined;
  const first = prefixes.count * prefixes.rows;
  return Array.from({ length: config.llama.heads }, (_, head) => {
    const own = digits.filter(({ coordinate }) => coordinate! % config.llama.heads === head);
    const all = source.length;
    const seen = new Float32Array(own.length * all).fill(unseen), edge = seen.slice();
    const one = own.map(({ row, picture, at }, n) => {
      const sample = sampleOf(batch, row), start = prefixes.of[sample]! * prefixes.rows;
      const see = (from: number, to: number) => seen.fill(0, n * all + from, n * all + to);
      see(start, start + prefixes.rows);
      see(first + sample * length, row + 1);
      const shown = at.map((cell) =>
        source.indexOf(tokens.length + picture * perPicture + cell, start)
      );
      for (const target of shown) edge[n * all + target] = 0;
      return shown[0]!;
    });
    return {
      rows: Int32Array.from(own, ({ row }) => row),
      seen,
      edge,
      one: Int32Array.from(one),
    };
  });
}

/**
 * How far attention is from looking where it should: minus the logarithm of the share that the rows of the edge have of it, mean over
 * the heads, f32 [1].
 *
 * @param states What goes into the layer [rows, H].
 * @param layer Number of the layer, from 0.
 */
export function lookingLoss(
  p: Parameters,
  looking: readonly HeadLooking[],
  { prefixes, size, length }: Pick<MinigptBatch, "prefixes" | "size" | "length">,
  states: Tensor,
  { llama }: MinigptConfig,
  layer: number,
): Tensor {
  const { device } = p;
  const heads = attentionLogits(
    p.at(`model.layers.${layer}.`),
    states,
    llama,
    sharedPositions(prefixes, size, length),
    looking.map(({ rows }) => rows),
  );
  const terms = looking.flatMap(({ seen, edge, one }, head) => {
    const logits = heads[head];
    if (logits === undefined) return [];
    const labels = tensor(device, one);
    // Of both the logit of the label is taken away: what is left is how much more all weigh than the edge.
    const [all, wanted] = [seen, edge].map((mask) =>
      crossEntropy(add(logits, tensor(device, mask, logits.shape)), labels)
    );
    return [{ value: all!, weight: 1 }, { value: wanted!, weight: -1 }];
  });
  const count = terms.length / 2;
  return weightedSum(terms.map(({ value, weight }) => ({ value, weight: weight / count })));
}
