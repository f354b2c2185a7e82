/**
 * The file that collects predictions: it survives a kill at any moment. Every line is synced to the disk before the next
 * example starts; what a kill left of a line is cut off, and that example is answered again.
 *
 * @module
 */
import { type FileSource, InputError, openFile } from "@medvlm/core";
import { asFields, FieldError, type Fields } from "../data/fields.ts";
import { textRecords } from "../data/text_records.ts";
import { keyOf, parseLine, parsePrediction, type Prediction } from "./prediction.ts";

/** What decides on the predictions, by name; values are plain. */
export type RunIdentity = Readonly<Record<string, string | number | null>>;

/** The first line of a predictions file. */
export interface PredictionHeader {
  /** Version of the format. */
  readonly predictions: 1;
  /** What made the lines. */
  readonly run: RunIdentity;
  /** The weights were never trained. */
  readonly untrained: boolean;
}

/** Longest line in bytes. */
const maxLine = 2 ** 24;
const newline = 0x0a;
const encoder = new TextEncoder();

/** The header in the value of a line; undefined when the line is something else. */
export function headerOf(value: unknown): PredictionHeader | undefined {
  if (typeof value !== "object" || value === null || !("predictions" in value)) return undefined;
  const fields: Fields = asFields(value);
  if (fields.predictions !== 1) {
    throw new FieldError(
      `the file has version ${
        JSON.stringify(fields.predictions)?.slice(0, 20)
      } of the format instead of 1`,
    );
  }
  return {
    predictions: 1,
    run: asFields(fields.run ?? {}, '"run"') as RunIdentity,
    untrained: fields.untrained === true,
  };
}

/** Position after the last newline before `end`; 0 without one. */
async function lineStart(file: FileSource, end: number): Promise<number> {
  const piece = 2 ** 16;
  for (let high = end; high > 0;) {
    const low = Math.max(0, high - piece);
    const at = (await file.read(low, high - low)).lastIndexOf(newline);
    if (at >= 0) return low + at + 1;
    high = low;
  }
  return 0;
}

/** Length of the file without what a kill may have left of its last line. */
async function soundLength(file: FileSource): Promise<number> {
  const end = await lineStart(file, file.size);
  if (end === 0) return 0;
  const start = await lineStart(file, end - 1);
  if (end - start > maxLine) return end;
  try {
    JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(await file.read(start, end - start)),
    );
    return end;
  } catch {
    // After a power failure a file may have its length before it has its content.
    return start;
  }
}

/** What differs between two runs, for a message. */
function difference(before: RunIdentity, now: RunIdentity): string | undefined {
  const shown = (value: unknown) => value === null || value === undefined ? "not set" : `${value}`;
  const changed = [...new Set([...Object.keys(before), ...Object.keys(now)])]
    .filter((name) => before[name] !== now[name])
    .map((name) =>
      `${name} was ${shown(before[name]).slice(0, 60)} and is ${shown(now[name]).slice(0, 60)}`
    );
  return changed.length === 0 ? undefined : changed.join(", ");
}

