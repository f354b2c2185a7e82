/**
 * One line of a predictions file: what a system answered and what is right. Lines of other systems are read as well; the
 * format is described in docs/eval.md.
 *
 * @module
 */
import type { Box, Task } from "@medvlm/core";
import {
  asFields,
  asList,
  asNumber,
  asText,
  boxOfCorners,
  FieldError,
  type Fields,
  optionalText,
} from "../data/fields.ts";
import { type MaskRuns, maskRunsOf } from "../data/mask_runs.ts";
import { boxesInText } from "./text_boxes.ts";

/** A box and what is in it. */
export interface NamedBox {
  /** Name of the finding; empty where the system gives none. */
  readonly label: string;
  /** Corners in pixels of the original image. A box of a system may be empty or turned round; it then overlaps nothing. */
  readonly box: Box;
  /** Confidence, where the system gives one. */
  readonly score?: number;
}

/** A mask and what is in it. */
export interface NamedMask extends MaskRuns {
  /** Name of the finding; empty where the system gives none. */
  readonly label: string;
}

/** What the question points at. */
export type PointedRegion =
  | { readonly box: Box }
  | { readonly point: readonly [x: number, y: number] }
  | { readonly mask: MaskRuns };

/** What is right. */
export interface Reference {
  /** The expected text. */
  readonly answer?: string;
  /** Other texts that are as right. */
  readonly alternatives?: readonly string[];
  /** Closed questions have few possible answers. */
  readonly answerType?: "open" | "closed";
  /** Options of a multiple-choice question. */
  readonly choices?: readonly string[];
  /** Labels of the whole image. */
  readonly labels?: readonly string[];
  /** Boxes of the findings. */
  readonly boxes: readonly NamedBox[];
  /** Masks of the findings, one or more per label. */
  readonly masks: readonly NamedMask[];
}

/** A line of a predictions file. */
export interface Prediction {
  /** Unique in its split. */
  readonly id: string;
  /** Part of the dataset. */
  readonly split?: string;
  /** What was asked for; it decides on the metrics. */
  readonly task: Task;
  /** Kind of question, for means per kind. */
  readonly category?: string;
  /** Kind of image, for means per kind. */
  readonly modality?: string;
  /** The question. */
  readonly prompt?: string;
  /** Image file relative to the folder of the data. */
  readonly image?: string;
  /** Width of that image in pixels. */
  readonly width?: number;
  /** Height of that image in pixels. */
  readonly height?: number;
  /** What the question points at. */
  readonly regions?: readonly PointedRegion[];
  /** The system's text. */
  readonly answer: string;
  /** Labels the system gave; where absent they are looked for in the text. */
  readonly labels?: readonly string[];
  /** Boxes the system gave; where the line has none, those written in the text, if width and height are known. */
  readonly boxes: readonly NamedBox[];
  /** Masks the system gave. */
  readonly masks: readonly NamedMask[];
  /** What is right. */
  readonly reference: Reference;
  /** Why the answer ended. */
  readonly finish?: string;
  /** Milliseconds and counts of the answer, by name. */
  readonly timings?: Readonly<Record<string, number>>;
}

/** The part of a prediction that is known before a system answers. */
export type AskedExample = Omit<
  Prediction,
  "answer" | "labels" | "boxes" | "masks" | "finish" | "timings"
>;

/** Tasks, in the order of reports. */
export const tasks: readonly Task[] = [
  "vqa",
  "region-vqa",
  "report",
  "caption",
  "classify",
  "ground-box",
  "ground-mask",
  "ground-instances",
];

/** Most boxes, masks, labels or references of a line. */
const maxItems = 100_000;

function listOf<T>(value: unknown, what: string, each: (item: unknown) => T): T[] {
  if (value === undefined || value === null) return [];
  const list = asList(value, what);
  if (list.length > maxItems) throw new FieldError(`${what} has ${list.length} entries`);
  return list.map(each);
}

/** Free text as it stands, blanks included; it may be empty. */
function textIn(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  return typeof value === "string" ? value : asText(value, `"${name}"`);
}

function idIn(fields: Fields): string {
  const id = textIn(fields, "id");
  if (id === undefined || id === "") throw new FieldError('"id" is missing');
  return id;
}

function textsIn(fields: Fields, name: string): string[] | undefined {
  if (fields[name] === undefined || fields[name] === null) return undefined;
  return listOf(fields[name], `"${name}"`, (item) => asText(item, `an entry of "${name}"`));
}

/** A predicted box: four numbers, whatever their order. */
function looseBox(value: unknown): Box {
  const list = asList(value, "a box");
  if (list.length !== 4) throw new FieldError(`a box has ${list.length} numbers instead of 4`);
  const [x0, y0, x1, y1] = list.map((item) => asNumber(item, "a box"));
  return [x0, y0, x1, y1];
}

function boxesIn(fields: Fields, boxOf: (value: unknown) => Box): NamedBox[] {
  return listOf(fields.boxes, '"boxes"', (item) => {
    if (Array.isArray(item)) return { label: "", box: boxOf(item) };
    const entry = asFields(item, "a box");
    return {
      label: optionalText(entry, "label") ?? "",
      box: boxOf(entry.box),
      ...(entry.score === undefined ? {} : { score: asNumber(entry.score, '"score"') }),
    };
  });
}

