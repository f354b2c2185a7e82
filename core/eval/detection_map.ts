/**
 * Average precision and recall of scored boxes in COCO's way, as MONAI's `COCOMetric` computes it, down to its float32
 * steps. Boxes written as text carry no score; this is for detection heads.
 *
 * @module
 */
import type { Box } from "./boxes.ts";
import { mean } from "./means.ts";
import { StreamingMetric } from "./streaming.ts";

/** A box with its class and, for predictions, the confidence. */
export interface DetectedBox {
  /** Corners, continuous coordinates. */
  readonly box: Box;
  /** Class of the box. */
  readonly label: string;
  /** Confidence; any scale, higher is surer. */
  readonly score: number;
}

/** One image: predicted and true boxes, continuous coordinates. */
export interface DetectionImage {
  /** Boxes that the system gave. */
  readonly predictions: readonly DetectedBox[];
  /** Boxes that there are. */
  readonly truths: readonly Omit<DetectedBox, "score">[];
}

/** What is asked for. */
export interface DetectionOptions {
  /** Thresholds that AP and AR are averaged over; 0.50, 0.55, ... 0.95 by default. */
  readonly range?: readonly number[];
  /** Single thresholds; 0.1, 0.3, 0.5 and 0.75 by default. */
  readonly single?: readonly number[];
  /** How many detections per image and class count, ascending; 1, 5 and 100 by default. AP uses the last. */
  readonly maxDetections?: readonly number[];
  /** All classes; those that occur, by default. */
  readonly labels?: readonly string[];
}

/** Scores of one class, or means over classes; 0 to 1, NaN without ground truth. */
export interface DetectionScores {
  /** Average precision over the range of thresholds: mAP. */
  readonly ap: number;
  /** Average precision at every single threshold, in their order. */
  readonly apAt: readonly number[];
  /** Recall over the range of thresholds, one number per limit of detections. */
  readonly ar: readonly number[];
  /** Recall over the range AND the single thresholds, each once: MONAI's mAR, whose name speaks of the range. */
  readonly arMonai: readonly number[];
  /** Recall at every single threshold, with the last limit of detections. */
  readonly arAt: readonly number[];
}

/** Detection scores in total and per class. */
export interface DetectionReport extends DetectionScores {
  /** Per class, in the order of the labels. */
  readonly classes: Readonly<Record<string, DetectionScores>>;
}

/** Detections of one class in one image. */
export interface ClassMatches {
  /** Confidences, descending. */
  readonly scores: readonly number[];
  /** Per threshold, whether the detection is matched. */
  readonly matched: readonly (readonly boolean[])[];
  /** Ground-truth boxes. */
  readonly truths: number;
}

/** What is kept of an image: the matches per class. */
export type DetectionMatches = ReadonlyMap<string, ClassMatches>;

const f32 = Math.fround;

/** IoU with MONAI's rounding: every step in float32, the smallest float32 step added to the union. */
function iouFloat32(a: Box, b: Box): number {
  const dims = a.length / 2;
  let shared = 1, sizeA = 1, sizeB = 1;
  for (let i = 0; i < dims; i++) {
    const high = Math.min(f32(a[dims + i]), f32(b[dims + i]));
    const low = Math.max(f32(a[i]), f32(b[i]));
    shared = f32(shared * Math.max(0, f32(high - low)));
    sizeA = f32(sizeA * f32(f32(a[dims + i]) - f32(a[i])));
    sizeB = f32(sizeB * f32(f32(b[dims + i]) - f32(b[i])));
  }
  return f32(shared / f32(f32(f32(sizeA + sizeB) - shared) + 2 ** -23));
}

function matchClass(
  predictions: readonly DetectedBox[],
  truths: readonly Box[],
  thresholds: readonly number[],
  limit: number,
): ClassMatches {
  const sorted = predictions.toSorted((a, b) => b.score - a.score).slice(0, limit);
  const overlaps = sorted.map(({ box }) => truths.map((truth) => iouFloat32(box, truth)));
  const matched = thresholds.map((threshold) => {
    const taken = new Set<number>();
    return overlaps.map((row) => {
      let best = Math.min(threshold, 1 - 1e-10), match = -1;
      row.forEach((overlap, truth) => {
        // Of equally good boxes the last one is taken, as in the original.
        if (taken.has(truth) || overlap < best) return;
        best = overlap;
        match = truth;
      });
      if (match >= 0) taken.add(match);
      return match >= 0;
    });
  });
  return { scores: sorted.map(({ score }) => score), matched, truths: truths.length };
}

