/**
 * Output files of CheXbert and RadGraph, which are run elsewhere on the texts of an evaluation. Both tools keep the texts
 * but no names, so an entry is found by its text.
 *
 * @module
 */
import { type FileSource, InputError, openFile } from "@medvlm/core";
import { chexpertLabels, type RadGraphEntity, type RadGraphReport } from "@medvlm/core/eval";
import { csvRecords } from "../data/csv.ts";
import { asFields, asList, asText, FieldError, type Fields, textOf } from "../data/fields.ts";

/** Column of the texts, as CheXbert writes and reads it. */
export const reportColumn = "Report Impression";
/** Largest annotation file in bytes. */
const maxBytes = 2 ** 28;

/** What two spellings of a text have in common: tools add blanks between words and signs. */
const keyOfText = (text: string) => text.replace(/\s+/gu, "");

function unreadable(file: FileSource, problem: string, place = ""): InputError {
  return new InputError("BAD_LABELS", `Cannot read "${file.name}"${place}: ${problem}`);
}

/** CheXbert writes 1, 0, -1 or nothing; its classes are 0 blank, 1 positive, 2 negative, 3 uncertain. */
function classOf(fields: Fields, condition: string): number {
  const value = fields[condition];
  if (value === "" || value === undefined) return 0;
  const place = [1, 0, -1].indexOf(Number(value));
  if (place < 0) {
    throw new FieldError(`"${condition}" is ${JSON.stringify(value)} instead of 1, 0, -1 or empty`);
  }
  return place + 1;
}

/**
 * Reads the table that CheXbert's `label.py` writes: the text in `Report Impression`, and a column per condition.
 *
 * @returns The classes of a text, in the order of `chexpertLabels`; undefined for a text the table does not have.
 * @throws {InputError} code `BAD_LABELS` naming file and line.
 */
export async function readChexbert(
  path: string,
): Promise<(text: string) => readonly number[] | undefined> {
  const classes = new Map<string, readonly number[]>();
  using file = await openFile(path);
  for await (
    const { values, problem, line } of csvRecords(file, [reportColumn, ...chexpertLabels])
  ) {
    try {
      if (values === undefined) throw new FieldError(problem ?? "malformed");
      const key = keyOfText(String(values[reportColumn] ?? ""));
      classes.set(key, chexpertLabels.map((condition) => classOf(values, condition)));
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      throw unreadable(
        file,
        `${error.message}; give the table that CheXbert writes`,
        ` line ${line}`,
      );
    }
  }
  return (text) => classes.get(keyOfText(text));
}

function entityOf(value: unknown): RadGraphEntity {
  const fields = asFields(value, "an entity");
  return {
    tokens: textOf(fields, "tokens"),
    label: textOf(fields, "label"),
    relations: asList(fields.relations ?? [], '"relations"'),
  };
}

/**
 * Reads RadGraph's annotations: an object of records, each with its `text` and its `entities` by number.
 *
 * @returns The annotation of a text; undefined for a text the file does not have.
 * @throws {InputError} code `BAD_LABELS` naming file and record, `TOO_LARGE` above 256 MiB.
 */
export async function readRadgraph(
  path: string,
): Promise<(text: string) => RadGraphReport | undefined> {
  using file = await openFile(path);
  if (file.size > maxBytes) {
    throw new InputError(
      "TOO_LARGE",
      `Cannot read "${path}": ${file.size} bytes are more than the ${maxBytes} allowed; annotate in parts`,
    );
  }
  const reports = new Map<string, RadGraphReport>();
  let place = "";
  try {
    const bytes = await file.read(0, file.size);
    const records = asFields(JSON.parse(new TextDecoder().decode(bytes)), "the file");
    for (const [name, record] of Object.entries(records)) {
      place = ` record "${name}"`;
      const fields = asFields(record, "the record");
      const entities = Object.entries(asFields(fields.entities, '"entities"'));
      reports.set(keyOfText(asText(fields.text, '"text"')), {
        entities: Object.fromEntries(entities.map(([key, value]) => [key, entityOf(value)])),
      });
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw unreadable(file, `it is not JSON: ${error.message}`);
    if (!(error instanceof FieldError)) throw error;
    throw unreadable(file, `${error.message}; give the annotations that RadGraph writes`, place);
  }
  return (text) => reports.get(keyOfText(text));
}
