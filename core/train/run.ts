/**
 * A training run in a folder: a log of every step, checkpoints, a plot of the loss, and going on after an interruption.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { openFolder, readAll, writeAtomic } from "../files.ts";
import { lossPlot } from "./loss_plot.ts";
import type { StepRecord, Trainer } from "./trainer.ts";

/** Files of a run. */
export const runFiles = {
  /** State to go on from. */
  checkpoint: "checkpoint.safetensors",
  /** One JSON object per line: steps and evaluations. */
  log: "log.jsonl",
  /** The loss over the steps. */
  plot: "loss.svg",
} as const;

/** What an evaluation during training found. */
export interface EvaluationRecord {
  /** Steps done before it. */
  readonly after: number;
  /** Values by name. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** A line of the log. */
export type LogLine = StepRecord | EvaluationRecord;

/** How a run is kept. */
export interface RunOptions {
  /** Folder that exists; it may hold an earlier part of the run. */
  readonly folder: string;
  /** Optimiser steps in all. */
  readonly steps: number;
  /** Steps between checkpoints. The log is written along with them. */
  readonly saveEvery: number;
  /** Steps between evaluations; one more comes at the end. Default: none. */
  readonly evaluateEvery?: number;
  /** Measures the model after so many steps. */
  readonly evaluate?: (after: number) => Promise<Readonly<Record<string, number>>>;
  /** Called with every line of the log as it arises, and the milliseconds that the rest of the run may take. */
  readonly progress?: (line: LogLine, remaining: number) => void;
  /** Ends the run after the steps in flight, with a checkpoint. */
  readonly signal?: AbortSignal;
}

/** What came of a run. */
export interface RunResult {
  /** The log, earlier parts of the run included. */
  readonly log: readonly LogLine[];
  /** Whether all steps are done; false after an abort. */
  readonly complete: boolean;
}

/** Whether a line is about a step. */
export function isStep(line: LogLine): line is StepRecord {
  return "loss" in line;
}

/** Mean time of the last steps. */
function pace(log: readonly LogLine[]): number {
  const last = log.filter(isStep).slice(-20);
  return last.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / Math.max(1, last.length);
}

/** Lines of an earlier part that the checkpoint has seen: whatever came after it will come again. */
async function readLog(path: string, step: number): Promise<LogLine[]> {
  const lines = new TextDecoder().decode(await readAll(path)).split("\n").filter((one) => one);
  return lines.map((text, i): LogLine => {
    try {
      return JSON.parse(text);
    } catch {
      throw new InputError(
        "INVALID_JSON",
        `Cannot read "${path}" line ${i + 1}: it is no JSON; remove the line to go on`,
      );
    }
  }).filter((line) => isStep(line) ? line.step < step : line.after <= step);
}

/**
 * Trains in a folder until all steps are done. Where the folder has a checkpoint, the run goes on from there, bit by bit as
 * if it had never stopped. Every file appears complete or not at all: a crash or a full disk costs the steps since the last
 * checkpoint.
 *
 * @throws {InputError} code `OTHER_RUN` when the checkpoint belongs to other settings, `NOT_WRITABLE` when files cannot be
 * written.
 * @throws {DeviceError} code `NOT_FINITE` as {@linkcode Trainer.run} does; the last checkpoint stays.
 */
export async function trainInFolder<B>(
  trainer: Trainer<B>,
  { folder, steps, saveEvery, evaluateEvery, evaluate, progress, signal }: RunOptions,
): Promise<RunResult> {
  const at = (name: string) => `${folder}/${name}`;
  const existing = await openFolder(folder);
  let log: LogLine[] = [];
  if (await existing.has(runFiles.checkpoint)) {
    await trainer.resume(at(runFiles.checkpoint));
    if (await existing.has(runFiles.log)) log = await readLog(at(runFiles.log), trainer.step);
  }
  const add = (line: LogLine) => {
    log.push(line);
    progress?.(line, pace(log) * (steps - trainer.step));
  };
  const save = async () => {
    await trainer.save(at(runFiles.checkpoint));
    await writeAtomic(at(runFiles.log), log.map((line) => `${JSON.stringify(line)}\n`).join(""));
    await writeAtomic(at(runFiles.plot), lossPlot(log));
  };
  const every = (interval: number | undefined) =>
    interval === undefined
      ? Infinity
      : interval * (Math.floor(trainer.step / interval) + 1) - trainer.step;
  const stopped = () => signal?.aborted === true;
  const evaluated = (step: number) => log.some((line) => !isStep(line) && line.after === step);
  while (trainer.step < steps && !stopped()) {
    const next = Math.min(steps - trainer.step, every(saveEvery), every(evaluateEvery));
    for await (const record of trainer.run(trainer.step + next, signal)) add(record);
    const { step } = trainer;
    const due = step === steps || evaluateEvery !== undefined && step % evaluateEvery === 0;
    if (evaluate !== undefined && due && !stopped() && !evaluated(step)) {
      add({ after: step, metrics: await evaluate(step) });
    }
    if (step === steps || step % saveEvery === 0 || stopped()) await save();
  }
  return { log, complete: trainer.step >= steps };
}
