/**
 * ROUGE (Lin, 2004): google-research's implementation, which LiteGPT and VividMed call through Hugging Face `evaluate`, and
 * ROUGE-L of the COCO caption evaluation, which PeFoMed uses.
 *
 * @module
 */
import { mean } from "./means.ts";
import { clippedOverlap, ngramCounts } from "./ngrams.ts";
import { splitSentences } from "./punkt.ts";
import type { PunktParameters } from "./punkt.ts";
import { stripText } from "./python_text.ts";
import { StreamingMetric } from "./streaming.ts";
import { rougeTokens } from "./tokens.ts";

/** Precision, recall and their harmonic mean, each 0 to 1. */
export interface RougeScore {
  /** Shared over predicted. */
  readonly precision: number;
  /** Shared over wanted. */
  readonly recall: number;
  /** Harmonic mean of both; 0 when nothing is shared. */
  readonly f1: number;
}

/** The variants of ROUGE. */
export interface RougeScores {
  /** Shared words. */
  readonly rouge1: RougeScore;
  /** Shared pairs of words. */
  readonly rouge2: RougeScore;
  /** Longest common subsequence of the whole texts. */
  readonly rougeL: RougeScore;
  /** Longest common subsequences per line; lines are separated by newlines. */
  readonly rougeLsum: RougeScore;
}

function score(shared: number, predicted: number, wanted: number): RougeScore {
  const precision = shared / Math.max(predicted, 1), recall = shared / Math.max(wanted, 1);
  const sum = precision + recall;
  return { precision, recall, f1: sum > 0 ? 2 * precision * recall / sum : 0 };
}

function rougeN(prediction: readonly string[], reference: readonly string[], order: number) {
  const predicted = ngramCounts(prediction, order), wanted = ngramCounts(reference, order);
  const runs = (tokens: readonly string[]) => Math.max(0, tokens.length - order + 1);
  return score(clippedOverlap(wanted, predicted), runs(prediction), runs(reference));
}

/** Length of the longest common subsequence, in O(n m) time and O(m) memory. */
export function longestCommonSubsequence(a: readonly string[], b: readonly string[]): number {
  let previous = new Uint32Array(b.length + 1), current = new Uint32Array(b.length + 1);
  for (const token of a) {
    for (let j = 0; j < b.length; j++) {
      current[j + 1] = token === b[j] ? previous[j] + 1 : Math.max(previous[j + 1], current[j]);
    }
    [previous, current] = [current, previous];
  }
  return previous[b.length];
}

/** Which positions of the reference one longest common subsequence takes; ties move up in the reference. */
function commonPositions(reference: readonly string[], prediction: readonly string[]): number[] {
  const width = prediction.length + 1;
  const table = new Uint32Array((reference.length + 1) * width);
  for (let i = 1; i <= reference.length; i++) {
    for (let j = 1; j < width; j++) {
      table[i * width + j] = reference[i - 1] === prediction[j - 1]
        ? table[(i - 1) * width + j - 1] + 1
        : Math.max(table[(i - 1) * width + j], table[i * width + j - 1]);
    }
  }
  const positions: number[] = [];
  for (let i = reference.length, j = prediction.length; i > 0 && j > 0;) {
    if (reference[i - 1] === prediction[j - 1]) {
      positions.push(--i);
      j--;
    } else if (table[i * width + j - 1] > table[(i - 1) * width + j]) j--;
    else i--;
  }
  return positions;
}

function rougeLsum(prediction: readonly string[][], reference: readonly string[][]): RougeScore {
  const allPredicted = prediction.flat(), allWanted = reference.flat();
  if (allPredicted.length === 0 || allWanted.length === 0) return score(0, 0, 0);
  const left = [ngramCounts(allWanted, 1), ngramCounts(allPredicted, 1)];
  let shared = 0;
  for (const line of reference) {
    const union = new Set(prediction.flatMap((other) => commonPositions(line, other)));
    for (const position of [...union].sort((a, b) => a - b)) {
      const token = line[position];
      // Counters of the whole texts: a word is not counted more often than either text has it.
      if (!left.every((counts) => (counts.get(token) ?? 0) > 0)) continue;
      shared++;
      for (const counts of left) counts.set(token, counts.get(token)! - 1);
    }
  }
  return score(shared, allPredicted.length, allWanted.length);
}

