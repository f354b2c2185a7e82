/**
 * What a run of a stage is made of: examples, how many steps, what is held out.
 *
 * @module
 */
import { type Example, InputError, type Plugin, type PreparedStage } from "@medvlm/core";
import type { Stage } from "@medvlm/core/train";
import type { Problem } from "../data/reader.ts";
import { taskFor } from "../eval/asking.ts";
import { noteProblems } from "../eval/evaluate.ts";
import { counted } from "../eval/evaluation.ts";
import { nothingSelected, selected, type Selection, surveyOf } from "../eval/selection.ts";
import type { Terminal } from "../terminal.ts";
import { holdOut } from "./order.ts";
import type { TrainStageOptions } from "./run_train.ts";

/**
 * Examples that a stage can learn from. What is left out is counted and printed.
 *
 * @throws {InputError} code `NOTHING_SELECTED` when there is none, and as the reader does.
 */
export async function readExamples<C>(
  plugin: Plugin<C>,
  { name: stageName, tasks }: Stage,
  selection: Selection,
  terminal: Terminal,
): Promise<Example[]> {
  const examples: Example[] = [], problems: Problem[] = [];
  let skipped = 0, unsupported = 0, other = 0;
  const report = (problem: Problem) => {
    skipped++;
    if (problems.length < 3) problems.push(problem);
  };
  for await (const example of selected(selection, report)) {
    const { split, task } = example;
    // Without a choice everything is for training that the dataset does not keep for something else.
    if (selection.split === undefined && split !== undefined && split !== "train") continue;
    const as = taskFor(plugin, task);
    if (as === undefined) unsupported++;
    else if (tasks?.includes(as) === false) other++;
    else examples.push(example);
  }
  noteProblems("Left out", problems, skipped, terminal);
  if (unsupported > 0) {
    terminal.note(`Left out: ${counted(unsupported, "example")} of tasks without a counterpart\n`);
  }
  if (other > 0) {
    terminal.note(
      `Left out: ${counted(other, "example")} of other tasks than stage ${stageName} learns (${
        tasks!.join(", ")
      })\n`,
    );
  }
  if (examples.length === 0 && other + unsupported > 0) {
    throw new InputError(
      "NOTHING_SELECTED",
      `Cannot train stage ${stageName} on "${selection.folder.name}" as ${selection.reader.name}: none of its ${
        counted(other + unsupported, "example")
      } has a task that the stage learns (${
        (tasks ?? plugin.tasks).join(", ")
      }); choose another stage or dataset`,
    );
  }
  if (examples.length === 0) throw nothingSelected(selection, await surveyOf(selection), "train");
  return examples;
}

/** Rows of the longest conversation: that with most characters. */
export function longestRows(stage: PreparedStage, examples: readonly Example[]): number {
  const length = ({ prompt, answer, history = [] }: Example) =>
    history.reduce(
      (sum, turn) => sum + turn.question.length + turn.answer.length,
      prompt.length + answer.length,
    );
  return stage.rows(
    examples.reduce((longest, example) => length(example) > length(longest) ? example : longest),
  );
}

/** Settings that decide every number of a run. */
export interface Plan {
  /** Optimiser steps in all. */
  readonly steps: number;
  /** Samples of a step. */
  readonly batch: number;
  /** Highest learning rate. */
  readonly rate: number;
  /** Examples to train on. */
  readonly taught: readonly Example[];
  /** Examples to measure on. */
  readonly held: readonly Example[];
}

/**
 * Fills in what the stage says, and holds patients out.
 *
 * @throws {InputError} code `USAGE` when a step cannot be divided into equal parts, or nothing can be held out.
 */
export function planOf(
  { stage, steps, epochs = stage.epochs, batch = stage.batch, ...rest }: TrainStageOptions,
  examples: readonly Example[],
): Plan {
  const { accumulation, heldOut, seed, rate = stage.schedule.rate } = rest;
  if (batch % accumulation !== 0) {
    throw new InputError(
      "USAGE",
      `Cannot divide --batch ${batch} into --accumulation ${accumulation} equal parts: choose a divisor`,
    );
  }
  const { taught, held } = holdOut(examples, heldOut, seed);
  if (heldOut > 0 && held.length === 0) {
    throw new InputError(
      "USAGE",
      "Cannot hold anything out: all examples are of one picture or patient; leave --held-out and --evaluate-every out",
    );
  }
  const perEpoch = Math.ceil(taught.length / batch);
  return { steps: steps ?? Math.ceil(epochs * perEpoch), batch, rate, taught, held };
}
