/**
 * CIDEr (Vedantam et al., CVPR 2015) in the form of pycocoevalcap, whose class `Cider` computes CIDEr-D.
 *
 * @module
 */
import { mean } from "./means.ts";
import { ngramCounts } from "./ngrams.ts";
import { splitWhitespace } from "./python_text.ts";
import { StreamingMetric } from "./streaming.ts";
import type { TextPair } from "./bleu.ts";

/** Longest run of tokens that counts. */
const maxOrder = 4;
/** Width of the penalty for different lengths. */
const sigma = 6;

/** How often every run of tokens occurs in one text, one table per length 1 to 4. */
export type RunCounts = readonly ReadonlyMap<string, number>[];

/** What CIDEr keeps of a sample. */
export interface CiderCounts {
  /** Runs of the prediction. */
  readonly prediction: RunCounts;
  /** Runs of every reference. */
  readonly references: readonly RunCounts[];
}

function runs(text: string): RunCounts {
  const tokens = splitWhitespace(text);
  return Array.from({ length: maxOrder }, (_, i) => ngramCounts(tokens, i + 1));
}

interface Weighted {
  /** Per order, the weight of every run. */
  readonly weights: readonly ReadonlyMap<string, number>[];
  readonly norms: readonly number[];
  /** Number of pairs of tokens, which stands for the length. */
  readonly length: number;
}

function weigh(
  counts: RunCounts,
  frequency: ReadonlyMap<string, number>,
  samples: number,
): Weighted {
  const logSamples = Math.log(samples);
  const weights = counts.map((table) =>
    new Map(
      Array.from(table, ([run, count]) => [
        run,
        count * (logSamples - Math.log(Math.max(1, frequency.get(run) ?? 0))),
      ]),
    )
  );
  const norms = weights.map((table) => {
    let sum = 0;
    for (const weight of table.values()) sum += weight ** 2;
    return Math.sqrt(sum);
  });
  let length = 0;
  for (const count of counts[1].values()) length += count;
  return { weights, norms, length };
}

function similarity(prediction: Weighted, reference: Weighted): number {
  const penalty = Math.exp(-((prediction.length - reference.length) ** 2) / (2 * sigma ** 2));
  let sum = 0;
  for (let order = 0; order < maxOrder; order++) {
    let product = 0;
    for (const [run, weight] of prediction.weights[order]) {
      const other = reference.weights[order].get(run);
      if (other !== undefined) product += Math.min(weight, other) * other;
    }
    const norm = prediction.norms[order] * reference.norms[order];
    sum += (norm === 0 ? product : product / norm) * penalty;
  }
  return sum / maxOrder;
}

/** CIDEr over a corpus. */
export interface Cider {
  /** Mean over samples, 0 to 10; 0 for a corpus of one, whose runs all have weight 0. */
  readonly cider: number;
  /** Score of every sample, in the order of arrival, 0 to 10. */
  readonly perSample: readonly number[];
}

function summarise(samples: readonly CiderCounts[]): Cider {
  const frequency = new Map<string, number>();
  for (const { references } of samples) {
    const seen = new Set(references.flatMap((one) => one.flatMap((table) => [...table.keys()])));
    for (const run of seen) frequency.set(run, (frequency.get(run) ?? 0) + 1);
  }
  const perSample = samples.map(({ prediction, references }) => {
    const predicted = weigh(prediction, frequency, samples.length);
    const scores = references.map((one) =>
      similarity(predicted, weigh(one, frequency, samples.length))
    );
    return 10 * mean(scores);
  });
  return { cider: mean(perSample), perSample };
}

/**
 * CIDEr-D: runs of one to four tokens weighted by how rare they are among the references, clipped, penalised for different
 * lengths, times 10. The texts must already be tokenised (PeFoMed: {@linkcode cocoTokensApproximate} joined by blanks).
 */
export function ciderMetric(): StreamingMetric<TextPair, CiderCounts, Cider> {
  return new StreamingMetric<TextPair, CiderCounts, Cider>(
    ({ prediction, references }) => ({
      prediction: runs(prediction),
      references: references.map(runs),
    }),
    summarise,
  );
}

/** {@linkcode ciderMetric} of pairs at hand. */
export function cider(pairs: readonly TextPair[]): Cider {
  const metric = ciderMetric();
  for (const pair of pairs) metric.add(pair);
  return metric.result();
}

/**
 * CIDEr as LiteGPT calls it (tables 4 and 5): the roles are swapped, so that rarity is measured among the PREDICTIONS; raw
 * texts split at white space. Not multiplied by 100.
 */
export function ciderLitegpt(
  pairs: readonly { readonly prediction: string; readonly reference: string }[],
): Cider {
  return cider(pairs.map(({ prediction, reference }) => ({
    prediction: reference,
    references: [prediction],
  })));
}
