/**
 * VQA-Med (ImageCLEF 2019 to 2021): questions in text files with fields between bars.
 *
 * @module
 */
import type { Example, FolderSource } from "@medvlm/core";
import { FieldError } from "./fields.ts";
import { type DatasetReader, defineReader, type Place, type Reading } from "./reader.ts";
import { textRecords } from "./text_records.ts";
import { splitInName } from "./vqa_records.ts";

/** Folders below the dataset's folder that are searched. */
const MAX_DEPTH = 4;
const pictureName = /\.(jpe?g|png)$/i;

/** What a dataset folder holds. */
interface Found {
  /** Text files, with their folders. */
  readonly texts: string[];
  /** Folders that hold pictures. */
  readonly pictureFolders: string[];
}

/** Calls with the folders of a source and the names in them. */
async function walk(
  reading: Reading,
  source: FolderSource,
  visit: (prefix: string, names: string[]) => void,
  folder?: string,
  depth = 0,
): Promise<void> {
  const prefix = folder === undefined ? "" : `${folder}/`;
  const names = await reading.list(folder, source);
  visit(prefix, names);
  if (depth === MAX_DEPTH) return;
  for (const name of names) {
    if (/\.[a-zA-Z0-9]{1,4}$/.test(name)) continue;
    await walk(reading, source, visit, `${prefix}${name}`, depth + 1);
  }
}

/** Finds the text files and the folders with pictures. */
async function search(reading: Reading): Promise<Found> {
  const found: Found = { texts: [], pictureFolders: [] };
  await walk(reading, reading.folder, (prefix, names) => {
    for (const name of names) if (name.endsWith(".txt")) found.texts.push(`${prefix}${name}`);
  });
  await walk(reading, reading.options.images ?? reading.folder, (prefix, names) => {
    if (names.some((name) => pictureName.test(name))) found.pictureFolders.push(prefix);
  });
  return found;
}

/** Folders of pictures, those beside or below the text file first. */
function nearestFirst(folders: readonly string[], text: string): string[] {
  const beside = text.slice(0, text.lastIndexOf("/") + 1);
  return [
    ...folders.filter((folder) => folder.startsWith(beside)),
    ...folders.filter((folder) => !folder.startsWith(beside)),
  ];
}

/** The part a file belongs to: by its own name, else by its folder's. */
function partOf(file: string): Example["split"] {
  for (const name of file.split("/").reverse()) {
    const split = splitInName(name.replace(/([a-z])(?=[A-Z])|[_-]/g, "$1 "));
    if (split) return split;
  }
  return undefined;
}

/** Lines of a file as fields between bars. */
async function* barLines(reading: Reading, name: string) {
  using file = await reading.folder.open(name);
  for await (const { text, line } of textRecords(file)) {
    const place: Place = { file: name, line };
    if (text === undefined) reading.skip(place, "not UTF-8 text");
    else yield { place, fields: text.split("|").map((field) => field.trim()) };
  }
}

/** The 2021 test set keeps its answers in a file of their own: `picture|answer|answer...`. */
async function separateAnswers(reading: Reading, name: string): Promise<Map<string, string[]>> {
  const answers = new Map<string, string[]>();
  for await (const { place, fields } of barLines(reading, name)) {
    if (fields.length < 2) reading.skip(place, "expected picture|answer");
    else answers.set(fields[0], fields.slice(1).filter((field) => field !== ""));
  }
  return answers;
}

/** Kinds of question that stand in a field of their own. */
const KINDS = new Set(["modality", "plane", "organ", "abnormality"]);

/** Picture, kind of question, question and answers of a line; further fields are further answers. */
function partsOfLine(
  fields: readonly string[],
  answers: ReadonlyMap<string, string[]> | undefined,
) {
  const [picture, ...rest] = fields;
  const kind = rest.length > 2 && KINDS.has(rest[0].toLowerCase()) ? rest.shift() : undefined;
  const [question = "", ...own] = rest;
  const given = answers === undefined ? own : answers.get(picture);
  if (given === undefined) throw new FieldError(`the answers do not name "${picture}"`);
  const all = given.flatMap((field) => field.split("#")).map((one) => one.trim());
  const [answer, ...alternatives] = all.filter((one) => one !== "");
  if (picture === "" || question === "" || answer === undefined) {
    throw new FieldError("expected picture|question|answer, none of them empty");
  }
  return { picture, kind, question, answer, alternatives };
}

/** VQA-Med 2019, 2020 and 2021. `#` separates answers that are equally right. */
export const vqaMed: DatasetReader = defineReader({
  name: "vqa_med",
  description: "VQA-Med 2019 to 2021: questions of the ImageCLEF campaigns",
  files:
    "text files picture|question|answer or picture|kind|question|answer and folders of pictures, in the folders of the original archives",
  async *examples(reading) {
    const found = await search(reading);
    const questions = found.texts.filter((name) =>
      !/readme|licen[cs]e|ReferenceAnswers|AllCategories/i.test(name) &&
      // The training archive of 2019 repeats its questions by kind.
      !/QAPairsByCategory/i.test(name)
    );
    if (questions.length === 0) throw reading.noFiles("text files with fields between bars");
    for (const name of questions) {
      const split = partOf(name);
      if (split !== undefined && !reading.wants(split)) continue;
      const answersName = name.replace(/Questions\.txt$/, "ReferenceAnswers.txt");
      const answers = answersName !== name && found.texts.includes(answersName)
        ? await separateAnswers(reading, answersName)
        : undefined;
      const folders = nearestFirst(found.pictureFolders, name);
      for await (const { place, fields } of barLines(reading, name)) {
        const example = await reading.attempt(place, async (): Promise<Example> => {
          const line = partsOfLine(fields, answers);
          const { picture, kind, question, answer, alternatives } = line;
          const names = [...folders, ""].flatMap((folder) =>
            pictureName.test(picture)
              ? [`${folder}${picture}`]
              : [`${folder}${picture}.jpg`, `${folder}${picture}.png`]
          );
          return {
            id: `${name}:${place.line}`,
            image: await reading.image(...names),
            task: "vqa",
            prompt: question,
            answer,
            ...(alternatives.length > 0 ? { alternatives } : {}),
            answerType: /^(yes|no)$/i.test(answer) ? "closed" : "open",
            ...(kind ? { category: kind } : {}),
            ...(split ? { split } : {}),
          };
        });
        if (example) yield example;
      }
    }
  },
});
