/**
 * One sample of a dataset, the same whatever collection it comes from.
 *
 * @module
 */
import type { Box, Mask, Region, Task, Turn } from "./plugin.ts";

/** A box in voxels of the original volume, `[x0, y0, z0, x1, y1, z1]`; upper ends are exclusive. */
export type Box3 = readonly [number, number, number, number, number, number];

/** Something the answer points at. */
export interface Finding {
  /** Name as in the dataset, such as `Pleural effusion`. */
  readonly label: string;
  /** Start and end (exclusive) of the phrase in the answer, in UTF-16 units, where the dataset grounds text. */
  readonly span?: readonly [number, number];
  /** Boxes in pixels of the original image. */
  readonly boxes: readonly Box[];
  /** Boxes in voxels of the original volume. */
  readonly boxes3?: readonly Box3[];
  /** Outlines as corners `[x, y]` in pixels of the original image, one per instance. */
  readonly polygons?: readonly (readonly (readonly [number, number])[])[];
  /** Mask files relative to the dataset's folder, one per instance. */
  readonly maskFiles?: readonly string[];
  /** Masks in memory, one per instance. */
  readonly masks?: readonly Mask[];
}

/** One sample: an image or volume, what is asked, and what is right. */
export interface Example {
  /** Unique in its dataset and split. */
  readonly id: string;
  /** Image or volume file, relative to the folder of the pictures; empty where a text has none and none was asked for. */
  readonly image: string;
  /** Further images of the same study. */
  readonly moreImages?: readonly string[];
  /** What kind of answer is expected. */
  readonly task: Task;
  /** What the user asks, without any system's special tokens; `<region></region>` where the dataset puts a region. */
  readonly prompt: string;
  /** The reference answer. */
  readonly answer: string;
  /** Other answers that are as right. */
  readonly alternatives?: readonly string[];
  /** Earlier turns of the conversation. */
  readonly history?: readonly Turn[];
  /** What the user points at; mask regions name a file relative to the dataset's folder. */
  readonly regions?: readonly (Region | { readonly kind: "mask-file"; readonly file: string })[];
  /** What the reference answer points at, where the dataset grounds it. */
  readonly findings?: readonly Finding[];
  /** Labels of the whole image. */
  readonly labels?: readonly string[];
  /** Closed questions have few possible answers. */
  readonly answerType?: "open" | "closed";
  /** Answers a multiple-choice question offers, in order. */
  readonly choices?: readonly string[];
  /** Kind of question as the dataset names it. */
  readonly category?: string;
  /** Pseudonym of the patient in the dataset, for splits that keep patients apart. */
  readonly patient?: string;
  /** Part of the dataset, as its authors divided it. */
  readonly split?: "train" | "validate" | "test";
  /** Side or modality and whatever else the dataset records, as text. */
  readonly attributes?: Readonly<Record<string, string>>;
}