function masksIn(fields: Fields): NamedMask[] {
  return listOf(fields.masks, '"masks"', (item) => {
    const entry = asFields(item, "a mask");
    return { label: optionalText(entry, "label") ?? "", ...maskRunsOf(entry) };
  });
}

/** Only what is there, so that written lines stay short. */
function present<const T extends Record<string, unknown>>(
  fields: T,
): { [K in keyof T]: NonNullable<T[K]> } {
  const kept = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as { [K in keyof T]: NonNullable<T[K]> };
}

function referenceIn(value: unknown): Reference {
  if (value === undefined || value === null) return { boxes: [], masks: [] };
  const fields = typeof value === "object" && !Array.isArray(value)
    ? asFields(value)
    : { answer: asText(value, '"reference"') };
  const kind = optionalText(fields, "answerType")?.toLowerCase();
  return {
    ...present({
      answer: textIn(fields, "answer"),
      alternatives: textsIn(fields, "alternatives"),
      answerType: kind === "open" || kind === "closed" ? kind : undefined,
      choices: textsIn(fields, "choices"),
      labels: textsIn(fields, "labels"),
    }),
    boxes: boxesIn(fields, (box) => boxOfCorners(box)),
    masks: masksIn(fields),
  };
}

function taskIn(fields: Fields): Task {
  const name = optionalText(fields, "task");
  if (name === undefined) throw new FieldError('"task" is missing');
  const task = tasks.find((known) => known === name);
  if (task === undefined) {
    throw new FieldError(
      `"task" is ${JSON.stringify(name.slice(0, 40))} instead of one of ${tasks.join(", ")}`,
    );
  }
  return task;
}

function regionsIn(fields: Fields): PointedRegion[] | undefined {
  if (fields.regions === undefined || fields.regions === null) return undefined;
  return listOf(fields.regions, '"regions"', (item): PointedRegion => {
    const entry = asFields(item, "a region");
    if (entry.box !== undefined) return { box: looseBox(entry.box) };
    if (entry.mask !== undefined) return { mask: maskRunsOf(asFields(entry.mask, '"mask"')) };
    const [x, y] = asList(entry.point, '"point"').map((one) => asNumber(one, '"point"'));
    return { point: [x, y] };
  });
}

function sideIn(fields: Fields, name: string): number | undefined {
  if (fields[name] === undefined || fields[name] === null) return undefined;
  const side = asNumber(fields[name], `"${name}"`);
  if (!(side > 0)) throw new FieldError(`"${name}" is not above 0`);
  return side;
}

/** The answer in parts: text, labels, boxes, masks. */
function answerIn(fields: Fields, width?: number, height?: number) {
  const answer = textIn(fields, "answer") ?? "";
  const isInText = fields.boxes === undefined && width !== undefined && height !== undefined;
  return {
    answer,
    ...present({ labels: textsIn(fields, "labels") }),
    boxes: isInText ? boxesInText(answer, width, height) : boxesIn(fields, looseBox),
    masks: masksIn(fields),
  };
}

/**
 * A prediction from the value of a line.
 *
 * @param asked What a dataset says about the example; it replaces what the line says about question and reference.
 * @throws {FieldError} saying what is wrong with it.
 */
export function predictionOf(value: unknown, asked?: AskedExample): Prediction {
  const fields = asFields(value, "the line");
  const timings = fields.timings === undefined
    ? undefined
    : Object.entries(asFields(fields.timings, '"timings"'));
  const size = present({ width: sideIn(fields, "width"), height: sideIn(fields, "height") });
  return {
    ...(asked ?? {
      id: idIn(fields),
      task: taskIn(fields),
      ...present({
        split: textIn(fields, "split"),
        category: optionalText(fields, "category"),
        modality: optionalText(fields, "modality"),
        prompt: textIn(fields, "prompt"),
        image: optionalText(fields, "image"),
      }),
      ...size,
      ...present({ regions: regionsIn(fields) }),
    }),
    ...answerIn(fields, asked?.width ?? size.width, asked?.height ?? size.height),
    reference: asked?.reference ?? referenceIn(fields.reference),
    ...present({
      finish: optionalText(fields, "finish"),
      timings: timings &&
        Object.fromEntries(timings.map(([name, value]) => [name, asNumber(value, `"${name}"`)])),
    }),
  };
}

/**
 * A prediction from a line of text.
 *
 * @throws {FieldError} saying what is wrong with it.
 */
export function parsePrediction(text: string | undefined, asked?: AskedExample): Prediction {
  return predictionOf(parseLine(text), asked);
}

/** The JSON value of a line. @throws {FieldError} when it is none. */
export function parseLine(text: string | undefined): unknown {
  if (text === undefined) throw new FieldError("the line is not UTF-8");
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FieldError(`the line is not JSON: ${error instanceof Error ? error.message : error}`);
  }
}

/** Id and split of a line. @throws {FieldError} when it has no id. */
export function namedIn(value: unknown): Pick<Prediction, "id" | "split"> {
  const fields = asFields(value, "the line");
  return { id: idIn(fields), ...present({ split: textIn(fields, "split") }) };
}

/** What tells two predictions of a file apart. */
export function keyOf({ id, split }: Pick<Prediction, "id" | "split">): string {
  return JSON.stringify([split ?? "", id]);
}
