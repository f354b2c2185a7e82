/**
 * Scores of answers to questions about images: exact match, shared words, accuracy per question type.
 *
 * @module
 */
import { type BleuMedplib, sentenceBleuMedplib } from "./bleu.ts";
import { groupedMeans, mean } from "./means.ts";
import { clippedOverlap, ngramCounts } from "./ngrams.ts";
import { roundHalfEven, splitWhitespace } from "./python_text.ts";
import { StreamingMetric } from "./streaming.ts";
import { normaliseMedplib, normalisePefomed } from "./vqa_normalise.ts";

/** Precision, recall and F1 of words, each 0 to 1. */
export interface TokenScores {
  /** Shared words over predicted ones. */
  readonly precision: number;
  /** Shared words over wanted ones. */
  readonly recall: number;
  /** Harmonic mean of both; 0 when nothing is shared. */
  readonly f1: number;
}

const noScores: TokenScores = { precision: 0, recall: 0, f1: 0 };

function scoresOf(precision: number, recall: number): TokenScores {
  return { precision, recall, f1: 2 * (precision * recall) / (precision + recall) };
}

/**
 * Precision and recall of words as usually defined (SQuAD): every shared word counts as often as both texts have it.
 * Words are lower-cased and split at white space, or cut by `tokens`.
 */
export function tokenOverlap(
  prediction: string,
  reference: string,
  tokens: (text: string) => readonly string[] = (text) => splitWhitespace(text.toLowerCase()),
): TokenScores {
  const predicted = tokens(prediction), wanted = tokens(reference);
  const shared = clippedOverlap(ngramCounts(predicted, 1), ngramCounts(wanted, 1));
  return shared === 0 ? noScores : scoresOf(shared / predicted.length, shared / wanted.length);
}

const wordCounts = (text: string) => ngramCounts(splitWhitespace(normaliseMedplib(text)), 1);

/**
 * Precision and recall of words as MedPLIB computes them (`calculate_f1score`, tables 1 and 3): a shared word counts as
 * often as the PREDICTION has it, on both sides, so recall grows with repetition. The texts are normalised here, and
 * `cal_metric.py` normalises them once before.
 */
export function tokenOverlapMedplib(prediction: string, reference: string): TokenScores {
  const predicted = wordCounts(prediction), wanted = wordCounts(reference);
  let shared = 0, extra = 0, missed = 0;
  for (const [word, count] of predicted) {
    if (wanted.has(word)) shared += count;
    else extra += count;
  }
  for (const [word, count] of wanted) if (!predicted.has(word)) missed += count;
  return shared === 0 ? noScores : scoresOf(shared / (shared + extra), shared / (shared + missed));
}

/**
 * MedPLIB's "exact match" (`calculate_exactmatch`): distinct reference words that the prediction has, over all words of the
 * prediction. A form of precision, not an exact match.
 */
export function exactMatchMedplib(prediction: string, reference: string): number {
  const predicted = wordCounts(prediction), wanted = wordCounts(reference);
  let total = 0, found = 0;
  for (const count of predicted.values()) total += count;
  for (const word of wanted.keys()) if (predicted.has(word)) found++;
  return total === 0 ? 0 : found / total;
}

/**
 * Whether an open answer is right by choice among candidates (MedPLIB): of all candidates the one with the largest share of
 * its distinct words in the prediction, the first of equal ones, must be the reference, or the answer itself must. 0 or 1.
 */
export function candidateMatchMedplib(
  prediction: string,
  reference: string,
  candidates: readonly string[],
): number {
  const predicted = wordCounts(prediction), wanted = normaliseMedplib(reference);
  const shares = candidates.map((candidate) => {
    const words = [...wordCounts(normaliseMedplib(candidate)).keys()];
    return words.length === 0
      ? 0
      : words.filter((word) => predicted.has(word)).length / words.length;
  });
  const best = shares.indexOf(Math.max(...shares));
  const isChosen = best >= 0 && normaliseMedplib(candidates[best]) === wanted;
  return Number(isChosen || normaliseMedplib(prediction) === wanted);
}

/** Whether a closed answer is right: the normalised strings are equal. 0 or 1. */
export function closedMatch(
  prediction: string,
  reference: string,
  normalise: (answer: string) => string = normaliseMedplib,
): number {
  return Number(normalise(prediction) === normalise(reference));
}

/** Exact match as VividMed computes it: equal after lower-casing, nothing stripped. Trailing NUL characters do not count. */
export function exactMatchVividmed(prediction: string, reference: string): number {
  // numpy compares strings of fixed width, which are filled up with NUL.
  const bare = (text: string) => text.toLowerCase().replace(/\0+$/, "");
  return Number(bare(prediction) === bare(reference));
}

