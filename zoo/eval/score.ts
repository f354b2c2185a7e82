/**
 * Scores predictions task by task and remembers the best and worst of each.
 *
 * @module
 */
import type { Task } from "@medvlm/core";
import type { BootstrapOptions } from "@medvlm/core/eval";
import { FieldError } from "../data/fields.ts";
import type { Values } from "./estimates.ts";
import type { Family, TaskScores } from "./family.ts";
import { LabelFamily } from "./label_family.ts";
import { PlaceFamily } from "./place_family.ts";
import { type Prediction, tasks } from "./prediction.ts";
import type { ReportLabelSource } from "./report_labels.ts";
import { AnswerFamily, ReportFamily } from "./text_family.ts";

/** A prediction and how good it is. */
export interface Case {
  readonly prediction: Prediction;
  /** 0 to 1. */
  readonly rank: number;
}

/** The ends of a ranking. */
export interface Cases {
  /** From the worst on. */
  readonly worst: readonly Case[];
  /** From the best on; none of them is among the worst. */
  readonly best: readonly Case[];
}

/** Scores and cases of a task. */
export interface ScoredTask {
  readonly scores: TaskScores;
  readonly cases: Cases;
}

/** What scores of others are made of, and what is kept. */
export interface ScoreOptions extends BootstrapOptions {
  /** How many worst and how many best cases are kept per task. */
  readonly cases: number;
  /** What classifiers said about reports. */
  readonly labels?: ReportLabelSource | undefined;
  /** Values that others measure, such as a judge. */
  readonly extra?: ((prediction: Prediction) => Promise<Values>) | undefined;
}

/** Keeps both ends of a ranking of things that arrive one by one; of equal ones the first are worst, the last best. */
class Ends {
  readonly #size: number;
  #worst: Case[] = [];
  #best: Case[] = [];
  #count = 0;

  constructor(size: number) {
    this.#size = size;
  }

  add(one: Case): void {
    this.#count++;
    this.#worst = this.#insert(this.#worst, one, (a, b) => a.rank < b.rank);
    this.#best = this.#insert(this.#best, one, (a, b) => a.rank >= b.rank);
  }

  #insert(list: Case[], one: Case, isBefore: (a: Case, b: Case) => boolean): Case[] {
    const at = list.findIndex((other) => isBefore(one, other));
    const place = at < 0 ? list.length : at;
    return place >= this.#size ? list : list.toSpliced(place, 0, one).slice(0, this.#size);
  }

  /** Where there are few, the worse half and the others. What is perfect is not worst, what is all wrong not best. */
  get cases(): Cases {
    const worst = this.#worst.slice(0, Math.ceil(this.#count / 2)).filter(({ rank }) => rank < 1);
    const best = this.#best.filter((one) => one.rank > 0 && !worst.includes(one));
    return { worst, best };
  }
}

function familyOf(task: Task, { labels }: ScoreOptions): Family {
  switch (task) {
    case "vqa":
    case "region-vqa":
      return new AnswerFamily();
    case "report":
    case "caption":
      return new ReportFamily(labels);
    case "classify":
      return new LabelFamily();
    default:
      return new PlaceFamily();
  }
}

/**
 * Scores predictions that arrive one by one.
 *
 * @param skip Called for a prediction that does not fit its reference, such as a mask of another size.
 * @returns The tasks that occur, in the order of reports.
 */
export async function scorePredictions(
  predictions: AsyncIterable<Prediction>,
  options: ScoreOptions,
  skip: (prediction: Prediction, message: string) => void,
): Promise<ReadonlyMap<Task, ScoredTask>> {
  const scored = new Map<Task, { family: Family; ends: Ends }>();
  for await (const prediction of predictions) {
    const { task } = prediction;
    const place = scored.get(task) ??
      { family: familyOf(task, options), ends: new Ends(options.cases) };
    scored.set(task, place);
    const extra = await options.extra?.(prediction);
    try {
      const rank = place.family.add(prediction, extra);
      if (rank !== undefined) place.ends.add({ prediction, rank });
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      skip(prediction, error.message);
    }
  }
  return new Map(
    tasks.flatMap((task) => {
      const found = scored.get(task);
      if (found === undefined) return [];
      return [[task, { scores: found.family.scores(options), cases: found.ends.cases }] as const];
    }),
  );
}
