/**
 * BLEU (Papineni et al., ACL 2002) in the three implementations that the papers used. They differ in tokens, reference
 * length and smoothing, so their numbers must not be mixed:
 *
 * - {@linkcode bleuHf}: Hugging Face `evaluate` (LiteGPT over the corpus; VividMed per sample, then averaged);
 * - {@linkcode bleuNltk}: NLTK `corpus_bleu` without smoothing (MedPLIB, per sample);
 * - {@linkcode bleuCoco}: pycocoevalcap `Bleu(4)` (PeFoMed).
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { clippedOverlap, largestCounts, ngramCounts } from "./ngrams.ts";
import { splitWhitespace } from "./python_text.ts";
import { StreamingMetric } from "./streaming.ts";
import { tokens13a } from "./tokens.ts";

/** A text and what it should have been. */
export interface TextPair {
  /** The system's text. */
  readonly prediction: string;
  /** One or more references. */
  readonly references: readonly string[];
}

/** A text and its references, cut into tokens. */
export interface TokenPair {
  /** Tokens of the system's text. */
  readonly prediction: readonly string[];
  /** Tokens of one or more references. */
  readonly references: readonly (readonly string[])[];
}

/** What BLEU keeps of a sample. */
export interface BleuCounts {
  /** Per order 1, 2, ...: runs of the prediction that a reference has too, clipped. */
  readonly matches: readonly number[];
  /** Per order: runs of the prediction. */
  readonly possible: readonly number[];
  /** Tokens of the prediction. */
  readonly predictionLength: number;
  /** Tokens of the shortest reference. */
  readonly shortestReference: number;
  /** Length closest to the prediction's; the shorter of two equally close ones. */
  readonly closestReference: number;
}

/** Counts of one sample for orders 1 to `maxOrder`. @throws {InputError} `NO_REFERENCE` without references. */
export function bleuCounts({ prediction, references }: TokenPair, maxOrder = 4): BleuCounts {
  if (references.length === 0) {
    throw new InputError(
      "NO_REFERENCE",
      "Cannot compute BLEU of a sample: it has no reference; give one or more",
    );
  }
  const orders = Array.from({ length: maxOrder }, (_, i) => i + 1);
  const lengths = references.map((reference) => reference.length);
  const distance = (length: number) => Math.abs(length - prediction.length);
  return {
    matches: orders.map((order) =>
      clippedOverlap(
        ngramCounts(prediction, order),
        largestCounts(references.map((reference) => ngramCounts(reference, order))),
      )
    ),
    possible: orders.map((order) => Math.max(0, prediction.length - order + 1)),
    predictionLength: prediction.length,
    shortestReference: Math.min(...lengths),
    closestReference: lengths.reduce((best, length) =>
      distance(length) < distance(best) || (distance(length) === distance(best) && length < best)
        ? length
        : best
    ),
  };
}

interface Sums {
  matches: number[];
  possible: number[];
  predictionLength: number;
  shortestReference: number;
  closestReference: number;
}

function total(samples: readonly BleuCounts[], orders: number): Sums {
  const sums: Sums = {
    matches: new Array(orders).fill(0),
    possible: new Array(orders).fill(0),
    predictionLength: 0,
    shortestReference: 0,
    closestReference: 0,
  };
  for (const one of samples) {
    for (let i = 0; i < orders; i++) {
      sums.matches[i] += one.matches[i];
      sums.possible[i] += one.possible[i];
    }
    sums.predictionLength += one.predictionLength;
    sums.shortestReference += one.shortestReference;
    sums.closestReference += one.closestReference;
  }
  return sums;
}

/** How {@linkcode bleuHf} counts. */
export interface BleuHfOptions {
  /** BLEU-n: the geometric mean over orders 1 to n; 4 by default. */
  readonly maxOrder?: number;
  /** Adds one to matches and runs of every order. */
  readonly smooth?: boolean;
}

