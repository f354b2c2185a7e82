/**
 * The interface of dataset readers and what they have in common: counting, skipping and reporting malformed records,
 * looking for pictures, choosing a part.
 *
 * @module
 */
import { type Example, type FolderSource, InputError, isSafeName } from "@medvlm/core";
import { FieldError } from "./fields.ts";

/** Part of a dataset, as its authors divided it. */
export type Split = NonNullable<Example["split"]>;

/** A record that was left out. */
export interface Problem {
  /** File relative to the dataset's folder. */
  readonly file: string;
  /** Line in which the record starts, from 1, where the format has lines. */
  readonly line?: number;
  /** What is wrong, without place. */
  readonly message: string;
}

/** How a dataset is read. */
export interface ReadOptions {
  /** Only this part. Default all; examples of unknown part belong to none. */
  readonly split?: Split;
  /** For datasets that are divided at random: same seed, same parts. Default 0, or the authors' parts where they exist. */
  readonly seed?: number;
  /** The first malformed record or missing picture is an error. Default false: it is counted, reported and left out. */
  readonly strict?: boolean;
  /** Called for every record that is left out. */
  readonly report?: (problem: Problem) => void;
  /** Where pictures and masks are, when not in the dataset's folder. */
  readonly images?: FolderSource;
  /**
   * Whether examples whose picture does not exist are kept, for work on text alone. Their `image` is the name in the
   * dataset. Default `skip`: such an example is a problem.
   */
  readonly missingImages?: "skip" | "keep";
  /**
   * Turns of a conversation that become examples: `each` with those before it as history (default), `first` as
   * MedPLIB's evaluation does, or `last` with all others as history.
   */
  readonly turns?: "each" | "first" | "last";
}

/** The examples of one reading, and how far it is. Can be iterated once. */
export interface Examples extends AsyncIterable<Example> {
  /** Examples that were given out so far. */
  readonly read: number;
  /** Records that were left out so far. */
  readonly skipped: number;
}

/** Reads one dataset in its published format. */
export interface DatasetReader {
  /** Name on the command line, such as `vqa_rad`. */
  readonly name: string;
  /** What the dataset is, in a sentence without full stop. */
  readonly description: string;
  /** Files the folder must hold, relative to it. */
  readonly files: string;
  /**
   * Reads the examples lazily, file by file in order.
   *
   * @throws {InputError} while iterating: code `NOT_FOUND` when the folder holds no file of the dataset, `INVALID_JSON` or
   * `INVALID_TABLE` when a file is damaged as a whole, `INVALID_RECORD` for the first problem in strict mode.
   */
  read(folder: FolderSource, options?: ReadOptions): Examples;
}

/** Where a record stands. */
export type Place = Omit<Problem, "message">;

/** What a reader works with: the folder, the options, and the counting of problems. */
export class Reading implements Examples {
  /** Folder of the annotations. */
  readonly folder: FolderSource;
  /** Options of this reading. */
  readonly options: ReadOptions;
  /** Examples that were given out so far. */
  read = 0;
  /** Records that were left out so far. */
  skipped = 0;
  readonly #name: string;
  readonly #source: (reading: Reading) => AsyncIterable<Example>;
  readonly #found = new Map<string, boolean>();

  /**
   * @param name Name of the reader for messages.
   * @param source Gives the examples of a reading.
   */
  constructor(
    name: string,
    source: (reading: Reading) => AsyncIterable<Example>,
    folder: FolderSource,
    options: ReadOptions,
  ) {
    this.#name = name;
    this.#source = source;
    this.folder = folder;
    this.options = options;
  }

  /** The examples of the wanted part. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Example> {
    for await (const example of this.#source(this)) {
      if (!this.wants(example.split)) continue;
      this.read++;
      yield example;
    }
  }

  /** Whether examples of this part are wanted. */
  wants(split: Split | undefined): boolean {
    return this.options.split === undefined || this.options.split === split;
  }

  /**
   * Counts and reports a record that is left out.
   *
   * @throws {InputError} code `INVALID_RECORD` in strict mode.
   */
  skip(place: Place, message: string): void {
    this.skipped++;
    this.options.report?.({ ...place, message });
    if (this.options.strict) {
      const line = place.line === undefined ? "" : ` line ${place.line}`;
      throw new InputError(
        "INVALID_RECORD",
        `Cannot read "${place.file}"${line} of "${this.folder.name}" as ${this.#name}: ${message}; correct it or read without strict mode`,
      );
    }
  }

  /** Makes something of a record; when the record is malformed, leaves it out and gives nothing. */
  async attempt<T>(place: Place, make: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await make();
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      this.skip(place, error.message);
      return undefined;
    }
  }

  /**
   * The first of these names that is a file among the pictures. Names are tried in order.
   *
   * @throws {FieldError} when there is none, unless missing pictures are kept: then the first name.
   */
  async image(...names: string[]): Promise<string> {
    for (const name of names) {
      if (!isSafeName(name)) throw new FieldError(`the file name "${name}" leaves the folder`);
      if (await this.#has(name)) return name;
    }
    if (this.options.missingImages === "keep") return names[0];
    throw new FieldError(`there is no file "${names[0]}"`);
  }

  async #has(name: string): Promise<boolean> {
    const known = this.#found.get(name);
    if (known !== undefined) return known;
    // Records of a picture stand together, so a short memory saves most of the questions.
    if (this.#found.size >= 4096) this.#found.clear();
    const found = await (this.options.images ?? this.folder).has(name);
    this.#found.set(name, found);
    return found;
  }

  /** Those of these files that the folder holds, in order. */
  async existing<T extends { readonly file: string }>(candidates: readonly T[]): Promise<T[]> {
    const found: T[] = [];
    for (const candidate of candidates) {
      if (await this.folder.has(candidate.file)) found.push(candidate);
    }
    return found;
  }

  /** Entries of an inner folder; none when it does not exist. */
  async list(folder?: string, from: FolderSource = this.folder): Promise<string[]> {
    try {
      return await from.list(folder);
    } catch (error) {
      if (error instanceof InputError && error.code === "NOT_FOUND") return [];
      throw error;
    }
  }

  /** The error of a folder without the dataset's files. */
  noFiles(expected: string): InputError {
    return new InputError(
      "NOT_FOUND",
      `Cannot read "${this.folder.name}" as ${this.#name}: it holds none of ${expected}; check the folder`,
    );
  }
}

/** A file of a dataset and the part it belongs to. */
export interface PartFile {
  /** Name relative to the folder. */
  readonly file: string;
  /** Part; absent where the name does not tell. */
  readonly split?: Split;
}

/** Makes a reader of a function that gives the examples of a reading. */
export function defineReader(
  reader: Omit<DatasetReader, "read"> & {
    examples: (reading: Reading) => AsyncIterable<Example>;
  },
): DatasetReader {
  const { name, description, files, examples } = reader;
  return {
    name,
    description,
    files,
    read: (folder, options = {}) => new Reading(name, examples, folder, options),
  };
}
