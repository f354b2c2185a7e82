/**
 * PeFoMed's figures as far as they are known: the abstract of the first version. The tables of later versions were not available.
 *
 * @module
 */

import type { PublishedTable } from "@medvlm/core";

/** A published number. */
export interface PublishedFigure {
  /** What it measures. */
  readonly what: string;
  /** Its value. */
  readonly value: number;
  /** Its unit. */
  readonly unit: string;
  /** Where it stands. */
  readonly source: string;
}

/** Overall accuracy on VQA-RAD as judged by people, in percent. */
const judgedVqaRad = 81.9;
const firstVersion = "arXiv 2401.02797 version 1, abstract";

/** The figures. They need the authors' weights and real data; nothing here is compared with small models. */
export const publishedFigures: readonly PublishedFigure[] = [
  {
    what: "VQA-RAD, overall accuracy as judged by people",
    value: judgedVqaRad,
    unit: "percent",
    source: firstVersion,
  },
  {
    what: "closed questions, accuracy above that of GPT-4v",
    value: 26,
    unit: "percentage points",
    source: firstVersion,
  },
  {
    what: "trained parameters: adapters of rank 64 on q and v, and the projection",
    value: 56.63,
    unit: "million",
    source: "arXiv 2401.02797 version 3, as reported; the parameter table gives 56,627,200",
  },
];

/**
 * What there is to compare with. The published number needs ratings: equality after normalisation, as `MedVQAEval` counts it, takes a
 * right answer in other words for wrong.
 */
export const published: readonly PublishedTable[] = [{
  title: "Accuracy of answers",
  source: firstVersion,
  dataset: "vqa_rad",
  task: "vqa",
  variant: "pefomed",
  columns: [
    { name: "closed", metric: "closed_accuracy" },
    { name: "open", metric: "open_accuracy" },
    { name: "overall", metric: "accuracy" },
    { name: "overall, judged", metric: "judge_accuracy" },
  ],
  rows: [{ name: "PeFoMed", values: [undefined, undefined, undefined, judgedVqaRad / 100] }],
}];
