/**
 * Which examples of a dataset an evaluation takes, and what there is to take.
 *
 * @module
 */
import {
  DeviceError,
  type Example,
  type FolderSource,
  InputError,
  openFolder,
  type Task,
} from "@medvlm/core";
import type { DatasetReader, Problem, ReadOptions, Split } from "../data/reader.ts";
import { perFinding } from "./per_finding.ts";

/** What is taken of a dataset. */
export interface Selection {
  /** How it is read. */
  readonly reader: DatasetReader;
  /** Folder of the annotations. */
  readonly folder: FolderSource;
  /** Folder of pictures and masks. */
  readonly images: FolderSource;
  /** Only this part. */
  readonly split?: Split | undefined;
  /** Only examples of this task. */
  readonly task?: Task | undefined;
  /** At most so many examples, the first ones. */
  readonly limit?: number | undefined;
  /** Of a random division, for datasets that are divided so. */
  readonly splitSeed?: number | undefined;
  /** Which turns of conversations are asked. */
  readonly turns?: ReadOptions["turns"] | undefined;
  /** One question per finding of a picture instead of one about all. */
  readonly perFinding?: boolean | undefined;
  /** Examples without their picture are kept. */
  readonly keepMissing?: boolean | undefined;
  /** The first problem is an error. */
  readonly strict?: boolean | undefined;
  /** Ends the reading with an error. */
  readonly signal?: AbortSignal | undefined;
}

/** Opens the folders of a dataset; pictures are beside the annotations unless `images` says where. */
export async function openFolders(
  data: string,
  images: string | undefined,
): Promise<Pick<Selection, "folder" | "images">> {
  const folder = await openFolder(data);
  return { folder, images: images === undefined ? folder : await openFolder(images) };
}

/**
 * The chosen examples in the order of the dataset.
 *
 * @param report Called for every record that is left out.
 * @throws {InputError} as the reader does; {@linkcode DeviceError} code `STOPPED` after the signal.
 */
export async function* selected(
  selection: Selection,
  report: (problem: Problem) => void = () => {},
): AsyncGenerator<Example> {
  const { reader, folder, images, split, task, limit = Infinity, splitSeed, turns } = selection;
  const reading = reader.read(folder, {
    report,
    images,
    strict: selection.strict === true,
    missingImages: selection.keepMissing === true ? "keep" : "skip",
    ...(split === undefined ? {} : { split }),
    ...(splitSeed === undefined ? {} : { seed: splitSeed }),
    ...(turns === undefined ? {} : { turns }),
  });
  let count = 0;
  for await (const whole of reading) {
    for (const example of selection.perFinding === true ? perFinding(whole) : [whole]) {
      if (task !== undefined && example.task !== task) continue;
      if (count >= limit) return;
      if (selection.signal?.aborted) {
        throw new DeviceError("STOPPED", "Stopped while reading the dataset");
      }
      count++;
      yield example;
    }
    if (count >= limit) return;
  }
}

/** Problems of a survey that are named; the others are only counted. */
const namedProblems = 100;

/** What a selection holds. */
export interface Survey {
  /** Examples. */
  readonly examples: number;
  /** Records that were left out. */
  readonly skipped: number;
  /** The first of them. */
  readonly problems: readonly Problem[];
  /** Examples per part and task. */
  readonly parts: readonly {
    readonly split: string;
    readonly task: Task;
    readonly count: number;
  }[];
  /** Different pictures. */
  readonly images: number;
  /** Those of them that do not exist; counted where examples without picture are kept. */
  readonly missingImages: number;
  /** Patients, where the dataset names them. */
  readonly patients: number;
  /** Open and closed questions, where the dataset says. */
  readonly answerTypes: Readonly<Record<string, number>>;
  /** Questions with choices. */
  readonly withChoices: number;
  /** Boxes, 2D and 3D, per label. */
  readonly boxes: Readonly<Record<string, number>>;
  /** Masks per label. */
  readonly masks: Readonly<Record<string, number>>;
  /** Examples per label of the whole image. */
  readonly labels: Readonly<Record<string, number>>;
  /** Examples per kind of question. */
  readonly categories: Readonly<Record<string, number>>;
}

class Tally {
  readonly #counts = new Map<string, number>();

  add(name: string, count = 1): void {
    if (count > 0) this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
  }

  /** Largest first, equal ones by name. */
  get record(): Record<string, number> {
    const sorted = [...this.#counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    return Object.fromEntries(sorted);
  }
}

/** Reads everything of a selection once and counts it. */
export async function surveyOf(selection: Selection): Promise<Survey> {
  const problems: Problem[] = [];
  let skipped = 0, examples = 0, withChoices = 0, missingImages = 0;
  const parts = new Map<string, { split: string; task: Task; count: number }>();
  const images = new Set<string>(), patients = new Set<string>();
  const answerTypes = new Tally(), boxes = new Tally(), masks = new Tally();
  const labels = new Tally(), categories = new Tally();
  const report = (problem: Problem) => {
    skipped++;
    if (problems.length < namedProblems) problems.push(problem);
  };
  for await (const example of selected(selection, report)) {
    examples++;
    const { split = "unknown", task, findings = [] } = example;
    const key = `${split}\n${task}`;
    const part = parts.get(key) ?? { split, task, count: 0 };
    parts.set(key, part);
    part.count++;
    const { image } = example;
    if (image !== "" && !images.has(image)) {
      images.add(image);
      if (selection.keepMissing && !await selection.images.has(image)) missingImages++;
    }
    if (example.patient !== undefined) patients.add(example.patient);
    if (example.answerType !== undefined) answerTypes.add(example.answerType);
    if (example.choices !== undefined) withChoices++;
    if (example.category !== undefined) categories.add(example.category);
    for (const label of example.labels ?? []) labels.add(label);
    for (const { label, boxes: flat, boxes3 = [], maskFiles = [], masks: own = [] } of findings) {
      boxes.add(label, flat.length + boxes3.length);
      masks.add(label, maskFiles.length + own.length);
    }
  }
  return {
    examples,
    skipped,
    problems,
    parts: [...parts.values()],
    images: images.size,
    missingImages,
    patients: patients.size,
    answerTypes: answerTypes.record,
    withChoices,
    boxes: boxes.record,
    masks: masks.record,
    labels: labels.record,
    categories: categories.record,
  };
}

/** The error of a selection without examples. @param what What was to be done with them. */
export function nothingSelected(
  { reader, folder }: Selection,
  survey: Survey,
  what: "evaluate" | "train" = "evaluate",
): InputError {
  const [first] = survey.problems;
  const why = first === undefined
    ? "no example fits; choose another --split or --task"
    : `${survey.skipped} records were left out, the first in "${first.file}"${
      first.line === undefined ? "" : ` line ${first.line}`
    }: ${first.message}; check the folders of --data and --images`;
  return new InputError(
    "NOTHING_SELECTED",
    `Cannot ${what} on "${folder.name}" as ${reader.name}: ${why}`,
  );
}