/** A question's answer with MedPLIB's kind of question. */
export interface MedplibAnswer {
  /** The system's answer. */
  readonly prediction: string;
  /** The expected answer. */
  readonly reference: string;
  /** `open`, `other` and `number` are scored by words, `yes/no` and `closed` by equality; case does not matter. */
  readonly answerType: string;
}

/** What MedPLIB's `cal_metric.py` prints, as fractions; NaN for kinds of question that do not occur. */
export interface MedplibVqa {
  /** Means over open questions, each 0 to 1. */
  readonly open: TokenScores & BleuMedplib & { readonly exactMatch: number };
  /** The printed "yes/no accuracy". */
  readonly closedAccuracy: number;
  /** Questions scored by words. */
  readonly openCount: number;
  /** Questions scored by equality. */
  readonly closedCount: number;
}

/** Scores of one answer. */
export type MedplibScores = MedplibVqa["open"] | number | undefined;

const openTypes = new Set(["open", "other", "number"]), closedTypes = new Set(["yes/no", "closed"]);

function scoreMedplib({ prediction, reference, answerType }: MedplibAnswer): MedplibScores {
  const type = answerType.toLowerCase();
  const predicted = normaliseMedplib(prediction.toLowerCase());
  const wanted = normaliseMedplib(reference.toLowerCase());
  if (closedTypes.has(type)) return Number(predicted === wanted);
  if (!openTypes.has(type)) return undefined;
  return {
    ...tokenOverlapMedplib(predicted, wanted),
    ...sentenceBleuMedplib(predicted, wanted),
    exactMatch: exactMatchMedplib(predicted, wanted),
  };
}

/** MedPLIB's scores over questions (MeCoVQA; tables 1, 3 and 4 print precision and recall times 100). */
export function medplibVqaMetric(): StreamingMetric<MedplibAnswer, MedplibScores, MedplibVqa> {
  return new StreamingMetric(scoreMedplib, (all) => {
    const open = all.filter((one) => typeof one === "object");
    const closed = all.filter((one) => typeof one === "number");
    const average = (of: (one: MedplibVqa["open"]) => number) => mean(open.map(of));
    return {
      open: {
        precision: average((one) => one.precision),
        recall: average((one) => one.recall),
        f1: average((one) => one.f1),
        exactMatch: average((one) => one.exactMatch),
        bleu: average((one) => one.bleu),
        bleu1: average((one) => one.bleu1),
        bleu2: average((one) => one.bleu2),
        bleu3: average((one) => one.bleu3),
      },
      closedAccuracy: mean(closed),
      openCount: open.length,
      closedCount: closed.length,
    };
  });
}

/** An answer with PeFoMed's kinds of question. */
export interface PefomedAnswer {
  /** The system's answer. */
  readonly prediction: string;
  /** The expected answer. */
  readonly reference: string;
  /** What is asked for, such as `SIZE`. */
  readonly questionType: string;
  /** `OPEN` or `CLOSED`. */
  readonly answerType: string;
}

/** Accuracy in percent with two decimals, rounded as Python rounds. */
export interface PefomedVqa {
  /** Over all questions. */
  readonly overall: number;
  /** Per question type. */
  readonly perQuestionType: Readonly<Record<string, number>>;
  /** Per answer type. */
  readonly perAnswerType: Readonly<Record<string, number>>;
}

/** PeFoMed's accuracy (`MedVQAEval`): equality after normalisation, overall, per question type and per answer type. */
export function pefomedVqaMetric(): StreamingMetric<
  PefomedAnswer,
  PefomedAnswer & { readonly score: number },
  PefomedVqa
> {
  return new StreamingMetric(
    (answer) => ({
      ...answer,
      score: closedMatch(answer.prediction, answer.reference, normalisePefomed),
    }),
    (answers) => {
      const percent = (value: number) => roundHalfEven(100 * value, 2);
      const by = (kind: "questionType" | "answerType") => {
        const { groups } = groupedMeans(
          answers.map((one) => ({ score: one.score, group: one[kind] })),
        );
        return Object.fromEntries(
          Object.entries(groups).map(([name, group]) => [name, percent(group.mean)]),
        );
      };
      return {
        overall: percent(mean(answers.map(({ score }) => score))),
        perQuestionType: by("questionType"),
        perAnswerType: by("answerType"),
      };
    },
  );
}
