/**
 * Captions of radiology figures: ROCO (Pelka et al., LABELS 2018), ROCOv2 (Rückert et al., Scientific Data 2024), the
 * tables of ImageCLEF's caption task, and lists of pictures with captions as PeFoMed reads them.
 *
 * @module
 */
import type { Example } from "@medvlm/core";
import { csvRecords } from "./csv.ts";
import { attributesOf, FieldError, optionalText, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type PartFile, type Reading } from "./reader.ts";
import { textRecords } from "./text_records.ts";
import { listedRecords, splitInName } from "./vqa_records.ts";

/** What is asked where nothing is: one of the instructions of PeFoMed's first stage. */
const PROMPT = "Briefly describe this image.";

/** A caption and what belongs to it. */
interface Caption {
  readonly id: string;
  readonly text: string;
  readonly images: readonly string[];
  readonly split?: PartFile["split"];
  readonly labels?: readonly string[];
  readonly attributes?: Record<string, string>;
}

async function exampleOf(reading: Reading, caption: Caption): Promise<Example> {
  const { id, text, images, split, labels, attributes } = caption;
  return {
    id,
    image: await reading.image(...images),
    task: "caption",
    prompt: PROMPT,
    answer: text,
    ...(labels && labels.length > 0 ? { labels } : {}),
    ...(split ? { split } : {}),
    ...(attributes ? { attributes } : {}),
  };
}

/** Lines `id<tab>rest` of a file beside the captions, by id. */
async function byId(reading: Reading, name: string): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  if (!await reading.folder.has(name)) return found;
  using file = await reading.folder.open(name);
  for await (const { text } of textRecords(file)) {
    const [id, ...rest] = (text ?? "").split("\t").map((field) => field.trim());
    found.set(id, rest.filter((field) => field !== ""));
  }
  return found;
}

/** The tab-separated files of ROCO: `captions.txt` with keywords and sources beside it. */
async function* rocoText(reading: Reading, file: string, split: PartFile["split"]) {
  const folder = file.slice(0, file.lastIndexOf("/") + 1);
  const keywords = await byId(reading, `${folder}keywords.txt`);
  const sources = await byId(reading, `${folder}dlinks.txt`);
  using source = await reading.folder.open(file);
  for await (const { text, line } of textRecords(source)) {
    const example = await reading.attempt({ file, line }, () => {
      if (text === undefined) throw new FieldError("not UTF-8 text");
      const tab = text.indexOf("\t");
      const id = text.slice(0, Math.max(tab, 0)).trim(), caption = text.slice(tab + 1).trim();
      if (id === "" || caption === "") throw new FieldError("expected a name, a tab and a caption");
      const article = /(PMC\d+)\.tar/.exec(sources.get(id)?.[0] ?? "")?.[1];
      return exampleOf(reading, {
        id,
        text: caption,
        images: [`${folder}images/${id}.jpg`],
        split,
        labels: keywords.get(id),
        ...attributesOf({ article, figure: sources.get(id)?.[1] }),
      });
    });
    if (example) yield example;
  }
}

/** Tables with a column of names and one of captions. */
async function* captionTable(reading: Reading, { file, split }: PartFile, delimiter: string) {
  const part = /(train|valid|test)/.exec(file)?.[0];
  const concepts = new Map<string, string[]>();
  const conceptFile = file.replace("captions", "concepts");
  if (conceptFile !== file && await reading.folder.has(conceptFile)) {
    using source = await reading.folder.open(conceptFile);
    for await (const { values } of csvRecords(source, ["ID", "CUIs"])) {
      if (values) concepts.set(values.ID, values.CUIs.split(";").filter(Boolean));
    }
  }
  const column = delimiter === "\t" ? "caption" : "Caption";
  using source = await reading.folder.open(file);
  for await (const { values, problem, line } of csvRecords(source, ["ID", column], delimiter)) {
    const example = await reading.attempt({ file, line }, () => {
      if (values === undefined) throw new FieldError(problem ?? "malformed");
      const id = textOf(values, "ID");
      return exampleOf(reading, {
        id,
        text: textOf(values, column),
        images: [`${part}/${id}.jpg`, `${part}_images/${id}.jpg`, `images/${id}.jpg`],
        split,
        labels: concepts.get(id),
      });
    });
    if (example) yield example;
  }
}

async function* captionLists(reading: Reading, lists: readonly PartFile[]) {
  for await (const { place, part, index, fields } of listedRecords(reading, lists)) {
    const example = await reading.attempt(place, () => {
      const path = textOf(fields, "image"), base = path.split("/").at(-1)!;
      return exampleOf(reading, {
        id: optionalText(fields, "id") ?? `${part.file}/${index}`,
        text: textOf(fields, "caption"),
        images: [path, `images/${path}`, `images/${base}`],
        split: part.split,
      });
    });
    if (example) yield example;
  }
}

const TEXTS = [
  { file: "train/radiology/captions.txt", split: "train" },
  { file: "validation/radiology/captions.txt", split: "validate" },
  { file: "test/radiology/captions.txt", split: "test" },
  { file: "radiology/captions.txt", split: undefined },
] as const;

const SHORT = [["train", "train"], ["valid", "validate"], ["test", "test"]] as const;
const TABLES = SHORT.map(([name, split]) => ({ file: `${name}_captions.csv`, split }));
const CLEF_TABLES = SHORT.map(([name, split]) => ({
  file: `caption_prediction_${name}.csv`,
  split,
}));

/** Captions of figures in any of the published layouts; `labels` are keywords (ROCO) or UMLS concepts (ROCOv2). */
export const roco: DatasetReader = defineReader({
  name: "roco",
  description: "ROCO, ROCOv2 and ImageCLEF captions of radiology figures",
  files:
    "{train,validation,test}/radiology/captions.txt with images/ beside (ROCO), {train,valid,test}_captions.csv (ROCOv2), caption_prediction_*.csv (ImageCLEF), or *.json lists of image and caption",
  async *examples(reading) {
    const wanted = async (parts: readonly PartFile[]) =>
      (await reading.existing(parts)).filter(({ split }) => !split || reading.wants(split));
    const lists = (await reading.list()).filter((name) => name.endsWith(".json"))
      .map((file) => ({ file, split: splitInName(file) }));
    const all = [...TEXTS, ...TABLES, ...CLEF_TABLES, ...lists];
    if ((await reading.existing(all)).length === 0) {
      throw reading.noFiles("captions.txt, *_captions.csv, caption_prediction_*.csv, *.json");
    }
    for (const { file, split } of await wanted(TEXTS)) yield* rocoText(reading, file, split);
    for (const part of await wanted(TABLES)) yield* captionTable(reading, part, ",");
    for (const part of await wanted(CLEF_TABLES)) yield* captionTable(reading, part, "\t");
    yield* captionLists(reading, lists);
  },
});
