/**
 * What the scores of the different tasks have in common.
 *
 * @module
 */
import type { BootstrapOptions } from "@medvlm/core/eval";
import {
  type Breakdown,
  breakdowns,
  type Estimate,
  type Estimates,
  type Means,
  type Values,
} from "./estimates.ts";
import type { Prediction } from "./prediction.ts";

/** The scores of one task. */
export interface TaskScores {
  /** Examples that were scored. */
  readonly n: number;
  /** Examples without a reference, which count nowhere. */
  readonly withoutReference: number;
  /** Numbers over all of them. */
  readonly metrics: Estimates;
  /** The same per class, category and modality, where there are any. */
  readonly groups: Readonly<Partial<Record<Breakdown, Readonly<Record<string, Estimates>>>>>;
}

/** Scores predictions of one task. */
export interface Family {
  /**
   * Takes a prediction.
   *
   * @param extra Values that others measured, such as the rating of a judge.
   * @returns how good it is, 0 to 1, to find the best and worst; undefined where it has no reference
   * @throws {FieldError} when prediction and reference do not fit together.
   */
  add(prediction: Prediction, extra?: Values): number | undefined;
  /** The scores so far. */
  scores(options: BootstrapOptions): TaskScores;
}

/** The means per group of every kind; groups without any number are left out. */
export function groupsOf(means: Means, options: BootstrapOptions): TaskScores["groups"] {
  return Object.fromEntries(
    breakdowns.map((kind) => {
      const groups = Object.entries(means.groups(kind, options));
      return [
        kind,
        Object.fromEntries(groups.filter(([, metrics]) => Object.keys(metrics).length > 0)),
      ] as const;
    }).filter(([, groups]) => Object.keys(groups).length > 0),
  );
}

/** Metrics without those that could not be computed. */
export function defined(metrics: Readonly<Record<string, Estimate | undefined>>): Estimates {
  return Object.fromEntries(
    Object.entries(metrics).filter((entry): entry is [string, Estimate] =>
      entry[1] !== undefined && !Number.isNaN(entry[1].value)
    ),
  );
}

/** Groups with the metrics of both. */
export function mergedGroups(
  a: TaskScores["groups"][Breakdown] = {},
  b: TaskScores["groups"][Breakdown] = {},
): Record<string, Estimates> {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  return Object.fromEntries(names.map((name) => [name, { ...a[name], ...b[name] }]));
}

/** All references of a text; none where the line has none. */
export function textsOf({ reference }: Prediction): string[] {
  const { answer, alternatives = [] } = reference;
  return [...(answer === undefined ? [] : [answer]), ...alternatives];
}
