/**
 * Scores of boxes and masks.
 *
 * @module
 */
import {
  accuracyAtIouLitegpt,
  type BootstrapOptions,
  dice,
  giou,
  iou,
  maskCounts,
  maskDice,
  maskIou,
  normaliseMedplib,
  parseLabelledBoxes,
} from "@medvlm/core/eval";
import { FieldError } from "../data/fields.ts";
import { DetectionTally } from "./detection_tally.ts";
import { type Breakdown, Means, type ScoredItem, type Values } from "./estimates.ts";
import { defined, type Family, groupsOf, mergedGroups, type TaskScores } from "./family.ts";
import { LabelTally } from "./label_tally.ts";
import { GridBoxes } from "./grid_boxes.ts";
import { boxOfRuns, unionOf } from "../data/mask_runs.ts";
import type { NamedBox, NamedMask, Prediction } from "./prediction.ts";

/** Overlaps above which a box counts as found. */
const thresholds = [0.3, 0.4, 0.5] as const;

/** Names as they are compared: case, punctuation and articles do not matter. */
const plain = (label: string) => normaliseMedplib(label);

interface Named {
  readonly label: string;
}

/**
 * The predictions that may answer a finding. Where only one kind of finding is asked for, or the system names nothing,
 * all of them; else those of its name.
 */
function answering<P extends Named>(predicted: readonly P[], wanted: readonly Named[]) {
  const isNamed = new Set(wanted.map(({ label }) => plain(label))).size > 1 &&
    predicted.some(({ label }) => label !== "");
  const byName = Map.groupBy(predicted, ({ label }) => plain(label));
  return (label: string): readonly P[] => isNamed ? byName.get(plain(label)) ?? [] : predicted;
}

const isBox = ({ box: [x0, y0, x1, y1] }: NamedBox) => x1 > x0 && y1 > y0;

/** Boxes of an answer; those around its masks where it has no others. */
function boxesOf({ boxes, masks }: Prediction): NamedBox[] {
  const own = boxes.filter(isBox);
  if (own.length > 0 || boxes.length > 0) return own;
  return masks.flatMap(({ label, ...runs }) => {
    const box = boxOfRuns(runs);
    return box === undefined ? [] : [{ label, box }];
  });
}

/** Every box that is wanted, with the best of the boxes that answer it, and every box that was given. */
function boxItems(prediction: Prediction): ScoredItem[] {
  const { reference, category, modality } = prediction;
  // Where only masks are wanted, boxes are neither right nor wrong.
  if (reference.boxes.length === 0 && reference.masks.length > 0) return [];
  const given = boxesOf(prediction);
  const answers = answering(given, reference.boxes);
  const wanted = reference.boxes.map(({ label, box }): ScoredItem => {
    const found = answers(label);
    const overlap = Math.max(0, ...found.map((one) => iou(one.box, box)));
    return {
      values: {
        "box_iou": overlap,
        "box_dice": Math.max(0, ...found.map((one) => dice(one.box, box))),
        "box_giou": Math.max(-1, ...found.map((one) => giou(one.box, box))),
        ...Object.fromEntries(
          thresholds.map((threshold) => [`accuracy@${threshold}`, Number(overlap > threshold)]),
        ),
        "box_answered": Number(found.length > 0),
      },
      class: label === "" ? undefined : label,
      category,
      modality,
    };
  });
  const right = answering(reference.boxes, given);
  const spent = given.map(({ label, box }): ScoredItem => ({
    values: {
      "precision@0.5": Number(right(label).some((one) => iou(one.box, box) > 0.5)),
    },
    class: label === "" ? undefined : label,
    category,
    modality,
  }));
  return [...wanted, ...spent];
}

/** Accuracy of boxes that both texts hold, as LiteGPT's script reads and compares them. */
function litegptItems({ answer, reference }: Prediction): ScoredItem[] {
  const text = reference.answer;
  if (text === undefined || parseLabelledBoxes(text).length === 0) return [];
  const counts = thresholds.map((threshold) =>
    accuracyAtIouLitegpt(threshold).add({ prediction: answer, reference: text }).result().classes
  );
  return Object.entries(counts[0]).flatMap(([label, { total }]) =>
    Array.from({ length: total }, (_, place): ScoredItem => ({
      values: Object.fromEntries(
        thresholds.map((threshold, index) => [
          `accuracy@${threshold}_litegpt`,
          // As many ones as boxes were found.
          Number(place < Math.round(counts[index][label].accuracy * total)),
        ]),
      ),
      class: label,
    }))
  );
}

function checkSizes(masks: readonly NamedMask[], [height, width]: NamedMask["size"]): void {
  for (const { size } of masks) {
    if (size[0] !== height || size[1] !== width) {
      throw new FieldError(
        `a mask has ${size[1]}x${size[0]} pixels and another ${width}x${height}`,
      );
    }
  }
}

