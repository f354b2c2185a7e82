/**
 * Pictures with one mask file per object: SA-Med2D-20M (Ye et al., 2023) and the layout of the SAM-Med2D repository.
 *
 * @module
 */
import { type Example, type Finding, readJson } from "@medvlm/core";
import { asList, asNumber, asText, attributesOf, FieldError } from "./fields.ts";
import { jsonRecords } from "./json_records.ts";
import { type DatasetReader, defineReader, type Place, type Reading } from "./reader.ts";

const CLASS_FILE = "SAMed2D_v1_class_mapping_id.json";
const INDEX_FILE = "SAMed2D_v1.json";
/** Most masks of one picture. */
const MAX_MASKS = 10_000;

/** Names of SA-Med2D-20M's classes by number, where the folder of annotations or of pictures has the table. */
export async function readClassNames(reading: Reading): Promise<ReadonlyMap<number, string>> {
  const classes = new Map<number, string>();
  for (const folder of [reading.folder, reading.options.images]) {
    if (folder === undefined || !await folder.has(CLASS_FILE)) continue;
    for (const [name, number] of Object.entries(await readJson(folder, CLASS_FILE))) {
      const known = await reading.attempt(
        { file: CLASS_FILE },
        () => asNumber(number, `"${name}"`),
      );
      if (known !== undefined) classes.set(known, name);
    }
    break;
  }
  return classes;
}

/** A picture and its masks as an index lists them. */
interface Entry {
  readonly place: Place;
  readonly image: string;
  readonly masks: readonly string[];
}

/** The members of an index `picture: [masks]` or `mask: picture`. */
async function* entries(reading: Reading, name: string, inverted: boolean): AsyncGenerator<Entry> {
  using file = await reading.folder.open(name);
  for await (const { key, value, problem, line } of jsonRecords(file)) {
    const place = { file: name, line };
    const entry = await reading.attempt(place, () => {
      if (problem !== undefined) throw new FieldError(problem);
      if (key === undefined) throw new FieldError("the index is a list, not an object");
      if (inverted) return { place, image: asText(value, "the picture"), masks: [key] };
      const masks = asList(value, "the masks").map((mask) => asText(mask, "a mask"));
      if (masks.length > MAX_MASKS) throw new FieldError(`${masks.length} masks`);
      return { place, image: key, masks };
    });
    if (entry) yield entry;
  }
}

/** Groups mask files by label, in order of first appearance. */
function findingsOf(masks: readonly { label: string; file: string }[]): Finding[] {
  const groups = Map.groupBy(masks, ({ label }) => label);
  return [...groups].map(([label, members]) => ({
    label,
    boxes: [],
    maskFiles: members.map(({ file }) => file),
  }));
}

function exampleOf(
  id: string,
  image: string,
  findings: Finding[],
): Pick<Example, "id" | "image" | "task" | "prompt" | "answer" | "findings"> {
  const names = findings.map(({ label }) => label.replaceAll("_", " ")).join(", ");
  return {
    id,
    image,
    task: "ground-mask",
    prompt: `Segment in this image: ${names}.`,
    answer: `${names}.`,
    findings,
  };
}

/**
 * SA-Med2D-20M: one example per picture with all its masks, grouped by class. File names tell the rest:
 * `modality_plane--dataset--case--slice.png`, and for masks `--class_instance` at the end.
 */
export const saMed2d20m: DatasetReader = defineReader({
  name: "sa_med2d_20m",
  description: "SA-Med2D-20M: pictures of ten modalities with masks of organs and lesions",
  files: `${INDEX_FILE}, ${CLASS_FILE}, images/, masks/`,
  async *examples(reading) {
    if (!await reading.folder.has(INDEX_FILE)) throw reading.noFiles(INDEX_FILE);
    const classes = await readClassNames(reading);
    for await (const { place, image, masks } of entries(reading, INDEX_FILE, false)) {
      const example = await reading.attempt(place, async (): Promise<Example> => {
        const stem = image.split("/").at(-1)!.replace(/\.png$/, "");
        const [modality, dataset, patient, slice] = stem.split("--");
        const files = [];
        for (const mask of masks) {
          const number = /--(\d+)_\d+\.png$/.exec(mask)?.[1];
          if (number === undefined) throw new FieldError(`"${mask}" does not name a class`);
          const label = classes.get(Number(number)) ?? number;
          files.push({ label, file: await reading.image(mask) });
        }
        if (slice === undefined) throw new FieldError(`"${image}" does not name modality and case`);
        return {
          ...exampleOf(stem, await reading.image(image), findingsOf(files)),
          patient: `${dataset}--${patient}`,
          ...attributesOf({ modality: modality.split("_")[0], view: modality, dataset, slice }),
        };
      });
      if (example) yield example;
    }
  },
});

/** The name between picture and instance: `s0114_111_heart_atrium_left_000.png` gives `heart_atrium_left`. */
function labelOfMask(mask: string, image: string): string {
  const stem = image.split("/").at(-1)!.replace(/\.\w+$/, "");
  const name = mask.split("/").at(-1)!.replace(/\.\w+$/, "");
  const label = name.startsWith(`${stem}_`) ? name.slice(stem.length + 1).replace(/_\d+$/, "") : "";
  if (label === "") throw new FieldError(`"${mask}" does not name its picture and class`);
  return label;
}

/** A path of the index, from the repository's folder or from its data folder. */
function pathChoices(path: string): string[] {
  const inner = path.slice(path.indexOf("/") + 1);
  return inner === path ? [path] : [path, inner];
}

const SAM_PARTS = [
  { name: "image2label_train.json", split: "train", inverted: false },
  { name: "label2image_test.json", split: "test", inverted: true },
] as const;

/** The layout of SAM-Med2D: for training pictures with all their masks, for testing one example per mask. */
export const samMed2d: DatasetReader = defineReader({
  name: "sam_med2d",
  description: "SAM-Med2D layout: pictures with one mask file per organ",
  files:
    "image2label_train.json and label2image_test.json, here or in data_demo/, with the pictures and masks they name",
  async *examples(reading) {
    const parts = await reading.existing(
      SAM_PARTS.flatMap((part) =>
        ["", "data_demo/"].map((at) => ({ ...part, file: at + part.name }))
      ),
    );
    if (parts.length === 0) throw reading.noFiles(SAM_PARTS.map(({ name }) => name).join(", "));
    for (const { file, split, inverted } of parts) {
      if (!reading.wants(split)) continue;
      for await (const { place, image, masks } of entries(reading, file, inverted)) {
        const example = await reading.attempt(place, async (): Promise<Example> => {
          const files = [];
          for (const mask of masks) {
            const found = await reading.image(...pathChoices(mask));
            files.push({ label: labelOfMask(mask, image), file: found });
          }
          const picture = await reading.image(...pathChoices(image));
          return { ...exampleOf(inverted ? masks[0] : image, picture, findingsOf(files)), split };
        });
        if (example) yield example;
      }
    }
  },
});
