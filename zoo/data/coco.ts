/**
 * Instances in the format of COCO (Lin et al., ECCV 2014; https://cocodataset.org/#format-data), in which most tools for
 * annotation export: boxes, and masks as outlines or run lengths.
 *
 * @module
 */
import type { Box, Example, Finding } from "@medvlm/core";
import { type Element, elementsById } from "./coco_document.ts";
import {
  asFields,
  asList,
  asNumber,
  attributesOf,
  boxOfSize,
  FieldError,
  type Fields,
  numbered,
  optionalText,
  textOf,
} from "./fields.ts";
import { wholeJson } from "./json_records.ts";
import { boxOfRuns, checkMaskSize, maskOf, type MaskRuns, maskRunsOf } from "./mask_runs.ts";
import { runsOfOutlines } from "./outlines.ts";
import { type DatasetReader, defineReader, type PartFile, type Reading } from "./reader.ts";
import { splitInName } from "./vqa_records.ts";

/** Folders that may hold lists: the official layout, and those that Roboflow exports. */
const FOLDERS = ["annotations", "train", "valid", "val", "validation", "test"];
/** Names of lists of instances; other lists beside them (captions, keypoints) are of another kind. */
const USUAL = /^(instances.*|_?annotations.*|.*\bcoco\b.*)\.json$/i;
/** Most runs of all masks of an example: 32 MiB. A short outline can have as many as the picture has pixels. */
const MAX_RUNS = 2 ** 22;
const LISTS = ["images", "categories", "annotations"] as const;

/** The lists of a folder: those of the usual names, or else all JSON files. */
async function annotationFiles(reading: Reading): Promise<PartFile[]> {
  const files: string[] = [];
  for (const folder of [undefined, ...FOLDERS]) {
    const names = (await reading.list(folder)).filter((name) => /\.json$/i.test(name));
    files.push(...names.map((name) => folder === undefined ? name : `${folder}/${name}`));
  }
  const usual = files.filter((file) => USUAL.test(file.split("/").at(-1)!));
  const chosen = usual.length > 0 ? usual : files;
  if (chosen.length === 0) {
    throw reading.noFiles("instances_*.json, *coco.json or other .json files of COCO's format");
  }
  return chosen.map((file) => {
    const split = splitInName(file);
    return split === undefined ? { file } : { file, split };
  });
}

/** Where a picture may lie: beside its list, in `images`, or in a folder with the name of the part. */
function pictureChoices(file: string, name: string): string[] {
  const [list, ...above] = file.split("/").reverse();
  const folder = above.length === 0 || above[0] === "annotations" ? "" : `${above[0]}/`;
  const part = /^instances_(.+)\.json$/i.exec(list)?.[1];
  return [
    `${folder}${name}`,
    `${folder}images/${name}`,
    ...(part === undefined ? [] : [`${part}/${name}`, `images/${part}/${name}`]),
    ...(folder === "" ? [] : [`images/${folder}${name}`, name]),
  ];
}

/** The mask of an annotation; nothing where it has none. */
function runsOf(segmentation: unknown, image: Fields): MaskRuns | undefined {
  if (segmentation === undefined || segmentation === null) return undefined;
  const outlines = Array.isArray(segmentation) ? segmentation : undefined;
  // Lists of boxes alone carry empty outlines.
  if (outlines?.every((one) => Array.isArray(one) && one.length === 0)) return undefined;
  const size = checkMaskSize(
    image.width,
    image.height,
    'its image has no whole numbers as "width" and "height"',
  );
  if (outlines !== undefined) {
    return runsOfOutlines(
      outlines.map((one, index) => {
        const what = `outline ${index + 1}`;
        return asList(one, what).map((value) => asNumber(value, what));
      }),
      size,
    );
  }
  const runs = maskRunsOf(asFields(segmentation, '"segmentation"'));
  if (runs.size[0] !== size[0] || runs.size[1] !== size[1]) {
    throw new FieldError(
      `a mask has ${runs.size[1]}x${runs.size[0]} pixels and its image ${size[1]}x${size[0]}`,
    );
  }
  return runs;
}

/** What an annotation marks. */
interface Marked {
  readonly boxes: readonly Box[];
  readonly runs: MaskRuns | undefined;
  readonly isCrowd: boolean;
}

function markedBy(fields: Fields, image: Fields): Marked {
  const runs = runsOf(fields.segmentation, image);
  const around = runs && boxOfRuns(runs);
  if (runs && around === undefined) throw new FieldError('"segmentation" holds no pixel');
  const parts = fields.component_boxes === undefined
    ? []
    : asList(fields.component_boxes, '"component_boxes"');
  const boxes = parts.map((part) => boxOfSize(part, '"component_boxes"'));
  if (boxes.length === 0) {
    if (fields.bbox !== undefined) boxes.push(boxOfSize(fields.bbox, '"bbox"'));
    else if (around) boxes.push(around);
    else throw new FieldError('it has neither "bbox" nor "segmentation"');
  }
  return { boxes, runs, isCrowd: Number(fields.iscrowd) === 1 };
}