/** BLEU and what it is made of. */
export interface BleuHf {
  /** 0 to 1. LiteGPT prints it times 100. */
  readonly bleu: number;
  /** Per order, 0 to 1. */
  readonly precisions: readonly number[];
  /** Factor for short predictions, 0 to 1. */
  readonly brevityPenalty: number;
  /** Prediction length over reference length. */
  readonly lengthRatio: number;
  /** Tokens predicted, over all samples. */
  readonly predictionLength: number;
  /** Sum of the shortest reference of every sample. */
  readonly referenceLength: number;
}

/**
 * {@linkcode bleuHf} of samples that were counted before, with at least `maxOrder` orders.
 *
 * @throws {InputError} `NO_TOKENS` when all predictions or all references are blank.
 */
export function bleuHfOfCounts(
  samples: readonly BleuCounts[],
  { maxOrder = 4, smooth = false }: BleuHfOptions = {},
): BleuHf {
  const sums = total(samples, maxOrder);
  const lengthRatio = sums.predictionLength / sums.shortestReference;
  if (!(lengthRatio > 0 && Number.isFinite(lengthRatio))) {
    throw new InputError(
      "NO_TOKENS",
      `Cannot compute BLEU over ${sums.predictionLength} predicted and ${sums.shortestReference} reference tokens: both must have tokens; leave blank texts out or score them 0`,
    );
  }
  const extra = smooth ? 1 : 0;
  const precisions = sums.matches.map((matches, i) => {
    const possible = sums.possible[i] + extra;
    return possible > 0 ? (matches + extra) / possible : 0;
  });
  const logs = precisions.reduce((sum, precision) => sum + Math.log(precision) / maxOrder, 0);
  const brevityPenalty = lengthRatio > 1 ? 1 : Math.exp(1 - 1 / lengthRatio);
  return {
    bleu: precisions.every((precision) => precision > 0) ? Math.exp(logs) * brevityPenalty : 0,
    precisions,
    brevityPenalty,
    lengthRatio,
    predictionLength: sums.predictionLength,
    referenceLength: sums.shortestReference,
  };
}

/**
 * Corpus BLEU of Hugging Face `evaluate`: 13a tokens, counts summed over the corpus, the SHORTEST reference as length.
 * Without smoothing any order without a match makes it 0.
 *
 * @throws {InputError} `NO_TOKENS` (from `result`) when all predictions or references are blank, where the reference
 * divides by zero; `NO_REFERENCE`.
 */
export function bleuHfMetric(
  options: BleuHfOptions = {},
): StreamingMetric<TextPair, BleuCounts, BleuHf> {
  return new StreamingMetric(
    ({ prediction, references }) =>
      bleuCounts(
        { prediction: tokens13a(prediction), references: references.map(tokens13a) },
        options.maxOrder ?? 4,
      ),
    (samples) => bleuHfOfCounts(samples, options),
  );
}

/** {@linkcode bleuHfMetric} of pairs at hand. */
export function bleuHf(pairs: readonly TextPair[], options: BleuHfOptions = {}): BleuHf {
  const metric = bleuHfMetric(options);
  for (const pair of pairs) metric.add(pair);
  return metric.result();
}

/**
 * BLEU-n of one sample as VividMed takes it: both texts lower-cased, {@linkcode bleuHf} of the pair, 0 for a blank
 * prediction. Its tables are the mean over samples, far below a corpus BLEU.
 */
export function sentenceBleuVividmed({ prediction, references }: TextPair, maxOrder = 4): number {
  if (splitWhitespace(prediction).length === 0) return 0;
  const lower = references.map((reference) => reference.toLowerCase());
  return bleuHf([{ prediction: prediction.toLowerCase(), references: lower }], { maxOrder }).bleu;
}

/** Smallest normal double: what NLTK puts in place of a precision of 0. */
const smallest = 2.2250738585072014e-308;

/** NLTK's brevity penalty: 1 for longer predictions, 0 for an empty one, else exp(1 - reference / prediction). */
export function brevityPenaltyNltk(referenceLength: number, predictionLength: number): number {
  if (predictionLength > referenceLength) return 1;
  return predictionLength === 0 ? 0 : Math.exp(1 - referenceLength / predictionLength);
}

