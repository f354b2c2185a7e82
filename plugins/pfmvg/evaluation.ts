/**
 * Grounding on MS-CXR as in the paper's tables: IoU and Dice per disease, plain and weighted means, and the accuracy of MiniGPT-4's
 * script.
 *
 * @module
 */
import {
  boxToPixels,
  dice,
  diceInclusive,
  type GroupedMeans,
  groupedMeans,
  iou,
  iouInclusive,
  parseBoxAnswer,
  roundBox,
} from "@medvlm/core/eval";
import { boxIn, type GridBox, parseGroundedText } from "@medvlm/core/text";
import { publishedRows } from "./published.ts";

/** An answer and what would have been right. */
export interface ReferAnswer {
  /** The model's text. */
  readonly answer: string;
  /** Size of the original image. */
  readonly width: number;
  /** Size of the original image. */
  readonly height: number;
  /** Corners of the annotated box in pixels of the original image. */
  readonly truth: readonly number[];
  /** Disease. */
  readonly category: string;
}

/**
 * How a text becomes a box: `official` takes what starts with a well-formed box and nothing else (`eval_ref.py`), `tolerant` the first
 * box that can be read or repaired, wherever it stands.
 */
export type AnswerReading = "official" | "tolerant";

/** A box read from an answer. */
export interface ReadBox {
  /** Numbers of the grid, as read. */
  readonly grid: readonly number[];
  /** Corners in pixels, not rounded, not clipped. */
  readonly exact: readonly number[];
  /** Corners in pixels, rounded to the nearest whole number as in the paper's figure. */
  readonly rounded: readonly number[];
}

/** The first box of a text that can be read or repaired, in the numbers of the grid. */
export function usableBox(text: string): GridBox | undefined {
  return parseGroundedText(text).boxes.map(boxIn).find((box) => box !== undefined);
}

/** The box of an answer; undefined for an invalid one. */
export function readBox(
  answer: string,
  { width, height }: { readonly width: number; readonly height: number },
  reading: AnswerReading = "official",
): ReadBox | undefined {
  const grid = reading === "official" ? parseBoxAnswer(answer) : usableBox(answer);
  if (grid === undefined) return undefined;
  const exact = boxToPixels(grid, width, height);
  return { grid, exact, rounded: roundBox(exact) };
}

/** Scores of one answer, 0 for an invalid one. */
export interface ReferScores {
  /** The box read; undefined for an invalid answer. */
  readonly box: ReadBox | undefined;
  /** Of the rounded box, continuous coordinates. */
  readonly iou: number;
  /** Of the rounded box, continuous coordinates. */
  readonly dice: number;
  /** Of the box as it is, inclusive pixels (MiniGPT-4 `computeIoU`). */
  readonly iouInclusive: number;
  /** Of the rounded box, inclusive pixels (PeFoMed `computeDice`). */
  readonly diceInclusive: number;
}

/** Scores an answer. */
export function scoreAnswer(answer: ReferAnswer, reading: AnswerReading = "official"): ReferScores {
  const box = readBox(answer.answer, answer, reading);
  if (box === undefined) {
    return { box, iou: 0, dice: 0, iouInclusive: 0, diceInclusive: 0 };
  }
  return {
    box,
    iou: iou(answer.truth, box.rounded),
    dice: dice(answer.truth, box.rounded),
    iouInclusive: iouInclusive(answer.truth, box.exact),
    diceInclusive: diceInclusive(answer.truth, box.rounded),
  };
}

/** Scores over a split. */
export interface ReferResult {
  /** `mean` is wIoU, `classMean` the paper's mean, `groups` the diseases. */
  readonly iou: GroupedMeans;
  /** `mean` is wDice. */
  readonly dice: GroupedMeans;
  /** With inclusive pixels. */
  readonly iouInclusive: GroupedMeans;
  /** Share of answers whose inclusive IoU is above one half, 0 to 1 (`eval_ref.py`, there in percent). */
  readonly accuracy: number;
}

/**
 * Scores answers: invalid ones count as 0 in every mean, and the valid fraction is reported.
 *
 * @param names Diseases in the wanted order; others follow as they appear.
 */
export function evaluateRefer(
  answers: readonly ReferAnswer[],
  reading: AnswerReading = "official",
  names: readonly string[] = [],
): ReferResult {
  const scored = answers.map((answer) => ({ answer, scores: scoreAnswer(answer, reading) }));
  const means = (of: (scores: ReferScores) => number) =>
    groupedMeans(
      scored.map(({ answer, scores }) => ({
        score: scores.box === undefined ? undefined : of(scores),
        group: answer.category,
      })),
      names,
    );
  const right = scored.filter(({ scores }) => scores.iouInclusive > 0.5).length;
  return {
    iou: means((scores) => scores.iou),
    dice: means((scores) => scores.dice),
    iouInclusive: means((scores) => scores.iouInclusive),
    accuracy: right / scored.length,
  };
}

const cell = (value: number | undefined) =>
  value === undefined || Number.isNaN(value) ? "-" : value.toFixed(3);

/**
 * A result beside the rows of the paper's tables of one measure, as a Markdown table: a column per disease with the samples that
 * were counted, the plain mean, the weighted mean.
 *
 * @param name Of the row of this result.
 * @param names Diseases in the order of the tables.
 * @param tables Which tables; default the comparisons 1 and 2.
 */
export function resultTable(
  { iou, dice }: Pick<ReferResult, "iou" | "dice">,
  measure: "iou" | "dice",
  name: string,
  names: readonly string[],
  tables: readonly number[] = [1, 2],
): string {
  const own = measure === "iou" ? iou : dice;
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const counts = names.map((one) => `${one} (${own.groups[one]?.count ?? 0})`);
  const weighted = measure === "iou" ? "wIoU" : "wDice";
  const published = publishedRows.filter((row) =>
    row.measure === measure && tables.includes(row.table)
  );
  return [
    line([measure === "iou" ? "IoU" : "Dice", ...counts, "mean", weighted]),
    line(Array.from({ length: names.length + 3 }, () => "---")),
    line([
      name,
      ...names.map((one) => cell(own.groups[one]?.mean)),
      cell(own.classMean),
      cell(own.mean),
    ]),
    ...published.map((row) =>
      line([
        `${row.name} (paper)`,
        ...row.perDisease.map(cell),
        cell(row.mean),
        cell(row.weighted),
      ])
    ),
  ].join("\n");
}
