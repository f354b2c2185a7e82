/**
 * MS-CXR (Boecking et al., ECCV 2022): phrases of reports with the boxes they speak of, on pictures of MIMIC-CXR.
 *
 * @module
 */
import { type Box, type Example, InputError } from "@medvlm/core";
import { elementsById } from "./coco_document.ts";
import { csvRecords } from "./csv.ts";
import {
  asFields,
  asList,
  attributesOf,
  boxOfSize,
  FieldError,
  numbered,
  numberOf,
  optionalText,
  textOf,
} from "./fields.ts";
import { wholeJson } from "./json_records.ts";
import { type DatasetReader, defineReader, type Place, type Reading } from "./reader.ts";
import { splitPatients } from "./split.ts";

/** A phrase and its box, as either form of the file has it. */
interface Phrase {
  readonly place: Place;
  readonly id: string;
  readonly path: string;
  readonly category: string;
  readonly text: string;
  readonly box: Box;
  readonly size?: string;
  /** Part given by version 1.1 of the dataset. */
  readonly split?: string;
}

/** The file of annotations: any version, JSON before CSV. */
async function annotationFile(reading: Reading): Promise<string> {
  const names = (await reading.list()).filter((name) =>
    /^MS_CXR_Local_Alignment.*\.(json|csv)$/.test(name)
  );
  const newest = (ending: string) => names.filter((name) => name.endsWith(ending)).at(-1);
  const file = newest(".json") ?? newest(".csv");
  if (file === undefined) throw reading.noFiles("MS_CXR_Local_Alignment_v*.json or .csv");
  return file;
}

function sizeOf(width: unknown, height: unknown): string | undefined {
  return width === undefined || height === undefined ? undefined : `${width}x${height}`;
}

async function jsonPhrases(reading: Reading, name: string): Promise<Phrase[]> {
  const document = await wholeJson(reading.folder, name);
  for (const key of ["images", "categories", "annotations"]) {
    if (Array.isArray(document[key])) continue;
    throw new InputError(
      "INVALID_JSON",
      `Cannot read "${name}" of "${reading.folder.name}": it has no list "${key}"; check that it is the file of MS-CXR`,
    );
  }
  const place = { file: name };
  const images = await elementsById(reading, name, document.images, "images");
  const categories = await elementsById(reading, name, document.categories, "categories");
  const phrases: Phrase[] = [];
  for (const [index, value] of asList(document.annotations, "annotations").entries()) {
    const phrase = await reading.attempt(place, () =>
      numbered("annotations", index, () => {
        const fields = asFields(value);
        const image = images.get(textOf(fields, "image_id"))?.fields;
        const category = categories.get(textOf(fields, "category_id"))?.fields;
        if (!image || !category) throw new FieldError("its image or category is not listed");
        return {
          place,
          id: textOf(fields, "id"),
          path: textOf(image, "path"),
          category: textOf(category, "name"),
          text: textOf(fields, "label_text"),
          box: boxOfSize(fields.bbox, '"bbox"'),
          size: sizeOf(image.width, image.height),
          split: optionalText(fields, "split") ?? optionalText(image, "split"),
        };
      }));
    if (phrase) phrases.push(phrase);
  }
  return phrases;
}

async function csvPhrases(reading: Reading, name: string): Promise<Phrase[]> {
  using file = await reading.folder.open(name);
  const columns = ["category_name", "label_text", "path", "x", "y", "w", "h"];
  const phrases: Phrase[] = [];
  for await (const { values, problem, line } of csvRecords(file, columns)) {
    const place = { file: name, line };
    const phrase = await reading.attempt(place, () => {
      if (values === undefined) throw new FieldError(problem ?? "malformed");
      return {
        place,
        id: `line ${line}`,
        path: textOf(values, "path"),
        category: textOf(values, "category_name"),
        text: textOf(values, "label_text"),
        box: boxOfSize(["x", "y", "w", "h"].map((side) => numberOf(values, side))),
        size: sizeOf(values.image_width, values.image_height),
        split: optionalText(values, "split"),
      };
    });
    if (phrase) phrases.push(phrase);
  }
  return phrases;
}

/** The pseudonym in a path of MIMIC-CXR, `files/p10/p10001234/s5.../....jpg`; other paths stand for themselves. */
function patientOf(path: string): string {
  return /(?:^|\/)(p\d{8})\//.exec(path)?.[1] ?? path;
}

const PARTS: Readonly<Record<string, Example["split"]>> = {
  train: "train",
  val: "validate",
  validate: "validate",
  test: "test",
};

/**
 * MS-CXR: one example per box, the phrase as prompt. A phrase with two boxes gives two examples, as PFMVG reads it.
 * Patients are divided 7:1:2 by {@linkcode splitPatients}, unless the file divides them and no seed is given.
 */
export const msCxr: DatasetReader = defineReader({
  name: "ms_cxr",
  description: "MS-CXR: phrases of chest X-ray reports with their boxes",
  files:
    "MS_CXR_Local_Alignment_v*.json or .csv; pictures as the file names them (files/p1*/..., of MIMIC-CXR-JPG)",
  async *examples(reading) {
    const file = await annotationFile(reading);
    const phrases = file.endsWith(".json")
      ? await jsonPhrases(reading, file)
      : await csvPhrases(reading, file);
    const drawn = splitPatients(
      phrases.map(({ path }) => patientOf(path)),
      reading.options.seed ?? 0,
    );
    for (const phrase of phrases) {
      const patient = patientOf(phrase.path);
      const given = reading.options.seed === undefined && phrase.split !== undefined;
      const split = given ? PARTS[phrase.split!] : drawn.get(patient);
      if (!reading.wants(split)) continue;
      const example = await reading.attempt(phrase.place, async (): Promise<Example> => ({
        id: phrase.id,
        image: await reading.image(phrase.path),
        task: "ground-box",
        prompt: phrase.text,
        answer: phrase.text,
        findings: [{ label: phrase.category, span: [0, phrase.text.length], boxes: [phrase.box] }],
        labels: [phrase.category],
        category: phrase.category,
        patient,
        split,
        ...attributesOf({ size: phrase.size }),
      }));
      if (example) yield example;
    }
  },
});
