/**
 * Comma-separated tables (RFC 4180) and their relatives with other separators: quoted fields, doubled quotes, line
 * ends inside quotes, any line ends.
 *
 * @module
 */
import { type FileSource, InputError } from "@medvlm/core";
import { textRecords } from "./text_records.ts";

/** Most columns a table may have. */
const MAX_COLUMNS = 4096;

/** A row that could not be read, or its fields. */
export interface CsvRow {
  /** The fields in order; absent when the row is malformed. */
  readonly fields?: readonly string[];
  /** What is wrong with a malformed row. */
  readonly problem?: string;
  /** Line the row starts in, from 1. */
  readonly line: number;
}

/**
 * Splits one row into its fields. A quote inside a field that does not start with one is an ordinary character, as
 * spreadsheets and pandas have it.
 *
 * @returns The fields, or what is wrong.
 */
export function splitFields(row: string, delimiter = ","): string[] | string {
  const fields: string[] = [];
  for (let at = 0;; at++) {
    if (fields.length === MAX_COLUMNS) return `more than ${MAX_COLUMNS} columns`;
    let field = "";
    if (row[at] === '"') {
      for (;;) {
        const close = row.indexOf('"', at + 1);
        if (close < 0) return "a quote is not closed";
        field += row.slice(at + 1, close);
        at = close + 1;
        if (row[at] !== '"') break;
        field += '"';
      }
    }
    const next = row.indexOf(delimiter, at);
    const end = next < 0 ? row.length : next;
    fields.push(field + row.slice(at, end));
    if (next < 0) return fields;
    at = next;
  }
}

/**
 * The rows of a table, blank lines left out.
 *
 * @param delimiter One ASCII character.
 * @throws {InputError} code `TOO_LARGE` for a row of more than 16 MiB.
 */
export async function* csvRows(file: FileSource, delimiter = ","): AsyncGenerator<CsvRow> {
  for await (const { text, line } of textRecords(file, { delimiter })) {
    if (text === undefined) {
      yield { line, problem: "not UTF-8 text" };
      continue;
    }
    const fields = splitFields(text, delimiter);
    yield typeof fields === "string" ? { line, problem: fields } : { line, fields };
  }
}

/** A row of a table with a header. */
export interface CsvRecord {
  /** Line the row starts in, from 1. */
  readonly line: number;
  /** Field by name of its column; absent when the row is malformed or shorter than the header. */
  readonly values?: Readonly<Record<string, string>>;
  /** What is wrong with a malformed row. */
  readonly problem?: string;
}

/**
 * The rows of a table by column name; blanks around names are dropped, further fields of a row ignored.
 *
 * @param required Columns that must be there.
 * @throws {InputError} code `INVALID_TABLE` when the header is malformed or a required column is missing.
 */
export async function* csvRecords(
  file: FileSource,
  required: readonly string[],
  delimiter = ",",
): AsyncGenerator<CsvRecord> {
  let header: string[] | undefined;
  for await (const { fields, problem, line } of csvRows(file, delimiter)) {
    if (header === undefined) {
      header = fields?.map((name) => name.trim()) ?? [];
      const missing = required.filter((name) => !header!.includes(name));
      if (problem !== undefined || missing.length > 0) {
        throw new InputError(
          "INVALID_TABLE",
          `Cannot read the table "${file.name}": ${
            problem ?? `it has no column ${missing.map((name) => `"${name}"`).join(", ")}`
          }; check that it is the file of this dataset`,
        );
      }
      continue;
    }
    if (fields === undefined) yield { line, problem };
    else if (fields.length < header.length) {
      yield { line, problem: `${fields.length} fields instead of ${header.length}` };
    } else {
      const values: Record<string, string> = Object.create(null);
      header.forEach((name, index) => values[name] = fields[index]);
      yield { line, values };
    }
  }
  if (header === undefined) {
    throw new InputError(
      "INVALID_TABLE",
      `Cannot read the table "${file.name}": it is empty; fetch it again`,
    );
  }
}
