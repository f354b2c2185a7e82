/**
 * Means over samples, per class, over classes, and over classes weighted by their sample counts: how the grounding papers
 * sum up IoU and Dice (PFMVG tables 1 to 4: `mean` and `wIoU`, `wDice`), and how modality means are taken (MedPLIB).
 *
 * @module
 */
import { StreamingMetric } from "./streaming.ts";

/** A score of one sample. */
export interface ScoredSample {
  /** Any number, or undefined when the system gave no valid output; that counts as 0. */
  readonly score: number | undefined;
  /** The sample's class, disease or modality. */
  readonly group?: string;
}

/** Mean of one class. */
export interface GroupMean {
  /** Samples of the class. */
  readonly count: number;
  /** Samples with a valid output. */
  readonly valid: number;
  /** Mean score, invalid outputs as 0; NaN for a class without samples. */
  readonly mean: number;
}

/** Means over a data set. */
export interface GroupedMeans {
  /** All samples. */
  readonly count: number;
  /** Share of samples with a valid output; NaN without samples. */
  readonly validFraction: number;
  /** Mean over all samples. It equals the mean of the class means weighted by their counts: wIoU, wDice. */
  readonly mean: number;
  /** Unweighted mean of the class means; NaN without classes. */
  readonly classMean: number;
  /** Per class, in order of first appearance (or as listed). */
  readonly groups: Readonly<Record<string, GroupMean>>;
}

/** Arithmetic mean; NaN of nothing. */
export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** Unweighted mean of class values; an undefined value (a class without any valid output) counts as 0. */
export function classMean(perClass: Readonly<Record<string, number | undefined>>): number {
  return mean(Object.values(perClass).map((value) => value ?? 0));
}

/**
 * Mean of class values weighted by sample counts: sum(n_c m_c) / sum(n_c). Undefined values (no valid output) count as 0,
 * or are left out together with their weight when `over` is `answered`, which the row "stage 1 only" of PFMVG's tables 3
 * and 4 implies. Classes without a count weigh nothing; NaN when nothing weighs anything.
 */
export function weightedClassMean(
  perClass: Readonly<Record<string, number | undefined>>,
  counts: Readonly<Record<string, number>>,
  over: "all" | "answered" = "all",
): number {
  let sum = 0, weight = 0;
  for (const [name, value] of Object.entries(perClass)) {
    if (value === undefined && over === "answered") continue;
    const count = Object.hasOwn(counts, name) ? counts[name] : 0;
    sum += count * (value ?? 0);
    weight += count;
  }
  return sum / weight;
}

/** Means of scored samples. `names` lists classes in the wanted order; others follow as they appear. */
export function groupedMeans(
  samples: readonly ScoredSample[],
  names: readonly string[] = [],
): GroupedMeans {
  const sums = new Map(names.map((name) => [name, { count: 0, valid: 0, sum: 0 }]));
  const total = { count: 0, valid: 0, sum: 0 };
  for (const { score, group } of samples) {
    const places = [total];
    if (group !== undefined) {
      const place = sums.get(group) ?? { count: 0, valid: 0, sum: 0 };
      sums.set(group, place);
      places.push(place);
    }
    for (const place of places) {
      place.count++;
      if (score === undefined) continue;
      place.valid++;
      place.sum += score;
    }
  }
  const groups: Record<string, GroupMean> = {};
  for (const [name, { count, valid, sum }] of sums) {
    groups[name] = { count, valid, mean: sum / count };
  }
  return {
    count: total.count,
    validFraction: total.valid / total.count,
    mean: total.sum / total.count,
    classMean: mean(Object.values(groups).filter(({ count }) => count > 0).map((one) => one.mean)),
    groups,
  };
}

/** {@linkcode groupedMeans} over samples that arrive one at a time. */
export function groupedMeansMetric(
  names: readonly string[] = [],
): StreamingMetric<ScoredSample, ScoredSample, GroupedMeans> {
  return new StreamingMetric((sample) => sample, (kept) => groupedMeans(kept, names));
}
