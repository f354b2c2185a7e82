/**
 * Means with confidence intervals, over everything and per class, category and modality.
 *
 * @module
 */
import { bootstrap, bootstrapEach, type BootstrapOptions } from "@medvlm/core/eval";

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

/** Indices of this many rows. */
const places = (count: number) => Array.from({ length: count }, (_, place) => place);

/** Per metric, sum and number of the values that every example adds. */
class Columns {
  #rows = 0;
  readonly #columns = new Map<string, { readonly sums: number[]; readonly counts: number[] }>();

  /** Takes the items of one example. */
  add(items: readonly ScoredItem[]): void {
    const row = this.#rows++;
    for (const { values } of items) {
      for (const [name, value] of Object.entries(values)) {
        const column = this.#columns.get(name) ?? { sums: [], counts: [] };
        this.#columns.set(name, column);
        column.sums[row] = (column.sums[row] ?? 0) + value;
        column.counts[row] = (column.counts[row] ?? 0) + 1;
      }
    }
  }

  estimates(options: BootstrapOptions): Record<string, Estimate> {
    const rows = this.#rows;
    if (this.#columns.size === 0) return {};
    const filled = (values: readonly number[]) =>
      Float64Array.from({ length: rows }, (_, row) => values[row] ?? 0);
    const columns = [...this.#columns].map(([name, { sums, counts }]) => ({
      name,
      sums: filled(sums),
      counts: filled(counts),
    }));
    const means = (sample: readonly number[]) =>
      columns.map(({ sums, counts }) => {
        let sum = 0, count = 0;
        for (const row of sample) {
          sum += sums[row];
          count += counts[row];
        }
        return sum / count;
      });
    const intervals = bootstrapEach(places(rows), means, options);
    return Object.fromEntries(
      intervals.map(({ estimate: value, low, high }, index) => {
        const { name, counts } = columns[index];
        return [name, { n: counts.reduce((a, b) => a + b, 0), value, low, high }];
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
    const numbers = new Map<string, number>();
    const rows: { group: number; score: number }[][] = [];
    for (const items of this.#examples) {
      const row: typeof rows[number] = [];
      for (const { [kind]: group, values } of items) {
        if (group === undefined || !(metric in values)) continue;
        const number = numbers.get(group) ?? numbers.size;
        numbers.set(group, number);
        row.push({ group: number, score: values[metric] });
      }
      if (row.length > 0) rows.push(row);
    }
    const groups = numbers.size;
    if (groups < 2) return undefined;
    const sums = new Float64Array(groups), counts = new Float64Array(groups);
    const meanOfMeans = (sample: readonly (typeof rows[number])[]) => {
      sums.fill(0);
      counts.fill(0);
      for (const row of sample) {
        for (const { group, score } of row) {
          sums[group] += score;
          counts[group]++;
        }
      }
      let total = 0, present = 0;
      for (let group = 0; group < groups; group++) {
        // A group that was not drawn has no mean.
        if (counts[group] === 0) continue;
        total += sums[group] / counts[group];
        present++;
      }
      return total / present;
    };
    return estimate(rows, meanOfMeans, options, groups);
  }

  /** Means per group, in the order of the alphabet. */
  groups(kind: Breakdown, options: BootstrapOptions): Record<string, Estimates> {
    const groups = [...this.#groups.get(kind) ?? []].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
    return Object.fromEntries(groups.map(([name, columns]) => [name, columns.estimates(options)]));
  }
}
