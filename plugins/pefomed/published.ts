/**
 * PeFoMed's figures as far as they are known: the abstract of the first version. The tables of later versions were not available.
 *
 * @module
 */

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

/** The figures. They need the authors' weights and real data; nothing here is compared with small models. */
export const publishedFigures: readonly PublishedFigure[] = [
  {
    what: "VQA-RAD, overall accuracy as judged by people",
    value: 81.9,
    unit: "percent",
    source: "arXiv 2401.02797 version 1, abstract",
  },
  {
    what: "closed questions, accuracy above that of GPT-4v",
    value: 26,
    unit: "percentage points",
    source: "arXiv 2401.02797 version 1, abstract",
  },
  {
    what: "trained parameters: adapters of rank 64 on q and v, and the projection",
    value: 56.63,
    unit: "million",
    source: "arXiv 2401.02797 version 3, as reported; the parameter table gives 56,627,200",
  },
];
