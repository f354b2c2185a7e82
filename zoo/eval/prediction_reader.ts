/**
 * Reads predictions back, those of this project and those of other systems, with or without the dataset that holds the
 * references.
 *
 * @module
 */
import { type Example, type FolderSource, InputError, openFile } from "@medvlm/core";
import { FieldError } from "../data/fields.ts";
import type { Problem } from "../data/reader.ts";
import { textRecords } from "../data/text_records.ts";
import { askedOf, outlineOf } from "./asking.ts";
import {
  keyOf,
  namedIn,
  parseLine,
  parsePrediction,
  type Prediction,
  predictionOf,
} from "./prediction.ts";
import { headerOf, type PredictionHeader } from "./prediction_file.ts";

/** How a file is read. */
export interface ReadPredictionsOptions {
  /** Only these, by {@linkcode keyOf}. Default all. */
  readonly keys?: ReadonlySet<string> | undefined;
  /** The first line that cannot be used is an error. */
  readonly strict?: boolean | undefined;
}

const namedProblems = 100;

/** Lines of a predictions file, and what was wrong with the others. */
export class PredictionReading implements AsyncIterable<Prediction> {
  /** What made the lines, where the file says so; known once the first line is read. */
  header: PredictionHeader | undefined;
  /** Lines left out so far. */
  skipped = 0;
  /** The first of them. */
  readonly problems: Problem[] = [];
  readonly #path: string;
  readonly #options: ReadPredictionsOptions;

  /** A file to be read. */
  constructor(path: string, options: ReadPredictionsOptions = {}) {
    this.#path = path;
    this.#options = options;
  }

  /** The predictions in the order of the file. The second line of an example is a problem. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Prediction> {
    const seen = new Set<string>();
    for await (const { value, line } of this.#values()) {
      const prediction = this.attempt(line, () => {
        const one = predictionOf(value);
        const key = keyOf(one);
        if (this.#options.keys?.has(key) === false) return undefined;
        if (seen.has(key)) throw new FieldError(`the id "${one.id}" occurs twice`);
        seen.add(key);
        return one;
      });
      if (prediction !== undefined) yield prediction;
    }
  }

  /** The lines as text by key, for files whose references are elsewhere. The header is left out. */
  async lines(): Promise<Map<string, { readonly text: string; readonly line: number }>> {
    const lines = new Map<string, { text: string; line: number }>();
    for await (const { value, text, line } of this.#values()) {
      this.attempt(line, () => {
        const key = keyOf(namedIn(value));
        if (lines.has(key)) throw new FieldError(`the id occurs twice: ${key}`);
        lines.set(key, { text, line });
      });
    }
    return lines;
  }

  /** Makes something of a line; where it cannot be used, counts that. */
  attempt<T>(line: number, make: () => T): T | undefined {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      this.skip({ file: this.#path, line, message: error.message });
      return undefined;
    }
  }

  /** Counts what is left out. @throws {InputError} code `BAD_PREDICTIONS` in strict mode. */
  skip(problem: Problem): void {
    this.skipped++;
    if (this.problems.length < namedProblems) this.problems.push(problem);
    if (this.#options.strict) {
      const line = problem.line === undefined ? "" : ` line ${problem.line}`;
      throw new InputError(
        "BAD_PREDICTIONS",
        `Cannot use "${problem.file}"${line}: ${problem.message}; repair it or leave --strict out`,
      );
    }
  }

  async *#values(): AsyncGenerator<{ value: unknown; text: string; line: number }> {
    using file = await openFile(this.#path);
    let first = true;
    for await (const { text, line } of textRecords(file)) {
      const value = this.attempt(line, () => {
        const parsed = parseLine(text);
        if (!first) return parsed;
        first = false;
        this.header = headerOf(parsed);
        return this.header === undefined ? parsed : undefined;
      });
      if (value !== undefined) yield { value, text: text!, line };
    }
  }
}

/** How predictions and dataset fit. */
export interface Joined {
  /** Examples without a prediction. */
  missing: number;
  /** Predictions of no example. */
  unknown: number;
}

/**
 * Predictions whose questions and references come from a dataset. Lines without a part match the id alone.
 *
 * @param counts Counts what has no partner; `unknown` is set at the end.
 * @throws {InputError} as the reading does.
 */
export async function* joinedPredictions(
  reading: PredictionReading,
  examples: AsyncIterable<Example>,
  images: FolderSource,
  counts: Joined,
): AsyncGenerator<Prediction> {
  const lines = await reading.lines();
  const used = new Set<string>();
  for await (const example of examples) {
    const outline = outlineOf(example);
    const key = [keyOf(outline), keyOf({ id: outline.id })].find((one) =>
      lines.has(one) && !used.has(one)
    );
    if (key === undefined) {
      counts.missing++;
      continue;
    }
    used.add(key);
    const { text, line } = lines.get(key)!;
    try {
      const asked = await askedOf(example, images, /\{<\d/.test(text));
      const prediction = reading.attempt(line, () => parsePrediction(text, asked));
      if (prediction !== undefined) yield prediction;
    } catch (error) {
      // The picture or the mask of the reference.
      if (!(error instanceof FieldError) && !isUnreadable(error)) throw error;
      reading.skip({ file: example.image, message: (error as Error).message });
    }
  }
  counts.unknown = lines.size - used.size;
}

function isUnreadable(error: unknown): boolean {
  return error instanceof InputError && error.code !== "BAD_PREDICTIONS";
}
