/**
 * What every metric over a data set shares: samples arrive one at a time, little is kept of each, and the result and its
 * confidence interval are computed from what was kept.
 *
 * @module
 */
import { bootstrapEach, type BootstrapOptions, type Interval } from "./bootstrap.ts";

/**
 * A metric that takes samples one at a time. `Sample` is what {@linkcode add} takes, `Kept` what is remembered of one
 * (counts, a score), `Result` what {@linkcode result} returns.
 */
export class StreamingMetric<Sample, Kept, Result> {
  readonly #measure: (sample: Sample) => Kept;
  readonly #summarise: (kept: readonly Kept[]) => Result;
  readonly #kept: Kept[] = [];

  /**
   * A metric from its two halves.
   *
   * @param measure what is kept of one sample
   * @param summarise the result over everything kept; must not change the array
   */
  constructor(
    measure: (sample: Sample) => Kept,
    summarise: (kept: readonly Kept[]) => Result,
  ) {
    this.#measure = measure;
    this.#summarise = summarise;
  }

  /** How many samples were added. */
  get count(): number {
    return this.#kept.length;
  }

  /** What was kept of every sample, in the order of arrival. */
  get kept(): readonly Kept[] {
    return this.#kept;
  }

  /** Takes one sample; returns the metric, so that calls can be chained. */
  add(sample: Sample): this {
    this.#kept.push(this.#measure(sample));
    return this;
  }

  /** The result over the samples so far. */
  result(): Result {
    return this.#summarise(this.#kept);
  }

  /**
   * The confidence interval of one number of the result, by resampling whole samples.
   *
   * @throws {InputError} as {@linkcode bootstrap} does: `NO_VALUES`, `BAD_BOOTSTRAP`.
   */
  interval(read: (result: Result) => number, options: BootstrapOptions): Interval {
    return this.intervals((result) => [read(result)], options)[0];
  }

  /**
   * The confidence intervals of several numbers of the result, on the same resamples.
   *
   * @throws {InputError} as {@linkcode interval} does.
   */
  intervals(read: (result: Result) => readonly number[], options: BootstrapOptions): Interval[] {
    return bootstrapEach(this.#kept, (kept) => read(this.#summarise(kept)), options);
  }
}