/** A predictions file that is being written. One process at a time can hold it. */
export class PredictionFile implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  /** Question and reference of what the file holds, by key. */
  readonly #done: Map<string, string>;

  private constructor(file: Deno.FsFile, path: string, done: Map<string, string>) {
    this.#file = file;
    this.#path = path;
    this.#done = done;
  }

  /**
   * Opens the file, or starts it.
   *
   * @throws {InputError} code `OTHER_RUN` when its lines were made otherwise, `IN_USE` while another process writes it,
   * `BAD_PREDICTIONS` when a line other than the last is damaged, `NOT_WRITABLE`.
   */
  static async open(path: string, header: PredictionHeader): Promise<PredictionFile> {
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path, { read: true, write: true, create: true });
    } catch (error) {
      throw notWritable(path, error);
    }
    try {
      if (!await file.tryLock(true)) {
        throw new InputError(
          "IN_USE",
          `Cannot write "${path}": another evaluation is writing it; wait for it or choose another --out`,
        );
      }
      const { length, done } = await readDone(path, header.run);
      await file.truncate(length);
      await file.seek(length, Deno.SeekMode.Start);
      const opened = new PredictionFile(file, path, done);
      if (length === 0) await opened.#write(header);
      return opened;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** How many predictions the file holds. */
  get count(): number {
    return this.#done.size;
  }

  /**
   * Whether the file has the prediction of this example.
   *
   * @throws {InputError} code `OTHER_RUN` when it was made for another question or reference.
   */
  has(example: Pick<Prediction, "id" | "split">, content: string): boolean {
    const before = this.#done.get(keyOf(example));
    if (before === undefined) return false;
    if (before === content) return true;
    throw new InputError(
      "OTHER_RUN",
      `Cannot resume "${this.#path}": the example "${example.id}" has another question or reference there, so the dataset has changed; choose another --out`,
    );
  }

  /**
   * Adds a prediction and waits until it is on the disk.
   *
   * @throws {InputError} code `TOO_LARGE` for a line of more than 16 MiB, of which nothing is written; `NOT_WRITABLE`.
   */
  async append(prediction: Prediction): Promise<void> {
    await this.#write(prediction);
    this.#done.set(keyOf(prediction), contentOf(prediction));
  }

  async #write(value: unknown): Promise<void> {
    const bytes = encoder.encode(`${JSON.stringify(value)}\n`);
    if (bytes.length > maxLine) {
      throw new InputError(
        "TOO_LARGE",
        `Cannot write the prediction: it takes ${bytes.length} bytes, more than the ${maxLine} allowed`,
      );
    }
    try {
      for (let done = 0; done < bytes.length;) {
        done += await this.#file.write(bytes.subarray(done));
      }
      await this.#file.syncData();
    } catch (error) {
      throw notWritable(this.#path, error);
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Question and reference: what must not change between runs. */
export function contentOf(
  { task, prompt, reference }: Pick<Prediction, "task" | "prompt" | "reference">,
): string {
  return JSON.stringify([task, prompt ?? "", reference.answer ?? ""]);
}

/** How every file of this kind starts. */
const opening = '{"predictions":1';

/** Reads what is there, up to a torn last line, without changing anything. */
async function readDone(
  path: string,
  run: RunIdentity,
): Promise<{ length: number; done: Map<string, string> }> {
  const done = new Map<string, string>();
  using file = await openFile(path);
  const length = await soundLength(file);
  if (length === 0) {
    const start = new TextDecoder().decode(await file.read(0, Math.min(file.size, opening.length)));
    if (!opening.startsWith(start)) checkHeader(path, undefined, run);
  }
  let first = true;
  for await (const { text, line } of textRecords({ ...file, size: length })) {
    try {
      if (first) checkHeader(path, headerOf(parseLine(text)), run);
      else {
        const prediction = parsePrediction(text);
        done.set(keyOf(prediction), contentOf(prediction));
      }
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      throw new InputError(
        "BAD_PREDICTIONS",
        `Cannot resume "${path}": line ${line}: ${error.message}; repair it or choose another --out`,
      );
    }
    first = false;
  }
  return { length, done };
}

function checkHeader(path: string, header: PredictionHeader | undefined, run: RunIdentity): void {
  const changed = header && difference(header.run, run);
  if (header !== undefined && changed === undefined) return;
  throw new InputError(
    "OTHER_RUN",
    `Cannot resume "${path}": ${
      changed ?? "its first line does not say how it was made"
    }; use the options of that run or choose another --out`,
  );
}

function notWritable(path: string, error: unknown): InputError {
  return new InputError(
    "NOT_WRITABLE",
    `Cannot write "${path}": ${
      error instanceof Error ? error.message : error
    }; check the folder and the free space`,
    { cause: error },
  );
}
