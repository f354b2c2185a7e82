/**
 * The batches of a training run: examples are read when their turn comes, prepared by the system, and put together.
 *
 * @module
 */
import { type Example, type FolderSource, InputError, type StageRun } from "@medvlm/core";
import { FieldError } from "../data/fields.ts";
import type { Problem } from "../data/reader.ts";
import { Order } from "./order.ts";
import { Pictures, taughtExample } from "./taught.ts";

/** How batches are made. */
export interface LessonOptions {
  /** Where pictures and masks are. */
  readonly images: FolderSource;
  /** Examples of an optimiser step. */
  readonly batch: number;
  /** Batches that a step is divided into. */
  readonly accumulation: number;
  /** Of the order. */
  readonly seed: number;
  /** The first example that nothing can be learned from is an error. */
  readonly strict: boolean;
  /** Called once for each such example. */
  readonly report: (problem: Problem) => void;
}

/** Examples of one evaluation at most: a measurement must not take longer than the training. */
const mostHeld = 256;

/** Prepares the batches of a stage. */
export class Lessons {
  readonly #run: StageRun;
  readonly #taught: readonly Example[];
  readonly #options: LessonOptions;
  readonly #order: Order;
  readonly #pictures: Pictures;
  readonly #useless = new Set<string>();

  /** @param taught Examples to train on, at least one. */
  constructor(run: StageRun, taught: readonly Example[], options: LessonOptions) {
    this.#run = run;
    this.#taught = taught;
    this.#options = options;
    this.#order = new Order(taught.length, options.batch, options.seed);
    this.#pictures = new Pictures(options.images);
  }

  /** Examples so far that nothing could be learned from. */
  get skipped(): number {
    return this.#useless.size;
  }

  /** The sample of an example; undefined when it is of no use. */
  async #sample(example: Example): Promise<unknown> {
    const { images, strict, report } = this.#options;
    if (this.#useless.has(example.id)) return undefined;
    try {
      return this.#run.sample(await taughtExample(example, images, this.#pictures));
    } catch (error) {
      if (!(error instanceof InputError || error instanceof FieldError)) throw error;
      this.#useless.add(example.id);
      report({ file: example.image, message: error.message });
      if (!strict) return undefined;
      throw new InputError(
        "INVALID_EXAMPLE",
        `Cannot train on the example "${example.id}": ${error.message}; leave --strict out to go on without it`,
      );
    }
  }

  /** The sample at a place of a step; where it is of no use, the next one that is of some takes its place. */
  async #sampleAt(step: number, i: number): Promise<unknown> {
    for (const n of this.#order.candidates(step, i)) {
      const sample = await this.#sample(this.#taught[n]);
      if (sample !== undefined) return sample;
    }
    throw new InputError(
      "NOTHING_SELECTED",
      "Cannot train: nothing can be learned from any example; the first lines above say why",
    );
  }

  /** The batches of a step, which depend on the step alone. */
  async batches(step: number): Promise<unknown[]> {
    const { batch, accumulation } = this.#options;
    const size = batch / accumulation;
    const made: unknown[] = [];
    for (let part = 0; part < accumulation; part++) {
      const samples: unknown[] = [];
      for (let i = part * size; i < (part + 1) * size; i++) {
        samples.push(await this.#sampleAt(step, i));
      }
      made.push(this.#run.batch(samples));
    }
    return made;
  }

  /** Means of all measures over examples, at most 256 of them. */
  async measure(held: readonly Example[]): Promise<Record<string, number>> {
    const size = this.#options.batch / this.#options.accumulation;
    const sums = new Map<string, { sum: number; count: number }>();
    for (let first = 0; first < Math.min(mostHeld, held.length); first += size) {
      const samples: unknown[] = [];
      for (const example of held.slice(first, Math.min(mostHeld, first + size))) {
        const sample = await this.#sample(example);
        if (sample !== undefined) samples.push(sample);
      }
      if (samples.length === 0) continue;
      const measured = await this.#run.measure(this.#run.batch(samples));
      for (const [name, { sum, count }] of Object.entries(measured)) {
        if (count === 0) continue;
        const all = sums.get(name) ?? { sum: 0, count: 0 };
        sums.set(name, { sum: all.sum + sum, count: all.count + count });
      }
    }
    return Object.fromEntries([...sums].map(([name, { sum, count }]) => [name, sum / count]));
  }
}