/** Precision at the 101 recall levels 0, 0.01, ... 1, averaged, and the final recall, of one class at one threshold. */
function curve(
  images: readonly ClassMatches[],
  threshold: number,
  limit: number,
): { precision: number; recall: number } {
  const truths = images.reduce((count, one) => count + one.truths, 0);
  if (truths === 0) return { precision: NaN, recall: NaN };
  const detections = images.flatMap((one) =>
    one.scores.slice(0, limit).map((score, i) => ({ score, hit: one.matched[threshold][i] }))
  ).sort((a, b) => b.score - a.score);
  let hits = 0;
  const recalls: number[] = [], precisions: number[] = [];
  detections.forEach(({ hit }, i) => {
    if (hit) hits++;
    recalls.push(f32(hits / truths));
    precisions.push(f32(hits / (i + 1)));
  });
  for (let i = precisions.length - 1; i > 0; i--) {
    precisions[i - 1] = Math.max(precisions[i - 1], precisions[i]);
  }
  let sum = 0;
  for (let level = 0, at = 0; level <= 100; level++) {
    const wanted = level === 100 ? 1 : level * 0.01;
    while (at < recalls.length && recalls[at] < wanted) at++;
    if (at < recalls.length) sum += precisions[at];
  }
  return { precision: sum / 101, recall: recalls.at(-1) ?? 0 };
}

const defaultRange: readonly number[] = Array.from({ length: 10 }, (_, i) => (10 + i) / 20);
const defaultSingle: readonly number[] = [0.1, 0.3, 0.5, 0.75];
const defaultLimits: readonly number[] = [1, 5, 100];

/** Combines scores position by position. */
function combine(
  scores: readonly DetectionScores[],
  average: (values: readonly number[]) => number,
  averageRecall = average,
): DetectionScores {
  const lists = (of: (one: DetectionScores) => readonly number[], how: typeof average) =>
    (scores.length === 0 ? [] : of(scores[0])).map((_, i) => how(scores.map((one) => of(one)[i])));
  return {
    ap: average(scores.map((one) => one.ap)),
    apAt: lists((one) => one.apAt, average),
    ar: lists((one) => one.ar, averageRecall),
    arMonai: lists((one) => one.arMonai, averageRecall),
    arAt: lists((one) => one.arAt, averageRecall),
  };
}

const meanOfDefined = (values: readonly number[]) =>
  mean(values.filter((value) => !Number.isNaN(value)));

/**
 * COCO-style mAP and mAR over images that arrive one at a time. The totals are means over the classes with ground truth;
 * {@linkcode detectionMeansMonai} gives MONAI's.
 */
export function detectionMetric(
  options: DetectionOptions = {},
): StreamingMetric<DetectionImage, DetectionMatches, DetectionReport> {
  const { range = defaultRange, single = defaultSingle, maxDetections = defaultLimits } = options;
  const thresholds = [...range, ...single];
  const distinct = [...thresholds.keys()].filter((i) =>
    thresholds.findIndex((other) => Math.abs(other - thresholds[i]) < 1e-9) === i
  );
  const most = Math.max(...maxDetections), last = maxDetections.at(-1)!;
  return new StreamingMetric(
    ({ predictions, truths }: DetectionImage): DetectionMatches => {
      const labels = new Set([...predictions, ...truths].map(({ label }) => label));
      return new Map(Array.from(labels, (label) => [
        label,
        matchClass(
          predictions.filter((one) => one.label === label),
          truths.filter((one) => one.label === label).map(({ box }) => box),
          thresholds,
          most,
        ),
      ]));
    },
    (images) => {
      const labels = options.labels ??
        [...new Set(images.flatMap((one) => [...one.keys()]))].sort();
      const scores = labels.map((label): DetectionScores => {
        const matches = images.flatMap((one) => one.get(label) ?? []);
        const at = (threshold: number, limit: number) => curve(matches, threshold, limit);
        return {
          ap: mean(range.map((_, i) => at(i, last).precision)),
          apAt: single.map((_, i) => at(range.length + i, last).precision),
          ar: maxDetections.map((limit) => mean(range.map((_, i) => at(i, limit).recall))),
          arMonai: maxDetections.map((limit) => mean(distinct.map((i) => at(i, limit).recall))),
          arAt: single.map((_, i) => at(range.length + i, last).recall),
        };
      });
      return {
        ...combine(scores, meanOfDefined),
        classes: Object.fromEntries(labels.map((label, i) => [label, scores[i]])),
      };
    },
  );
}

/**
 * The totals as MONAI takes them: a class without ground truth counts as -1 in mean precision and not at all in mean recall,
 * which is -1 when no class has any.
 */
export function detectionMeansMonai({ classes }: DetectionReport): DetectionScores {
  const orMinusOne = (value: number) => Number.isNaN(value) ? -1 : value;
  return combine(
    Object.values(classes),
    (values) => mean(values.map(orMinusOne)),
    (values) => orMinusOne(meanOfDefined(values)),
  );
}
