/**
 * Scores predictions and writes the metrics and the page.
 *
 * @module
 */
import { type FolderSource, InputError, type Task, writeAtomic } from "@medvlm/core";
import type { Problem } from "../data/reader.ts";
import { formatTable, type Terminal } from "../terminal.ts";
import { pictureOf } from "./asking.ts";
import { casePicture } from "./case_picture.ts";
import { type Comparison, comparisonNote, comparisonsOf } from "./comparison.ts";
import {
  counted,
  type Evaluation,
  evaluationDocument,
  type LeftOut,
  leftOutLines,
} from "./evaluation.ts";
import { variantOf } from "./metric_texts.ts";
import type { Prediction } from "./prediction.ts";
import { reportPage } from "./report_page.ts";
import { type Case, type ScoredTask, type ScoreOptions, scorePredictions } from "./score.ts";

/** What is scored and where it goes. */
export interface EvaluateOptions extends ScoreOptions {
  /** Title of the page. */
  readonly title: string;
  /** How the predictions were made; asked for once all of them are read. */
  readonly conditions: () => Evaluation["conditions"];
  /** Whether the weights were never trained; asked for once all predictions are read. */
  readonly untrained: () => boolean;
  /** What was left out before scoring; asked for once all predictions are read. */
  readonly leftOut: () => LeftOut;
  /** The first of that. */
  readonly problems: () => readonly Problem[];
  /** Name of the dataset, where it is known; asked for once all predictions are read. */
  readonly dataset: () => string | undefined;
  /** Folder of the pictures, where there are any. */
  readonly images?: FolderSource | undefined;
  /** Folder of the files. */
  readonly out: string;
}

/** Problems that the report names. */
const namedProblems = 100;

/** Share of the resamples inside an interval. */
const level = 0.95;
/** Resamples of an interval where nothing is said. */
export const defaultResamples = 1000;

/** The picture of a case as a `data:` address. */
async function pictureAddress(
  { prediction }: Case,
  images: FolderSource | undefined,
): Promise<string | undefined> {
  const { image } = prediction;
  // A picture that cannot be shown is no reason to have no report.
  const picture = images === undefined || image === undefined
    ? undefined
    : await pictureOf(images, image).catch((error) => {
      if (error instanceof InputError) return undefined;
      throw error;
    });
  return casePicture(prediction, picture)?.toBase64();
}

/**
 * Scores all predictions and writes `metrics.json` and `report.html`.
 *
 * @returns The evaluation, for display.
 * @throws {InputError} code `NO_PREDICTIONS` when there is nothing to score, and `NOT_WRITABLE`.
 */
export async function evaluate(
  predictions: AsyncIterable<Prediction>,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { seed, resamples = defaultResamples, images, out } = options;
  const unfit: Problem[] = [];
  let unfitCount = 0;
  const tasks = await scorePredictions(
    predictions,
    { ...options, resamples, level },
    ({ id }, message) => {
      unfitCount++;
      if (unfit.length < namedProblems) unfit.push({ file: id, message });
    },
  );
  if (tasks.size === 0) {
    const [first] = options.problems();
    throw new InputError(
      "NO_PREDICTIONS",
      first === undefined
        ? "Cannot score: there is no prediction"
        : `Cannot score: no prediction can be used, the first because of "${first.file}"${
          first.line === undefined ? "" : ` line ${first.line}`
        }: ${first.message}`,
    );
  }
  const leftOut = options.leftOut();
  const evaluation: Evaluation = {
    conditions: options.conditions(),
    untrained: options.untrained(),
    predictions: [...tasks.values()].reduce(
      (sum, { scores: { n, withoutReference } }) => sum + n + withoutReference,
      0,
    ),
    leftOut: { ...leftOut, predictions: leftOut.predictions + unfitCount },
    problems: [...options.problems(), ...unfit].slice(0, namedProblems),
    bootstrap: { seed, resamples, level },
    tasks,
    comparisons: await comparisonsOf(options.dataset(), tasks),
  };
  const page = await reportPage(options.title, evaluation, async (one) => {
    const bytes = await pictureAddress(one, images);
    return bytes === undefined ? undefined : `data:image/png;base64,${bytes}`;
  });
  await writeAtomic(`${out}/report.html`, page);
  await writeAtomic(
    `${out}/metrics.json`,
    `${JSON.stringify(evaluationDocument(evaluation), null, 2)}\n`,
  );
  return evaluation;
}

/** Whether a terminal shows a metric; the files have all. */
function isShown(metric: string): boolean {
  return variantOf(metric) === undefined &&
    !/(?:^|_)(?:precision|recall)_(?:macro|weighted|samples)$/.test(metric);
}

function taskTable(task: Task, { scores: { n, withoutReference, metrics } }: ScoredTask): string {
  const rows = Object.entries(metrics).filter(([name]) => isShown(name)).map((
    [name, one],
  ) => [name, one.value.toFixed(3), one.low.toFixed(3), one.high.toFixed(3), `${one.n}`]);
  const without = withoutReference === 0 ? "" : `, ${withoutReference} without a reference`;
  return `\n${task}: ${counted(n, "prediction")}${without}\n${
    rows.length === 0 ? "" : formatTable([["", "value", "low", "high", "n"], ...rows])
  }`;
}

function comparisonText(comparisons: readonly Comparison[]): string {
  if (comparisons.length === 0) return "";
  const tables = comparisons.map(({ title, heads, rows }) =>
    `\n${title}\n${formatTable([heads, ...rows])}`
  );
  return `${tables.join("")}${comparisonNote}\n`;
}

/** The main numbers and the counts for a terminal, and what papers say about the same dataset. */
export function summaryText(evaluation: Evaluation, files: readonly string[]): string {
  const left = leftOutLines(evaluation.leftOut);
  const tables = [...evaluation.tasks].map(([task, scored]) =>
    taskTable(task, scored) + comparisonText(evaluation.comparisons.get(task) ?? [])
  );
  return `${tables.join("")}\n${
    left.length === 0 ? "Left out: nothing" : `Left out: ${left.join(", ")}`
  }\n${files.map((file) => `Written:  ${file}\n`).join("")}`;
}

/** Prints the first of what was left out. */
export function noteProblems(
  what: string,
  problems: readonly Problem[],
  count: number,
  terminal: Terminal,
): void {
  const shown = problems.slice(0, 3);
  for (const { file, line, message } of shown) {
    terminal.note(`${what}: ${file}${line === undefined ? "" : `:${line}`}: ${message}\n`);
  }
  if (count > shown.length) terminal.note(`${what}: ${count - shown.length} more\n`);
}