/** What the annotations of one group mark, without those that are malformed. */
async function markedByAll(
  reading: Reading,
  file: string,
  members: readonly Element[],
  image: Fields,
): Promise<Marked[]> {
  const marked: Marked[] = [];
  let runs = 0;
  for (const { index, fields } of members) {
    const one = await reading.attempt({ file }, () =>
      numbered("annotations", index, () => {
        const one = runs < MAX_RUNS ? markedBy(fields, image) : undefined;
        runs += one?.runs?.counts.length ?? 0;
        if (one === undefined || runs > MAX_RUNS) {
          throw new FieldError(
            `it and those before it have masks of more than ${MAX_RUNS} runs in one picture`,
          );
        }
        return one;
      }));
    if (one) marked.push(one);
  }
  return marked;
}

/** A category as the list names it. */
interface Category {
  readonly name: string;
  readonly group: string | undefined;
}

/** The annotations of every image by the name of their category, in order. */
type Groups = Map<string, Map<string, { category: Category; members: Element[] }>>;

async function groupsOf(
  reading: Reading,
  file: string,
  document: Fields,
  images: ReadonlyMap<string, Element>,
): Promise<Groups> {
  const categories = new Map<string, Category>();
  const listed = await elementsById(reading, file, document.categories, "categories");
  for (const [id, { index, fields }] of listed) {
    await reading.attempt({ file }, () =>
      numbered("categories", index, () => {
        const group = optionalText(fields, "supercategory");
        categories.set(id, {
          name: textOf(fields, "name"),
          group: group === "none" ? undefined : group,
        });
      }));
  }
  const groups: Groups = new Map();
  for (const [index, value] of asList(document.annotations, "annotations").entries()) {
    await reading.attempt({ file }, () =>
      numbered("annotations", index, () => {
        const fields = asFields(value);
        const image = textOf(fields, "image_id");
        const category = categories.get(textOf(fields, "category_id"));
        if (!images.has(image) || category === undefined) {
          throw new FieldError("its image or category is not listed");
        }
        const ofImage: NonNullable<ReturnType<Groups["get"]>> = groups.get(image) ?? new Map();
        groups.set(image, ofImage);
        const group = ofImage.get(category.name);
        if (group) group.members.push({ index, fields });
        else ofImage.set(category.name, { category, members: [{ index, fields }] });
      }));
  }
  return groups;
}

/** One question about everything of one category in a picture. */
function exampleOf(
  { name, group }: Category,
  marked: readonly Marked[],
): Omit<Example, "id" | "image"> {
  const plain = name.replaceAll("_", " ");
  const masks = marked.flatMap(({ runs }) => runs ? [maskOf(runs)] : []);
  // A mask for some of the objects only would call the others wrong.
  const hasMasks = masks.length === marked.length;
  const finding: Finding = {
    label: name,
    boxes: marked.flatMap(({ boxes }) => boxes),
    ...(hasMasks ? { masks } : {}),
  };
  const crowds = marked.filter(({ isCrowd }) => isCrowd).length;
  return {
    task: hasMasks ? "ground-mask" : "ground-box",
    prompt: hasMasks
      ? `Segment in this image: ${plain}.`
      : `Where in this image is the following: ${plain}?`,
    answer: `${plain}.`,
    findings: [finding],
    labels: [name],
    ...(group === undefined ? {} : { category: group }),
    ...attributesOf({ crowds: crowds === 0 ? undefined : `${crowds}` }),
  };
}

/** The examples of one list. */
async function* examplesOf(
  reading: Reading,
  { file, split }: PartFile,
  idPrefix: string,
): AsyncGenerator<Example> {
  const place = { file };
  const document = await wholeJson(reading.folder, file);
  const missing = LISTS.filter((list) => !Array.isArray(document[list]));
  if (missing.length > 0) {
    reading.skip(place, `it has no list "${missing[0]}"`);
    return;
  }
  const images = await elementsById(reading, file, document.images, "images");
  const groups = await groupsOf(reading, file, document, images);
  const names = new Set<string>();
  for (const [id, { index, fields }] of images) {
    const ofImage = groups.get(id);
    if (ofImage === undefined) continue;
    const picture = await reading.attempt(place, () =>
      numbered("images", index, async () => {
        const name = textOf(fields, "file_name");
        if (names.has(name)) throw new FieldError(`"${name}" is listed twice`);
        names.add(name);
        return { name, image: await reading.image(...pictureChoices(file, name)) };
      }));
    if (picture === undefined) continue;
    for (const { category, members } of ofImage.values()) {
      const marked = await markedByAll(reading, file, members, fields);
      if (marked.length === 0) continue;
      yield {
        id: `${idPrefix}${picture.name}/${category.name}`,
        image: picture.image,
        ...exampleOf(category, marked),
        ...(split ? { split } : {}),
      };
    }
  }
}

/**
 * Any list of instances in COCO's format: one example per picture and category. Pictures without annotations give none.
 * Objects of a category with a mask each are to be segmented, others to be found by boxes.
 */
export const coco: DatasetReader = defineReader({
  name: "coco",
  description: "COCO format: boxes, outlines and run-length masks of any categories",
  files:
    "instances_*.json, *coco.json or other .json files here, in annotations/, train/, valid/ or test/; pictures beside them, in images/ or in a folder named like the part",
  async *examples(reading) {
    const parts = await annotationFiles(reading);
    for (const part of parts) {
      if (!reading.wants(part.split)) continue;
      // Two lists of one part may hold the same picture.
      const isAlone = parts.filter(({ split }) => split === part.split).length === 1;
      yield* examplesOf(reading, part, isAlone ? "" : `${part.file}/`);
    }
  },
});
