/**
 * Precision, recall and F1 of several labels per sample, with the averages of scikit-learn's `classification_report`
 * (LiteGPT) and `f1_score` (VividMed), and false negative rates.
 *
 * @module
 */
import { mean } from "./means.ts";
import { StreamingMetric } from "./streaming.ts";

/** Which labels a sample was given and which it has, 0 or 1 per label, in the order of the label names. */
export interface LabelPair {
  /** Labels given. */
  readonly prediction: ArrayLike<number>;
  /** Labels that hold. */
  readonly truth: ArrayLike<number>;
}

/** Scores of one label or of an average; each 0 to 1, and 0 where a ratio is undefined. */
export interface LabelScores {
  /** True positives over predicted ones. */
  readonly precision: number;
  /** True positives over actual ones. */
  readonly recall: number;
  /** Harmonic mean of precision and recall. */
  readonly f1: number;
  /** Samples that have the label; for averages the sum over labels. */
  readonly support: number;
}

/** Rates of missed findings, per label and averaged; NaN where undefined. */
export interface Rates {
  /** Rate of every label, by name. */
  readonly classes: Readonly<Record<string, number>>;
  /** Unweighted mean over labels; NaN when one of them is. */
  readonly macro: number;
  /** Over all labels together. */
  readonly micro: number;
}

/** A multi-label classification report. */
export interface LabelReport {
  /** Scores of every label, by name. */
  readonly classes: Readonly<Record<string, LabelScores>>;
  /** Counts pooled over labels. */
  readonly micro: LabelScores;
  /** Unweighted mean over labels, those without support included. */
  readonly macro: LabelScores;
  /** Mean over labels weighted by support. */
  readonly weighted: LabelScores;
  /** Mean of the scores of single samples. */
  readonly samples: LabelScores;
  /** Share of samples with every label right. */
  readonly subsetAccuracy: number;
  /** FN / (FN + TP); `micro` is 0 when no sample has any label. */
  readonly fnr: Rates;
  /**
   * What VividMed's `false_negative_rate` computes: FN over the PREDICTED NEGATIVES, which is the false omission rate.
   */
  readonly fnrOfficial: Rates;
}

/** Counts of one label, or of several together. */
export interface Confusion {
  /** Given and held. */
  readonly truePositives: number;
  /** Given, not held. */
  readonly falsePositives: number;
  /** Held, not given. */
  readonly falseNegatives: number;
  /** Neither given nor held. */
  readonly trueNegatives: number;
}

const none: Confusion = {
  truePositives: 0,
  falsePositives: 0,
  falseNegatives: 0,
  trueNegatives: 0,
};

function confusionOf(prediction: number, truth: number): Confusion {
  const predicted = prediction !== 0, wanted = truth !== 0;
  return {
    truePositives: Number(predicted && wanted),
    falsePositives: Number(predicted && !wanted),
    falseNegatives: Number(!predicted && wanted),
    trueNegatives: Number(!predicted && !wanted),
  };
}

function sum(counts: readonly Confusion[]): Confusion {
  return counts.reduce((a, b) => ({
    truePositives: a.truePositives + b.truePositives,
    falsePositives: a.falsePositives + b.falsePositives,
    falseNegatives: a.falseNegatives + b.falseNegatives,
    trueNegatives: a.trueNegatives + b.trueNegatives,
  }), none);
}

const ratio = (part: number, whole: number): number => whole === 0 ? 0 : part / whole;

/** Precision, recall and F1 of counts; 0 where undefined. */
export function labelScores(
  { truePositives, falsePositives, falseNegatives }: Confusion,
): LabelScores {
  const precision = ratio(truePositives, truePositives + falsePositives);
  const recall = ratio(truePositives, truePositives + falseNegatives);
  return {
    precision,
    recall,
    f1: ratio(2 * precision * recall, precision + recall),
    support: truePositives + falseNegatives,
  };
}

/** Mean of scores with weights; 0 when nothing weighs anything. The support is the sum. */
export function averageScores(
  scores: readonly LabelScores[],
  weight: (one: LabelScores) => number = () => 1,
): LabelScores {
  const weights = scores.map(weight);
  const total = weights.reduce((a, b) => a + b, 0);
  const average = (of: (one: LabelScores) => number) =>
    ratio(scores.reduce((before, one, i) => before + weights[i] * of(one), 0), total);
  return {
    precision: average((one) => one.precision),
    recall: average((one) => one.recall),
    f1: average((one) => one.f1),
    support: scores.reduce((before, one) => before + one.support, 0),
  };
}

/** The report over samples, given as one row of counts per sample. */
function report(names: readonly string[], rows: readonly (readonly Confusion[])[]): LabelReport {
  const counts = names.map((_, label) => sum(rows.map((row) => row[label])));
  const scores = counts.map(labelScores);
  const pooled = sum(counts);
  const micro = labelScores(pooled);
  const rates = (missed: (one: Confusion) => number): Rates => ({
    classes: byName(names, counts.map(missed)),
    macro: mean(counts.map(missed)),
    micro: missed(pooled),
  });
  const exact = rows.filter((row) =>
    row.every((one) => one.falsePositives + one.falseNegatives === 0)
  );
  return {
    classes: byName(names, scores),
    micro,
    macro: averageScores(scores),
    weighted: averageScores(scores, (one) => one.support),
    samples: {
      ...averageScores(rows.map((row) => labelScores(sum(row)))),
      support: micro.support,
    },
    subsetAccuracy: exact.length / rows.length,
    fnr: {
      ...rates((one) => one.falseNegatives / (one.falseNegatives + one.truePositives)),
      micro: ratio(pooled.falseNegatives, pooled.falseNegatives + pooled.truePositives),
    },
    fnrOfficial: rates((one) => one.falseNegatives / (one.falseNegatives + one.trueNegatives)),
  };
}

function byName<T>(names: readonly string[], values: readonly T[]): Record<string, T> {
  return Object.fromEntries(names.map((name, i) => [name, values[i]]));
}

/**
 * A multi-label report over samples that arrive one at a time.
 *
 * @param names the labels, in the order of the samples' vectors
 * @throws {RangeError} (from `add`) for a vector of another length.
 */
export function labelReportMetric(
  names: readonly string[],
): StreamingMetric<LabelPair, readonly Confusion[], LabelReport> {
  return new StreamingMetric(
    ({ prediction, truth }: LabelPair): readonly Confusion[] => {
      if (prediction.length !== names.length || truth.length !== names.length) {
        throw new RangeError(
          `Cannot count labels of a sample with ${prediction.length} predicted and ${truth.length} true values: expected ${names.length}, one per label`,
        );
      }
      return names.map((_, label) => confusionOf(prediction[label], truth[label]));
    },
    (rows) => report(names, rows),
  );
}

/** The same report restricted to some labels: the five of CheXpert, the local ones of LiteGPT. Values out of a full vector. */
export function pickLabels(values: ArrayLike<number>, indices: readonly number[]): number[] {
  return indices.map((index) => values[index]);
}
