/**
 * Confidence intervals by resampling with replacement (Efron, "Bootstrap methods", 1979), the same for the same seed.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { philox4x32, seedWords } from "../random.ts";

/** How to resample. */
export interface BootstrapOptions {
  /** Whole number from 0 to 2^53 - 1; the same seed gives the same interval. */
  readonly seed: number;
  /** How many resamples, 1 to 1,000,000; 1000 by default. */
  readonly resamples?: number;
  /** Share of the resamples inside the interval, between 0 and 1; 0.95 by default. */
  readonly level?: number;
}

/** A statistic with its percentile interval. */
export interface Interval {
  /** The statistic of the values themselves. */
  readonly estimate: number;
  /** Lower end. */
  readonly low: number;
  /** Upper end. */
  readonly high: number;
  /** Share of the resamples between the ends, 0 to 1. */
  readonly level: number;
  /** How often was resampled. */
  readonly resamples: number;
  /** Resamples on which the statistic was a number; the others (a class that was not drawn) are left out. */
  readonly defined: number;
}

/**
 * The quantile of sorted numbers at `share` (0 to 1), interpolated linearly between neighbours, as numpy does it by
 * default; NaN when there are none.
 */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) return NaN;
  const place = share * (sorted.length - 1);
  const below = Math.floor(place), above = Math.min(below + 1, sorted.length - 1);
  const low = sorted[below], weight = place - below;
  return weight === 0 ? low : low + (sorted[above] - low) * weight;
}

/**
 * Percentile bootstrap: the statistic on `resamples` draws of as many values as there are, with replacement. The draw of
 * resample r, position i comes from Philox4x32 with the seed as key and (i / 4, r) as counter.
 *
 * @throws {InputError} `NO_VALUES` without values, `BAD_BOOTSTRAP` for resamples or a level out of range.
 * @throws {RangeError} for a seed that is not a whole number from 0 to 2^53 - 1.
 */
export function bootstrap<T>(
  values: readonly T[],
  statistic: (sample: readonly T[]) => number,
  options: BootstrapOptions,
): Interval {
  return bootstrapEach(values, (sample) => [statistic(sample)], options)[0];
}

/**
 * {@linkcode bootstrap} of several statistics on the same draws, for statistics that share most of their work. Every
 * interval equals the one of its statistic alone.
 *
 * @param statistics gives as many numbers for every sample
 * @throws as {@linkcode bootstrap}.
 */
export function bootstrapEach<T>(
  values: readonly T[],
  statistics: (sample: readonly T[]) => readonly number[],
  { seed, resamples = 1000, level = 0.95 }: BootstrapOptions,
): Interval[] {
  const count = values.length;
  if (count === 0) {
    throw new InputError(
      "NO_VALUES",
      "Cannot resample for a confidence interval: there are no values; add samples first",
    );
  }
  if (
    !Number.isInteger(resamples) || resamples < 1 || resamples > 1e6 || !(level > 0 && level < 1)
  ) {
    throw new InputError(
      "BAD_BOOTSTRAP",
      `Cannot resample ${resamples} times for the level ${level}: expected 1 to 1000000 resamples and a level between 0 and 1`,
    );
  }
  const key = seedWords(seed);
  const estimates = [...statistics(values)];
  const columns: number[][] = estimates.map(() => []);
  const sample = new Array<T>(count);
  for (let resample = 0; resample < resamples; resample++) {
    for (let i = 0; i < count; i += 4) {
      const words = philox4x32([i / 4, resample, 0, 0], key);
      for (let lane = 0; lane < 4 && i + lane < count; lane++) {
        sample[i + lane] = values[Math.floor(words[lane] * 2 ** -32 * count)];
      }
    }
    statistics(sample).forEach((value, index) => {
      if (!Number.isNaN(value)) columns[index].push(value);
    });
  }
  return columns.map((column, index) => {
    column.sort((a, b) => a - b);
    return {
      estimate: estimates[index],
      low: quantile(column, (1 - level) / 2),
      high: quantile(column, (1 + level) / 2),
      level,
      resamples,
      defined: column.length,
    };
  });
}
