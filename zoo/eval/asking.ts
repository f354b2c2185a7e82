/**
 * From an example of a dataset to a request, and from the answer to a prediction.
 *
 * @module
 */
import type {
  Example,
  FolderSource,
  GroundedAnswer,
  Mask,
  Plugin,
  Raster,
  Region,
  Request,
  Task,
} from "@medvlm/core";
import { decodeImageFile } from "@medvlm/core/image";
import { FieldError } from "../data/fields.ts";
import { maskOfPicture } from "../run_inputs.ts";
import { toRuns } from "../data/mask_runs.ts";
import type {
  AskedExample,
  NamedBox,
  NamedMask,
  PointedRegion,
  Prediction,
  Reference,
} from "./prediction.ts";

/** What a system is asked for where it does not have the task itself, best first. */
const substitutes: Readonly<Partial<Record<Task, readonly Task[]>>> = {
  "ground-box": ["ground-mask"],
  "ground-instances": ["ground-mask", "ground-box"],
  classify: ["vqa"],
  report: ["caption", "vqa"],
  caption: ["report", "vqa"],
};

/** The task by which a system is asked for this one: the same, or one whose answer can be scored as it; else none. */
export function taskFor<C>(plugin: Plugin<C>, task: Task): Task | undefined {
  return [task, ...substitutes[task] ?? []].find((one) => plugin.tasks.includes(one));
}

/** Decodes a picture of a folder. @throws {InputError} when it is missing or no picture that can be decoded. */
export async function pictureOf(folder: FolderSource, name: string): Promise<Raster> {
  using file = await folder.open(name);
  return (await decodeImageFile(file)).raster;
}

function checkSize({ width, height }: Raster, picture: Raster, name: string): void {
  if (width !== picture.width || height !== picture.height) {
    throw new FieldError(
      `the mask "${name}" has ${width}x${height} pixels and its picture ${picture.width}x${picture.height}`,
    );
  }
}

/**
 * Reads a mask file of a picture.
 *
 * @throws {InputError} when it cannot be read; {@linkcode FieldError} when it has another size.
 */
export async function maskFrom(
  folder: FolderSource,
  name: string,
  picture: Raster,
): Promise<Mask> {
  const raster = await pictureOf(folder, name);
  checkSize(raster, picture, name);
  return maskOfPicture(raster);
}

/** The regions of an example, their mask files read; throws as {@linkcode maskFrom} does. */
export async function regionsOf(
  { regions = [] }: Example,
  folder: FolderSource,
  picture: Raster,
): Promise<Region[]> {
  return await Promise.all(
    regions.map(async (region): Promise<Region> =>
      region.kind === "mask-file"
        ? { kind: "mask", mask: await maskFrom(folder, region.file, picture) }
        : region
    ),
  );
}

function pointed(region: Region): PointedRegion {
  if (region.kind === "box") return { box: region.box };
  if (region.kind === "point") return { point: [region.x, region.y] };
  return { mask: toRuns(region.mask) };
}

/** What is right about an example, its mask files read. */
async function referenceOf(
  example: Example,
  folder: FolderSource,
  picture: Raster | undefined,
): Promise<Reference> {
  const boxes: NamedBox[] = [], masks: NamedMask[] = [];
  for (const { label, boxes: flat, maskFiles = [], masks: own = [] } of example.findings ?? []) {
    boxes.push(...flat.map((box) => ({ label, box })));
    masks.push(...own.map((mask) => ({ label, ...toRuns(mask) })));
    if (picture === undefined) continue;
    for (const file of maskFiles) {
      masks.push({ label, ...toRuns(await maskFrom(folder, file, picture)) });
    }
  }
  const { answer, alternatives, answerType, choices, labels } = example;
  return {
    answer,
    ...(alternatives ? { alternatives } : {}),
    ...(answerType ? { answerType } : {}),
    ...(choices ? { choices } : {}),
    ...(labels ? { labels } : {}),
    boxes,
    masks,
  };
}

/** An example with its picture, ready to be asked and scored. */
export interface Question {
  /** What is known before the answer. */
  readonly asked: AskedExample;
  /** What the system receives. */
  readonly request: Request;
}

/** The part of an example that a predictions file keeps, without mask files. */
function described(example: Example, reference: Reference): AskedExample {
  const modality = example.attributes?.modality;
  return {
    id: example.id,
    ...(example.split ? { split: example.split } : {}),
    task: example.task,
    ...(example.category ? { category: example.category } : {}),
    ...(modality ? { modality } : {}),
    prompt: example.prompt,
    ...(example.image === "" ? {} : { image: example.image }),
    reference,
  };
}

/** An example as a predictions file keeps it, without places. */
export function outlineOf(example: Example): AskedExample {
  return described(example, { answer: example.answer, boxes: [], masks: [] });
}

/**
 * What a dataset says about an example, for predictions that were made elsewhere.
 *
 * @param images Where its masks are.
 * @param wantsSize The size of the picture is wanted in any case; else the picture is read for the sake of masks only.
 * @throws {InputError} for a picture or mask that cannot be read; {@linkcode FieldError} for a mask of another size.
 */
export async function askedOf(
  example: Example,
  images: FolderSource,
  wantsSize: boolean,
): Promise<AskedExample> {
  const hasMasks = example.findings?.some(({ maskFiles = [] }) => maskFiles.length > 0) === true;
  const picture = example.image !== "" && (hasMasks || wantsSize)
    ? await pictureOf(images, example.image)
    : undefined;
  return {
    ...described(example, await referenceOf(example, images, picture)),
    ...(picture ? { width: picture.width, height: picture.height } : {}),
  };
}

/**
 * The request of an example.
 *
 * @param task As which task the system is asked.
 * @throws {InputError} for a picture or mask that cannot be read; {@linkcode FieldError} for a mask of another size.
 */
export async function questionOf(
  example: Example,
  images: FolderSource,
  task: Task,
): Promise<Question> {
  const picture = await pictureOf(images, example.image);
  const regions = await regionsOf(example, images, picture);
  return {
    asked: {
      ...described(example, await referenceOf(example, images, picture)),
      width: picture.width,
      height: picture.height,
      ...(regions.length > 0 ? { regions: regions.map(pointed) } : {}),
    },
    request: {
      image: picture,
      prompt: example.prompt,
      task,
      ...(regions.length > 0 ? { regions } : {}),
      ...(example.history ? { history: example.history } : {}),
    },
  };
}

/** A number with as many digits as a reader of milliseconds wants. */
const rounded = (milliseconds: number) => Math.round(milliseconds * 10) / 10;

/** The line of an answer. Phrases that are no words of the answer name nothing. */
export function predictionFrom(asked: AskedExample, answer: GroundedAnswer): Prediction {
  const boxes: NamedBox[] = [], masks: NamedMask[] = [];
  for (const phrase of answer.phrases) {
    const label = answer.text.slice(...phrase.span) === phrase.text ? phrase.text : "";
    // Scores stand for boxes and masks in this order, where there is one for each.
    const scored = phrase.scores?.length === phrase.boxes.length + phrase.masks.length;
    phrase.boxes.forEach((box, index) =>
      boxes.push({ label, box, ...(scored ? { score: phrase.scores![index] } : {}) })
    );
    masks.push(...phrase.masks.map((mask) => ({ label, ...toRuns(mask) })));
  }
  const { reference, ...question } = asked;
  return {
    ...question,
    answer: answer.text,
    boxes,
    masks,
    reference,
    finish: answer.finish,
    timings: Object.fromEntries(
      Object.entries(answer.timings).map(([name, value]) => [name, rounded(value)]),
    ),
  };
}
