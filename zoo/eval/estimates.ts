/**
 * Means with confidence intervals, over everything and per class, category and modality.
 *
 * @module
 */
import { bootstrap, type BootstrapOptions, groupedMeans } from "@medvlm/core/eval";

/** A number of a report. */
export interface Estimate {
  /** How many values it is made of: questions, boxes, masks, pictures with a label, or groups. */
  readonly n: number;
  /** The number itself. */
  readonly value: number;
  /** Lower end of the interval. */
  readonly low: number;
  /** Upper end of the interval. */
  readonly high: number;
}

/** Numbers by the name of their metric. */
export type Estimates = Readonly<Record<string, Estimate>>;

/** What numbers are split by. */
export const breakdowns = ["class", "category", "modality"] as const;

/** A kind of group. */
export type Breakdown = typeof breakdowns[number];

/** Values by the name of their metric. */
export type Values = Readonly<Record<string, number>>;

/** One thing that is scored: a question, a box, a mask. */
export type ScoredItem =
  & {
    /** Values by the name of their metric. */
    readonly values: Values;
  }
  & { readonly [K in Breakdown]?: string | undefined };

/** A statistic of a list, and its interval. */
export function estimate<T>(
  values: readonly T[],
  statistic: (sample: readonly T[]) => number,
  options: BootstrapOptions,
  n: number = values.length,
): Estimate {
  const { estimate: value, low, high } = bootstrap(values, statistic, options);
  return { n, value, low, high };
}

/** Sum and number of the values that one example adds to a metric. */
interface Part {
  sum: number;
  count: number;
}

const ratioOfSums = (parts: readonly Part[]): number => {
  let sum = 0, count = 0;
  for (const part of parts) {
    sum += part.sum;
    count += part.count;
  }
  return sum / count;
};

/** Per metric, what every example adds. */
class Columns {
  readonly #parts = new Map<string, Part[]>();

  add(items: readonly ScoredItem[]): void {
    const parts = new Map<string, Part>();
    for (const { values } of items) {
      for (const [name, value] of Object.entries(values)) {
        const part = parts.get(name) ?? { sum: 0, count: 0 };
        part.sum += value;
        part.count++;
        parts.set(name, part);
      }
    }
    for (const [name, part] of parts) {
      const column = this.#parts.get(name);
      if (column) column.push(part);
      else this.#parts.set(name, [part]);
    }
  }

  estimates(options: BootstrapOptions): Record<string, Estimate> {
    return Object.fromEntries(
      Array.from(this.#parts, ([name, parts]) => {
        const n = parts.reduce((sum, part) => sum + part.count, 0);
        return [name, estimate(parts, ratioOfSums, options, n)];
      }),
    );
  }
}

/**
 * Means of items that arrive example by example. Intervals come from resampling whole examples, because the boxes of one
 * image are no independent draws.
 */
export class Means {
  readonly #all = new Columns();
  readonly #groups = new Map<Breakdown, Map<string, Columns>>();
  readonly #examples: (readonly ScoredItem[])[] = [];

  /** Takes the items of one example. */
  add(items: readonly ScoredItem[]): void {
    this.#all.add(items);
    for (const kind of breakdowns) {
      for (const [name, members] of Map.groupBy(items, (item) => item[kind])) {
        if (name === undefined) continue;
        const groups = this.#groups.get(kind) ?? new Map<string, Columns>();
        this.#groups.set(kind, groups);
        const columns = groups.get(name) ?? new Columns();
        groups.set(name, columns);
        columns.add(members);
      }
    }
    this.#examples.push(items);
  }

  /** Means over all items. */
  estimates(options: BootstrapOptions): Record<string, Estimate> {
    return this.#all.estimates(options);
  }

  /** Unweighted mean over groups of the mean of one metric; undefined where fewer than two groups have it. */
  groupMean(kind: Breakdown, metric: string, options: BootstrapOptions): Estimate | undefined {
    const samples = this.#examples.map((items) =>
      items.flatMap((item) => {
        const group = item[kind];
        return group !== undefined && metric in item.values
          ? [{ score: item.values[metric], group }]
          : [];
      })
    ).filter((items) => items.length > 0);
    const groups = new Set(samples.flatMap((items) => items.map(({ group }) => group))).size;
    if (groups < 2) return undefined;
    return estimate(samples, (sample) => groupedMeans(sample.flat()).classMean, options, groups);
  }

  /** Means per group, in the order of the alphabet. */
  groups(kind: Breakdown, options: BootstrapOptions): Record<string, Estimates> {
    const groups = [...this.#groups.get(kind) ?? []].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
    return Object.fromEntries(groups.map(([name, columns]) => [name, columns.estimates(options)]));
  }
}