/** Every finding that is wanted: all its masks together against all masks that answer it. */
function maskItems({ masks, reference, category, modality }: Prediction): ScoredItem[] {
  if (reference.masks.length === 0) return [];
  const size = reference.masks[0].size;
  checkSizes([...masks, ...reference.masks], size);
  const answers = answering(masks, reference.masks);
  return [...Map.groupBy(reference.masks, ({ label }) => label)].map(([label, wanted]) => {
    const found = answers(label);
    const counts = maskCounts(unionOf(found, size).data, unionOf(wanted, size).data);
    return {
      values: {
        dice: maskDice(counts, "compare"),
        iou: maskIou(counts, "compare"),
        "mask_answered": Number(found.length > 0),
      },
      class: label === "" ? undefined : label,
      category,
      modality,
    };
  });
}

/** Whether there is something to compare with: places, or the statement that there are none. */
function hasReference({ reference: { boxes, masks, labels, answer } }: Prediction): boolean {
  return boxes.length > 0 || masks.length > 0 || labels !== undefined ||
    parseLabelledBoxes(answer ?? "").length > 0;
}

/** Whether the answer shall name the findings: the reference does, and the question does not. */
function asksForNames({ prompt = "", labels: given, reference }: Prediction): boolean {
  const { labels, answer = "" } = reference;
  if (labels === undefined || given !== undefined) return labels !== undefined;
  const holds = (text: string, label: string) => text.toLowerCase().includes(label.toLowerCase());
  return labels.every((label) => holds(answer, label) && !holds(prompt, label));
}

/** Labels of an answer; those of its boxes and masks where it has no text to look for them. */
function labelsOf({ answer, labels, boxes, masks }: Prediction): readonly string[] | undefined {
  if (labels !== undefined || answer !== "") return labels;
  return [...boxes, ...masks].map(({ label }) => label).filter((label) => label !== "");
}

/** Boxes, masks and labels, each where the reference has them. */
export class PlaceFamily implements Family {
  readonly #means = new Means();
  readonly #labels = new LabelTally(["No finding"]);
  readonly #detection = new DetectionTally();
  readonly #gridBoxes = new GridBoxes();
  #count = 0;
  #without = 0;

  /** Takes a prediction. */
  add(prediction: Prediction, extra: Values = {}): number | undefined {
    if (!hasReference(prediction)) {
      this.#without++;
      return undefined;
    }
    const items = [
      ...maskItems(prediction),
      ...boxItems(prediction),
      ...litegptItems(prediction),
      { values: extra },
    ];
    this.#count++;
    this.#means.add(items);
    this.#detection.add(prediction);
    this.#gridBoxes.add(prediction);
    const { answer, reference } = prediction;
    if (asksForNames(prediction)) {
      this.#labels.add({ truth: reference.labels!, given: labelsOf(prediction), text: answer });
    }
    return rankOf(items, prediction);
  }

  /** The scores so far. */
  scores(options: BootstrapOptions): TaskScores {
    const mean = (kind: "class" | "modality", metric: string) =>
      this.#means.groupMean(kind, metric, options);
    const labels = this.#labels.estimates(options);
    const grid = this.#gridBoxes.scores(options);
    const own = groupsOf(this.#means, options);
    const groups = Object.fromEntries(
      Object.entries(own).map((
        [kind, names],
      ) => [kind, mergedGroups(names, grid.groups[kind as Breakdown])]),
    );
    const classes = mergedGroups(groups.class, labels.classes);
    return {
      n: this.#count,
      withoutReference: this.#without,
      metrics: defined({
        ...this.#means.estimates(options),
        "class_mean_dice": mean("class", "dice"),
        "class_mean_iou": mean("class", "iou"),
        "class_mean_box_iou": mean("class", "box_iou"),
        "class_mean_box_dice": mean("class", "box_dice"),
        "modality_mean_dice": mean("modality", "dice"),
        ...grid.metrics,
        ...this.#detection.estimates(options),
        ...labels.metrics,
      }),
      groups: Object.keys(classes).length === 0 ? groups : { ...groups, class: classes },
    };
  }
}

/** Mean overlap of what is wanted; where nothing is, whether nothing was given. */
function rankOf(items: readonly ScoredItem[], prediction: Prediction): number {
  const ranks = items.flatMap(({ values }) =>
    values.dice ?? values.box_iou ?? values["accuracy@0.5_litegpt"] ?? []
  );
  if (ranks.length === 0) return Number(boxesOf(prediction).length === 0);
  return ranks.reduce((sum, rank) => sum + rank, 0) / ranks.length;
}
