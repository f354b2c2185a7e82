/**
 * Question lists: JSON arrays with one question, its answer and the name of a picture per element. VQA-RAD, SLAKE and
 * PathVQA are published so, and so are the lists that PeFoMed reads.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { answerTypeOf, asFields, type Fields } from "./fields.ts";
import { jsonRecords } from "./json_records.ts";
import type { PartFile, Place, Reading } from "./reader.ts";

/** A record of a list file, and where it stands. */
export interface ListedRecord {
  /** File and line. */
  readonly place: Place;
  /** The part the file belongs to. */
  readonly part: PartFile;
  /** Number of the record in its file, from 0. */
  readonly index: number;
  /** Its fields. */
  readonly fields: Fields;
}

/** The records of the files that exist. Files are read by turns; malformed records are left out. */
export async function* listedRecords(
  reading: Reading,
  parts: readonly PartFile[],
): AsyncGenerator<ListedRecord> {
  for (const part of parts) {
    if (!reading.wants(part.split) && part.split !== undefined) continue;
    using file = await reading.folder.open(part.file);
    let index = 0;
    for await (const { key, value, problem, line } of jsonRecords(file)) {
      const place = { file: part.file, line };
      if (key !== undefined) {
        reading.skip({ file: part.file }, "it holds an object instead of a list");
        break;
      }
      if (problem !== undefined) reading.skip(place, problem);
      else {
        const fields = await reading.attempt(place, () => asFields(value));
        if (fields) yield { place, part, index, fields };
      }
      index++;
    }
  }
}

/**
 * The list files of a dataset: those of the usual names, or else every JSON file in the folder itself.
 *
 * @throws {InputError} code `NOT_FOUND` when there is neither.
 */
export async function listFiles(reading: Reading, usual: readonly PartFile[]): Promise<PartFile[]> {
  const named = await reading.existing(usual);
  if (named.length > 0) return named;
  const others = (await reading.list()).filter((name) => name.endsWith(".json"));
  if (others.length > 0) return others.map((file) => ({ file, split: splitInName(file) }));
  throw reading.noFiles(usual.map(({ file }) => file).join(", "));
}

/** The part that a file name speaks of. */
export function splitInName(file: string): PartFile["split"] {
  const name = file.toLowerCase();
  if (/(^|[^a-z])(val|valid|validate|validation|dev)(set)?([^a-z]|$)/.test(name)) return "validate";
  if (/(^|[^a-z])test(set)?([^a-z]|$)/.test(name)) return "test";
  return /(^|[^a-z])train(ing)?(set)?([^a-z]|$)/.test(name) ? "train" : undefined;
}

/** What the datasets' readers make of a record. */
export type MakeExample = (
  record: ListedRecord,
) => Example | undefined | Promise<Example | undefined>;

/** The examples of lists, one at most per record. */
export async function* listedExamples(
  reading: Reading,
  usual: readonly PartFile[],
  make: MakeExample,
): AsyncGenerator<Example> {
  for await (const record of listedRecords(reading, await listFiles(reading, usual))) {
    const example = await reading.attempt(record.place, () => make(record));
    if (example) yield example;
  }
}

/** Part and kind of answer of a record. */
export function commonFields(
  { part, fields }: ListedRecord,
): Pick<Example, "split" | "answerType"> {
  return { ...(part.split ? { split: part.split } : {}), ...answerTypeOf(fields) };
}
