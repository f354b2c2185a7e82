/** Predictions written to a file and scored as the command does it. */
import type { Task } from "@medvlm/core";
import type { Estimates } from "./estimates.ts";
import type { TaskScores } from "./family.ts";
import { PredictionReading } from "./prediction_reader.ts";
import { type ScoredTask, type ScoreOptions, scorePredictions } from "./score.ts";

/** A line as a user writes it. */
export type Line = Readonly<Record<string, unknown>>;

/** Scores of lines, per task, with few resamples. */
export async function scoredLines(
  lines: readonly Line[],
  options: Partial<ScoreOptions> = {},
): Promise<ReadonlyMap<Task, ScoredTask>> {
  const path = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    await Deno.writeTextFile(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const reading = new PredictionReading(path, { strict: true });
    return await scorePredictions(
      reading,
      { seed: 1, resamples: 20, cases: 2, ...options },
      ({ id }, message) => {
        throw new Error(`${id}: ${message}`);
      },
    );
  } finally {
    await Deno.remove(path);
  }
}

/** Scores of lines of one task. */
export async function scoresOf(
  lines: readonly Line[],
  options: Partial<ScoreOptions> = {},
): Promise<TaskScores> {
  const [task] = (await scoredLines(lines, options)).values();
  return task.scores;
}

/** The values of metrics by name. */
export function valuesOf(metrics: Estimates): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).map(([name, { value }]) => [name, value]));
}
