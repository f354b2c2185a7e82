/**
 * VinDr-CXR (Nguyen et al., Scientific Data 2022): chest radiographs with the boxes and diagnoses of up to three readers.
 *
 * @module
 */
import type { Box, Example, Finding } from "@medvlm/core";
import { csvRecords } from "./csv.ts";
import { attributesOf, boxOfCorners, FieldError, numberOf, textOf } from "./fields.ts";
import { type DatasetReader, defineReader, type Reading } from "./reader.ts";
import {
  mergeDuplicateBoxes,
  VINDR_GLOBAL_LABELS,
  VINDR_LOCAL_LABELS,
  vindrLabel,
} from "./vindr_boxes.ts";

const PARTS = ["train", "test"] as const;
/** Most boxes of one image that are compared with each other. */
const MAX_BOXES = 2000;

/** The boxes of one image by class, in the order of the file. */
type Boxes = Map<string, Box[]>;

/** Boxes by image; an image without findings has none. */
async function readBoxes(reading: Reading, name: string): Promise<Map<string, Boxes>> {
  const images = new Map<string, Boxes>();
  if (!await reading.folder.has(name)) return images;
  using file = await reading.folder.open(name);
  const corners = ["x_min", "y_min", "x_max", "y_max"];
  const columns = ["image_id", "class_name", ...corners];
  for await (const { values, problem, line } of csvRecords(file, columns)) {
    await reading.attempt({ file: name, line }, () => {
      if (values === undefined) throw new FieldError(problem ?? "malformed");
      const id = textOf(values, "image_id"), label = vindrLabel(textOf(values, "class_name"));
      const empty = label === "No finding";
      const box = empty ? undefined : boxOfCorners(corners.map((side) => numberOf(values, side)));
      const boxes: Boxes = images.get(id) ?? new Map();
      images.set(id, boxes);
      if (box === undefined) return;
      const same = boxes.get(label) ?? [];
      if (same.length >= MAX_BOXES) throw new FieldError(`more than ${MAX_BOXES} boxes`);
      boxes.set(label, [...same, box]);
    });
  }
  return images;
}

/** How many readers chose each diagnosis, and how many read the image. */
interface Votes {
  readers: number;
  readonly counts: Map<string, number>;
}

async function readVotes(reading: Reading, name: string): Promise<Map<string, Votes>> {
  const images = new Map<string, Votes>();
  if (!await reading.folder.has(name)) return images;
  using file = await reading.folder.open(name);
  for await (const { values, problem, line } of csvRecords(file, ["image_id"])) {
    await reading.attempt({ file: name, line }, () => {
      if (values === undefined) throw new FieldError(problem ?? "malformed");
      const chosen = Object.keys(values).filter((column) => {
        const label = vindrLabel(column);
        if (!VINDR_GLOBAL_LABELS.includes(label) && !VINDR_LOCAL_LABELS.includes(label)) {
          return false;
        }
        const flag = numberOf(values, column);
        if (flag !== 0 && flag !== 1) throw new FieldError(`"${column}" is neither 0 nor 1`);
        return flag === 1;
      });
      const id = textOf(values, "image_id");
      const votes = images.get(id) ?? { readers: 0, counts: new Map() };
      images.set(id, votes);
      votes.readers++;
      for (const label of chosen.map(vindrLabel)) {
        votes.counts.set(label, (votes.counts.get(label) ?? 0) + 1);
      }
    });
  }
  return images;
}

function findingsOf(boxes: Boxes): Finding[] {
  return [...boxes].map(([label, all]) => ({
    label,
    boxes: mergeDuplicateBoxes(all).map((index) => all[index]),
  }));
}

const sentence = (labels: readonly string[]) =>
  `${labels.length === 0 ? "No finding" : labels.join(", ")}.`;

/** The example about boxes. */
function localExample(common: Pick<Example, "image" | "split">, id: string, boxes: Boxes): Example {
  const findings = findingsOf(boxes);
  const labels = findings.map(({ label }) => label);
  return {
    ...common,
    id: `${id}/local`,
    task: "ground-box",
    prompt: "Which findings does this chest radiograph show, and where?",
    answer: sentence(labels),
    findings,
    labels: labels.length === 0 ? ["No finding"] : labels,
    category: "local",
  };
}

/** The example about diagnoses: all that any reader chose. */
function globalExample(
  common: Pick<Example, "image" | "split">,
  id: string,
  votes: Votes,
): Example {
  const labels = VINDR_GLOBAL_LABELS.filter((label) => votes.counts.has(label));
  const conflict = labels.includes("No finding") && votes.counts.size > 1;
  return {
    ...common,
    id: `${id}/global`,
    task: "classify",
    prompt: "Which diagnoses does this chest radiograph show?",
    answer: sentence(labels),
    labels,
    choices: VINDR_GLOBAL_LABELS,
    category: "global",
    ...attributesOf({
      readers: String(votes.readers),
      votes: [...votes.counts].map(([label, count]) => `${label} ${count}`).join(", "),
      conflict: conflict ? "yes" : undefined,
    }),
  };
}

/**
 * VinDr-CXR: per image one example `.../local` with the boxes of all readers, merged by
 * {@linkcode mergeDuplicateBoxes}, and one `.../global` with the diagnoses that any reader chose.
 * `attributes.conflict` marks images that one reader finds normal and another does not.
 */
export const vindrCxr: DatasetReader = defineReader({
  name: "vindr_cxr",
  description: "VinDr-CXR: boxes and diagnoses of several readers on chest radiographs",
  files:
    "annotations/annotations_{train,test}.csv, annotations/image_labels_{train,test}.csv; pictures in {train,test}/ (.dicom) or images/ (.jpg, .png)",
  async *examples(reading) {
    let found = false;
    for (const split of PARTS) {
      const boxFile = `annotations/annotations_${split}.csv`;
      const labelFile = `annotations/image_labels_${split}.csv`;
      const [part] = await reading.existing([{ file: boxFile }, { file: labelFile }]);
      if (part === undefined) continue;
      found = true;
      if (!reading.wants(split)) continue;
      const boxes = await readBoxes(reading, boxFile);
      const votes = await readVotes(reading, labelFile);
      for (const id of new Set([...boxes.keys(), ...votes.keys()])) {
        const file = boxes.has(id) ? boxFile : labelFile;
        const common = await reading.attempt({ file }, async () => ({
          image: await reading.image(
            `images/${id}.jpg`,
            `images/${id}.png`,
            `${split}/${id}.dicom`,
            `${split}/${id}.jpg`,
            `${split}/${id}.png`,
          ),
          split,
        }));
        if (common === undefined) continue;
        const own = boxes.get(id), chosen = votes.get(id);
        if (own) yield localExample(common, id, own);
        if (chosen) yield globalExample(common, id, chosen);
      }
    }
    if (!found) {
      throw reading.noFiles("annotations/annotations_*.csv, annotations/image_labels_*.csv");
    }
  },
});