function summariseNltk(samples: readonly BleuCounts[], weights: readonly number[]): number {
  const sums = total(samples, weights.length);
  if (sums.matches[0] === 0) return 0;
  // The denominator of every SAMPLE is at least 1, also for predictions shorter than the order.
  const possible = weights.map((_, i) =>
    samples.reduce((sum, one) => sum + Math.max(1, one.possible[i]), 0)
  );
  const logs = weights.reduce((sum, weight, i) => {
    const precision = sums.matches[i] === 0 ? smallest : sums.matches[i] / possible[i];
    return sum + weight * Math.log(precision);
  }, 0);
  return brevityPenaltyNltk(sums.closestReference, sums.predictionLength) * Math.exp(logs);
}

const uniform: readonly number[] = [0.25, 0.25, 0.25, 0.25];

/**
 * Corpus BLEU of NLTK 3.8 (`corpus_bleu`, no smoothing function) on tokens, 0 to 1. An order without a match counts as
 * 2.2e-308, so the score is tiny instead of 0; without any matching word it is 0.
 *
 * @param weights per order; four equal ones by default
 */
export function bleuNltk(
  pairs: readonly TokenPair[],
  weights: readonly number[] = uniform,
): number {
  return summariseNltk(pairs.map((pair) => bleuCounts(pair, weights.length)), weights);
}

/** {@linkcode bleuNltk} over samples that arrive one at a time. */
export function bleuNltkMetric(
  weights: readonly number[] = uniform,
): StreamingMetric<TokenPair, BleuCounts, number> {
  return new StreamingMetric(
    (pair) => bleuCounts(pair, weights.length),
    (samples) => summariseNltk(samples, weights),
  );
}

/** The four BLEU scores of MedPLIB's `cal_metric.py`. */
export interface BleuMedplib {
  /** Cumulative BLEU-4. */
  readonly bleu: number;
  /** Unigram precision times brevity penalty. */
  readonly bleu1: number;
  /** Bigram precision ALONE times brevity penalty: not cumulative BLEU-2. */
  readonly bleu2: number;
  /** Trigram precision alone times brevity penalty. */
  readonly bleu3: number;
}

/** MedPLIB's sentence BLEU scores: lower-cased, split at white space; weights 1/4 each, or 1 for a single order. */
export function sentenceBleuMedplib(prediction: string, reference: string): BleuMedplib {
  const tokens = (text: string) => splitWhitespace(text.toLowerCase());
  const pair = { prediction: tokens(prediction), references: [tokens(reference)] };
  return {
    bleu: bleuNltk([pair]),
    bleu1: bleuNltk([pair], [1, 0, 0, 0]),
    bleu2: bleuNltk([pair], [0, 1, 0, 0]),
    bleu3: bleuNltk([pair], [0, 0, 1, 0]),
  };
}

const tiny = 1e-15, small = 1e-9;

/** {@linkcode bleuCoco} of samples that were counted before. */
export function bleuCocoOfCounts(samples: readonly BleuCounts[]): number[] {
  const sums = total(samples, 4);
  const ratio = (sums.predictionLength + tiny) / (sums.closestReference + small);
  const penalty = ratio < 1 ? Math.exp(1 - 1 / ratio) : 1;
  let product = 1;
  return sums.matches.map((matches, i) => {
    product *= (matches + tiny) / (sums.possible[i] + small);
    return product ** (1 / (i + 1)) * penalty;
  });
}

/**
 * BLEU-1 to BLEU-4 of pycocoevalcap on tokens: closest reference length, tiny constants instead of zeros. The texts must
 * already be tokenised; see {@linkcode cocoTokensApproximate}.
 *
 * @returns four numbers, 0 to 1
 */
export function bleuCoco(pairs: readonly TokenPair[]): number[] {
  return bleuCocoOfCounts(pairs.map((pair) => bleuCounts(pair)));
}

/** {@linkcode bleuCoco} over samples that arrive one at a time. */
export function bleuCocoMetric(): StreamingMetric<TokenPair, BleuCounts, number[]> {
  return new StreamingMetric((pair) => bleuCounts(pair), bleuCocoOfCounts);
}