/** How words are compared. */
export interface RougeOptions {
  /** Porter-stem words of more than three characters; false by default. */
  readonly stem?: boolean;
}

/**
 * ROUGE-1, -2, -L and -Lsum of one pair (google-research `rouge_scorer`). Only a-z and 0-9 make words, so a text without
 * them scores 0.
 */
export function rouge(
  prediction: string,
  reference: string,
  { stem = false }: RougeOptions = {},
): RougeScores {
  const predicted = rougeTokens(prediction, stem), wanted = rougeTokens(reference, stem);
  const lines = (text: string) =>
    text.split("\n").filter((line) => line !== "").map((line) => rougeTokens(line, stem));
  return {
    rouge1: rougeN(predicted, wanted, 1),
    rouge2: rougeN(predicted, wanted, 2),
    rougeL: score(longestCommonSubsequence(wanted, predicted), predicted.length, wanted.length),
    rougeLsum: rougeLsum(lines(prediction), lines(reference)),
  };
}

/** Strips a text and puts every sentence on a line of its own, as LiteGPT does before scoring. */
export function sentencePerLine(text: string, punkt?: PunktParameters): string {
  return splitSentences(stripText(text), punkt).join("\n");
}

/**
 * ROUGE as LiteGPT computes it (tables 4 and 5): stemmed, one sentence per line. The paper prints 100 times the MEDIAN of
 * 1000 unseeded bootstrap means; take the mean, and an interval for how far such a median wobbles.
 */
export function rougeLitegpt(
  prediction: string,
  reference: string,
  punkt?: PunktParameters,
): RougeScores {
  return rouge(sentencePerLine(prediction, punkt), sentencePerLine(reference, punkt), {
    stem: true,
  });
}

/** ROUGE as VividMed computes it (tables 2 and 3): both texts lower-cased, not stemmed; the tables are means over samples. */
export function rougeVividmed(prediction: string, reference: string): RougeScores {
  return rouge(prediction.toLowerCase(), reference.toLowerCase());
}

/** F1 of the four variants, 0 to 1. */
export type RougeF1 = Readonly<Record<keyof RougeScores, number>>;

const variants = ["rouge1", "rouge2", "rougeL", "rougeLsum"] as const;

/** Mean F1 over samples; `measure` scores one pair, {@linkcode rouge} by default. */
export function rougeMetric(
  measure: (prediction: string, reference: string) => RougeScores = rouge,
): StreamingMetric<{ prediction: string; reference: string }, RougeScores, RougeF1> {
  return new StreamingMetric(
    ({ prediction, reference }) => measure(prediction, reference),
    (samples) =>
      Object.fromEntries(
        variants.map((variant) => [variant, mean(samples.map((one) => one[variant].f1))]),
      ) as RougeF1,
  );
}

/**
 * ROUGE-L of pycocoevalcap, 0 to 1: words between single blanks, the best precision and the best recall over the
 * references, weighted with beta = 1.2. The texts must already be tokenised; an empty text is one empty word.
 */
export function rougeLCoco(prediction: string, references: readonly string[]): number {
  const beta = 1.2;
  const predicted = prediction.split(" ");
  let precision = 0, recall = 0;
  for (const reference of references) {
    const wanted = reference.split(" ");
    const shared = longestCommonSubsequence(wanted, predicted);
    precision = Math.max(precision, shared / predicted.length);
    recall = Math.max(recall, shared / wanted.length);
  }
  return precision === 0 || recall === 0
    ? 0
    : (1 + beta ** 2) * precision * recall / (recall + beta ** 2 * precision);
}
