/**
 * Which option of a multiple-choice question a free answer means, for OmniMedVQA (Hu et al., CVPR 2024), whose
 * question-answering score takes the option most similar to the answer.
 *
 * @module
 */
import { type GroupedMeans, groupedMeans, type ScoredSample } from "./means.ts";
import { StreamingMetric } from "./streaming.ts";
import { closedMatch } from "./vqa.ts";

/**
 * Similarity of two strings, 0 to 1: twice the characters in matching blocks over all characters, where the longest common
 * block is taken first and then the parts left and right of it (Ratcliff and Obershelp; Python's `difflib` ratio without
 * its rule for frequent characters).
 */
export function blockSimilarity(a: string, b: string): number {
  const first = [...a], second = [...b];
  const length = first.length + second.length;
  if (length === 0) return 1;
  let shared = 0;
  const parts: [number, number, number, number][] = [[0, first.length, 0, second.length]];
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    const [fromA, toA, fromB, toB] = part;
    const block = longestBlock(first, second, part);
    if (block.size === 0) continue;
    shared += block.size;
    parts.push([fromA, block.a, fromB, block.b]);
    parts.push([block.a + block.size, toA, block.b + block.size, toB]);
  }
  return 2 * shared / length;
}

/** The longest common block, the earliest in `a`, then in `b`. */
function longestBlock(
  a: readonly string[],
  b: readonly string[],
  [fromA, toA, fromB, toB]: readonly [number, number, number, number],
): { a: number; b: number; size: number } {
  let best = { a: fromA, b: fromB, size: 0 };
  let previous = new Uint32Array(toB - fromB + 1), current = new Uint32Array(previous.length);
  for (let i = fromA; i < toA; i++) {
    for (let j = fromB; j < toB; j++) {
      const size = a[i] === b[j] ? previous[j - fromB] + 1 : 0;
      current[j - fromB + 1] = size;
      if (size > best.size) best = { a: i + 1 - size, b: j + 1 - size, size };
    }
    [previous, current] = [current, previous];
  }
  return best;
}

/**
 * The option that an answer means: the one it names by its letter alone (`B`, `(b)`, `B.`), else the one it equals after
 * normalisation, else the most similar one; the first of equally similar ones.
 *
 * @returns the option's place, -1 without options
 */
export function matchChoice(answer: string, options: readonly string[]): number {
  const letter = /^\s*\(?([a-z])\s*[).:]?\s*$/i.exec(answer)?.[1].toUpperCase();
  const place = letter === undefined ? -1 : letter.charCodeAt(0) - 65;
  if (place >= 0 && place < options.length) return place;
  const equal = options.findIndex((option) => closedMatch(answer, option) === 1);
  if (equal >= 0) return equal;
  const lower = answer.toLowerCase();
  const scores = options.map((option) => blockSimilarity(option.toLowerCase(), lower));
  return scores.indexOf(Math.max(...scores));
}

/** A multiple-choice answer. */
export interface ChoiceAnswer {
  /** The system's answer, free text. */
  readonly prediction: string;
  /** The right option, word for word. */
  readonly reference: string;
  /** All options, in the order of their letters. */
  readonly options: readonly string[];
  /** Imaging modality, or any other group. */
  readonly modality?: string;
}

/** Accuracy of {@linkcode matchChoice}, in total and per modality; the papers' mean is `classMean`, over modalities. */
export function choiceMetric(): StreamingMetric<ChoiceAnswer, ScoredSample, GroupedMeans> {
  return new StreamingMetric(
    ({ prediction, reference, options, modality }): ScoredSample => ({
      score: Number(options[matchChoice(prediction, options)] === reference),
      ...(modality === undefined ? {} : { group: modality }),
    }),
    (samples) => groupedMeans(samples),
  );
}

/**
 * Accuracy of closed questions as MedPLIB scores OmniMedVQA (`cal_metric_omniMedVQA.py`): the normalised strings must be
 * equal, options are not looked at. The table's mean is `classMean`, over modalities.
 */
export function closedAccuracyMedplib(): StreamingMetric<
  Omit<ChoiceAnswer, "options">,
  ScoredSample,
  GroupedMeans
> {
  return new StreamingMetric(
    ({ prediction, reference, modality }): ScoredSample => ({
      score: closedMatch(prediction, reference),
      ...(modality === undefined ? {} : { group: modality }),
    }),
    (samples) => groupedMeans(samples),
  );
}
