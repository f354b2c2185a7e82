/**
 * NIH ChestX-ray14 (Wang et al., CVPR 2017): chest radiographs with labels mined from reports, and hand-drawn boxes on a
 * part of the test pictures.
 *
 * @module
 */
import type { Example, Finding } from "@medvlm/core";
import { csvRecords, csvRows } from "./csv.ts";
import { attributesOf, boxOfSize, FieldError, optionalText, textOf } from "./fields.ts";
import {
  type DatasetReader,
  defineReader,
  type Place,
  type Reading,
  type Split,
} from "./reader.ts";
import { textRecords } from "./text_records.ts";

const LABEL_FILES = ["Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"].map((file) => ({ file }));
const BOX_FILE = "BBox_List_2017.csv";

/** Folders of the archives, `images_001/images` to `images_012/images`, or one folder for all. */
const PICTURE_FOLDERS = [
  "images",
  ...Array.from({ length: 12 }, (_, index) => `images_${`${index + 1}`.padStart(3, "0")}/images`),
];

function picture(reading: Reading, name: string): Promise<string> {
  return reading.image(...PICTURE_FOLDERS.map((folder) => `${folder}/${name}`), name);
}

/** The patient is the first part of a picture's name. */
function patientOf(name: string): string | undefined {
  return /^(\d+)_/.exec(name)?.[1];
}

/** The official lists name the pictures of both parts. */
async function officialSplits(reading: Reading): Promise<Map<string, Split>> {
  const splits = new Map<string, Split>();
  for (
    const [name, split] of [["train_val_list.txt", "train"], ["test_list.txt", "test"]] as const
  ) {
    if (!await reading.folder.has(name)) continue;
    using file = await reading.folder.open(name);
    for await (const { text } of textRecords(file)) if (text) splits.set(text.trim(), split);
  }
  return splits;
}

/** The labels of all pictures. */
export const nih14: DatasetReader = defineReader({
  name: "nih14",
  description: "NIH ChestX-ray14: labels of chest radiographs",
  files:
    "Data_Entry_2017_v2020.csv, train_val_list.txt and test_list.txt (optional); pictures in images/ or images_NNN/images/",
  async *examples(reading) {
    const [part] = await reading.existing(LABEL_FILES);
    if (part === undefined) throw reading.noFiles(LABEL_FILES.map(({ file }) => file).join(", "));
    const splits = await officialSplits(reading);
    using file = await reading.folder.open(part.file);
    for await (
      const { values, problem, line } of csvRecords(file, ["Image Index", "Finding Labels"])
    ) {
      const example = await reading.attempt(
        { file: part.file, line },
        async (): Promise<Example> => {
          if (values === undefined) throw new FieldError(problem ?? "malformed");
          const name = textOf(values, "Image Index");
          const labels = textOf(values, "Finding Labels").split("|").map((label) => label.trim());
          const split = splits.get(name);
          return {
            id: name,
            image: await picture(reading, name),
            task: "classify",
            prompt: "Which findings does this chest radiograph show?",
            answer: `${labels.join(", ")}.`,
            labels,
            patient: patientOf(name) ?? optionalText(values, "Patient ID"),
            ...(split ? { split } : {}),
            ...attributesOf({
              view: optionalText(values, "View Position"),
              age: optionalText(values, "Patient Age"),
              gender: optionalText(values, "Patient Gender"),
            }),
          };
        },
      );
      if (example) yield example;
    }
  },
});

/** A picture with all its boxes. */
interface Boxed {
  readonly place: Place;
  readonly findings: Finding[];
}

/**
 * The rows of the list by picture. Its header spreads `Bbox [x,y,w,h]` over four columns and adds empty ones, so that
 * only the position of a field tells what it is.
 */
async function readBoxes(reading: Reading): Promise<Map<string, Boxed>> {
  using file = await reading.folder.open(BOX_FILE);
  const pictures = new Map<string, Boxed>();
  let header = true;
  for await (const { fields, problem, line } of csvRows(file)) {
    const place = { file: BOX_FILE, line };
    if (header && fields?.[0].trim() === "Image Index") {
      header = false;
      continue;
    }
    header = false;
    await reading.attempt(place, () => {
      if (fields === undefined) throw new FieldError(problem ?? "malformed");
      if (fields.length < 6) throw new FieldError(`${fields.length} fields instead of 6`);
      const [name, label, ...sides] = fields.slice(0, 6).map((field) => field.trim());
      if (name === "" || label === "") throw new FieldError("picture or label is empty");
      const finding = { label, boxes: [boxOfSize(sides)] };
      const known = pictures.get(name);
      if (known) known.findings.push(finding);
      else pictures.set(name, { place, findings: [finding] });
    });
  }
  return pictures;
}

/** The boxes, one example per picture; all of them belong to the test part. Pixels of the 1024x1024 pictures. */
export const nih14Boxes: DatasetReader = defineReader({
  name: "nih14_boxes",
  description: "NIH ChestX-ray14: boxes of eight findings on test pictures",
  files: `${BOX_FILE}; pictures in images/ or images_NNN/images/`,
  async *examples(reading) {
    if (!await reading.folder.has(BOX_FILE)) throw reading.noFiles(BOX_FILE);
    for (const [name, { place, findings }] of await readBoxes(reading)) {
      const example = await reading.attempt(place, async (): Promise<Example> => {
        const labels = [...new Set(findings.map(({ label }) => label))];
        return {
          id: name,
          image: await picture(reading, name),
          task: "ground-box",
          prompt: "Which findings does this chest radiograph show, and where?",
          answer: `${labels.join(", ")}.`,
          findings,
          labels,
          patient: patientOf(name),
          split: "test",
        };
      });
      if (example) yield example;
    }
  },
});
