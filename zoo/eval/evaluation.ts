/**
 * A finished evaluation: what was evaluated, what was counted, and the numbers.
 *
 * @module
 */
import type { Task } from "@medvlm/core";
import type { Problem } from "../data/reader.ts";
import { notice } from "../run_output.ts";
import type { Comparison } from "./comparison.ts";
import type { ScoredTask } from "./score.ts";

/** What was left out, and why. */
export interface LeftOut {
  /** Records of the dataset that cannot be read. */
  readonly records: number;
  /** Examples that could not be asked, such as those whose picture cannot be decoded. */
  readonly failed: number;
  /** Examples of tasks that the system does not have. */
  readonly unsupported: number;
  /** Examples without a prediction. */
  readonly missing: number;
  /** Predictions of no example of the dataset. */
  readonly unknown: number;
  /** Predictions that cannot be used: malformed lines, masks of another size. */
  readonly predictions: number;
}

/** Everything a report says. */
export interface Evaluation {
  /** How the predictions were made and the data chosen, in the order of the page; values are plain. */
  readonly conditions: Readonly<Record<string, string | number | null>>;
  /** The weights were never trained. */
  readonly untrained: boolean;
  /** Predictions that were scored or that have no reference. */
  readonly predictions: number;
  readonly leftOut: LeftOut;
  /** The first of what was left out. */
  readonly problems: readonly Problem[];
  /** How intervals were made. */
  readonly bootstrap: { readonly seed: number; readonly resamples: number; readonly level: number };
  readonly tasks: ReadonlyMap<Task, ScoredTask>;
  /** Published numbers about the same dataset; for people only, no part of the document. */
  readonly comparisons: ReadonlyMap<Task, readonly Comparison[]>;
}

/** A count with its noun, such as `1 example` or `3 examples`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Names of what was left out, for people. */
export const leftOutTexts: Readonly<Record<keyof LeftOut, string>> = {
  records: "records of the dataset that cannot be read",
  failed: "examples that could not be asked",
  unsupported: "examples of tasks that the system does not have",
  missing: "examples without a prediction",
  unknown: "predictions of no chosen example",
  predictions: "predictions that cannot be used",
};

/** The kinds that occurred, as text, such as `3 examples without a prediction`. */
export function leftOutLines(leftOut: LeftOut): string[] {
  return Object.entries(leftOutTexts).flatMap(([kind, text]) => {
    const count = leftOut[kind as keyof LeftOut];
    return count === 0 ? [] : [`${count} ${text}`];
  });
}

/** The JSON document of an evaluation; nothing in it depends on when or how fast it was made. */
export function evaluationDocument(evaluation: Evaluation): Record<string, unknown> {
  const { conditions, untrained, predictions, leftOut, problems, bootstrap, tasks } = evaluation;
  return {
    notice,
    conditions,
    untrained,
    predictions,
    leftOut,
    problems,
    bootstrap,
    tasks: Object.fromEntries([...tasks].map(([task, { scores }]) => [task, scores])),
  };
}
