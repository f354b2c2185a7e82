/**
 * The annotation files of PeFoMed's dataset classes, as they read them.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import { pefomedClasses, type PefomedDataset } from "./prompt.ts";

/** An entry of an annotation file. */
export interface PefomedRecord {
  /** Picture below the dataset's folder of pictures. */
  readonly image: string;
  /** Caption, report or answer; numbers as text. */
  readonly answer: string;
  /** For `vqa`. */
  readonly question?: string;
  /** For `vqa`: names the entry in predictions. */
  readonly questionId?: string;
  /** For `vqa`: `OPEN` or `CLOSED`. */
  readonly answerType?: string;
  /** For `vqa`, such as `PRES`. */
  readonly questionType?: string;
}

/** Keys of picture and text in the lists. */
const keys: Readonly<
  Record<Exclude<PefomedDataset, "mimiccxr">, readonly [image: string, text: string]>
> = {
  roco: ["image", "caption"],
  clef: ["image", "caption"],
  medicat: ["image", "caption"],
  iuxray: ["image_path", "report"],
  vqa: ["image_name", "answer"],
};

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function fail(dataset: string, problem: string): never {
  throw new InputError(
    "BAD_ANNOTATIONS",
    `Cannot read annotations of ${dataset}: ${problem}; check that the file belongs to this dataset`,
  );
}

function textAt(entry: Record<string, unknown>, key: string, dataset: string, at: string): string {
  const value = entry[key];
  if (typeof value === "string" || typeof value === "number") return String(value);
  return fail(dataset, `${at} has no text "${key}"`);
}

/**
 * The entries of an annotation file: a list of objects, for MIMIC-CXR an object of picture to reports, of which the first counts.
 * CLEF2022 and MEDICAT name a path of which only the last part is used.
 *
 * @param json As parsed.
 * @throws {InputError} code `BAD_ANNOTATIONS` when it has another form.
 */
export function readAnnotations(dataset: PefomedDataset, json: unknown): PefomedRecord[] {
  if (dataset === "mimiccxr") {
    if (!isObject(json)) return fail(dataset, "expected an object of picture to reports");
    return Object.entries(json).map(([image, reports]) => {
      const first = Array.isArray(reports) ? reports[0] : undefined;
      if (typeof first !== "string") return fail(dataset, `"${image}" has no report`);
      return { image, answer: first };
    });
  }
  if (!Array.isArray(json)) return fail(dataset, "expected a list");
  const [image, text] = keys[dataset];
  return json.map((entry, index) => {
    const at = `entry ${index}`;
    if (!isObject(entry)) return fail(dataset, `${at} is no object`);
    const path = textAt(entry, image, dataset, at);
    const record = {
      image: dataset === "clef" || dataset === "medicat" ? path.split("/").at(-1)! : path,
      answer: textAt(entry, text, dataset, at),
    };
    if (dataset !== "vqa") return record;
    return {
      ...record,
      question: textAt(entry, "question", dataset, at),
      questionId: textAt(entry, "qid", dataset, at),
      answerType: textAt(entry, "answer_type", dataset, at),
      questionType: textAt(entry, "question_type", dataset, at),
    };
  });
}

/**
 * The entries that a part of a dataset has: training of some classes drops those whose picture is missing, everything else keeps
 * all.
 *
 * @param has Whether a picture exists.
 */
export async function keptRecords(
  dataset: PefomedDataset,
  records: readonly PefomedRecord[],
  part: "train" | "evaluate",
  has: (image: string) => Promise<boolean> | boolean,
): Promise<PefomedRecord[]> {
  if (part === "evaluate" || !pefomedClasses[dataset].dropsMissing) return [...records];
  const kept: PefomedRecord[] = [];
  for (const record of records) if (await has(record.image)) kept.push(record);
  return kept;
}
