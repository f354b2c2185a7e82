/**
 * NIH ChestX-ray14 (Wang et al., CVPR 2017): chest radiographs with labels mined from reports, and hand-drawn boxes on a
 * part of the test pictures.
 *
 * @module
 */
import { type Example, type Finding, InputError } from "@medvlm/core";
import { imageSize } from "@medvlm/core/image";
import { csvRecords, csvRows } from "./csv.ts";
import {
  asFields,
  attributesOf,
  boxOfSize,
  FieldError,
  numbered,
  optionalText,
  textOf,
} from "./fields.ts";
import { wholeJson } from "./json_records.ts";
import {
  type DatasetReader,
  defineReader,
  type Place,
  type Reading,
  type Split,
} from "./reader.ts";
import { textRecords } from "./text_records.ts";

const LABEL_FILES = ["Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"].map((file) => ({ file }));
const BOX_TABLE = "BBox_List_2017.csv", BOX_RECORDS = "boxes.json";
/** Width and height of all pictures as released, in pixels. */
const RELEASED_SIDE = 1024;

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

/** A picture with all its boxes, in pixels of the pictures as released. */
interface Boxed {
  readonly place: Place;
  readonly findings: Finding[];
}

/** Gathers boxes by picture. */
class BoxList {
  readonly pictures = new Map<string, Boxed>();

  add(place: Place, name: string, finding: Finding): void {
    const known = this.pictures.get(name);
    if (known) known.findings.push(finding);
    else this.pictures.set(name, { place, findings: [finding] });
  }
}

/**
 * The rows of the list by picture. Its header spreads `Bbox [x,y,w,h]` over four columns and adds empty ones, so that
 * only the position of a field tells what it is.
 */
async function readBoxTable(reading: Reading): Promise<Map<string, Boxed>> {
  using file = await reading.folder.open(BOX_TABLE);
  const list = new BoxList();
  let header = true;
  for await (const { fields, problem, line } of csvRows(file)) {
    const place = { file: BOX_TABLE, line };
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
      list.add(place, name, { label, boxes: [boxOfSize(sides)] });
    });
  }
  return list.pictures;
}

/** The boxes of a JSON file: `boxes` is a list of `image`, `label` and `box_1024_xywh`. */
async function readBoxRecords(reading: Reading): Promise<Map<string, Boxed>> {
  const place = { file: BOX_RECORDS }, list = new BoxList();
  const { boxes } = await wholeJson(reading.folder, BOX_RECORDS);
  if (!Array.isArray(boxes)) reading.skip(place, 'it has no list "boxes"');
  for (const [index, value] of (Array.isArray(boxes) ? boxes : []).entries()) {
    await reading.attempt(place, () =>
      numbered("boxes", index, () => {
        const fields = asFields(value), side = "box_1024_xywh";
        const finding = {
          label: textOf(fields, "label"),
          boxes: [boxOfSize(fields[side], `"${side}"`)],
        };
        list.add(place, textOf(fields, "image"), finding);
      }));
  }
  return list.pictures;
}

/** How many pixels of a picture there are for one of the picture as released, across and down. */
async function scaleOf(reading: Reading, image: string): Promise<readonly [number, number]> {
  const folder = reading.options.images ?? reading.folder;
  if (!await folder.has(image)) return [1, 1];
  using file = await folder.open(image);
  try {
    const { width, height } = await imageSize(file);
    return [width / RELEASED_SIDE, height / RELEASED_SIDE];
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new FieldError(`its boxes have no scale: ${error.message}`);
  }
}

function scaled(findings: readonly Finding[], [across, down]: readonly [number, number]) {
  return findings.map((finding): Finding => ({
    ...finding,
    boxes: finding.boxes.map(([x0, y0, x1, y1]) =>
      [x0 * across, y0 * down, x1 * across, y1 * down] as const
    ),
  }));
}

/**
 * The boxes, one example per picture; all of them belong to the test part. The list gives them in pixels of the pictures
 * as released, 1024x1024; where a picture has another size, such as a thumbnail, they are scaled to it.
 */
export const nih14Boxes: DatasetReader = defineReader({
  name: "nih14_boxes",
  description: "NIH ChestX-ray14: boxes of eight findings on test pictures",
  files: `${BOX_TABLE}, or ${BOX_RECORDS}; pictures of any size in images/ or images_NNN/images/`,
  async *examples(reading) {
    const isTable = await reading.folder.has(BOX_TABLE);
    if (!isTable && !await reading.folder.has(BOX_RECORDS)) {
      throw reading.noFiles(`${BOX_TABLE}, ${BOX_RECORDS}`);
    }
    const pictures = isTable ? await readBoxTable(reading) : await readBoxRecords(reading);
    for (const [name, { place, findings }] of pictures) {
      const example = await reading.attempt(place, async (): Promise<Example> => {
        const labels = [...new Set(findings.map(({ label }) => label))];
        const image = await picture(reading, name);
        return {
          id: name,
          image,
          task: "ground-box",
          prompt: "Which findings does this chest radiograph show, and where?",
          answer: `${labels.join(", ")}.`,
          findings: scaled(findings, await scaleOf(reading, image)),
          labels,
          patient: patientOf(name),
          split: "test",
        };
      });
      if (example) yield example;
    }
  },
});
