/**
 * Runs of several parts in one folder: each part is one training run that starts from the weights of an earlier one, is taken
 * up again where it stopped, and is not done twice.
 *
 * @module
 */
import { bytesSource, InputError, openFolder, readAll, writeAtomic } from "@medvlm/core";
import { sha256 } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import {
  learningRate,
  type LogLine,
  stageSchedule,
  Trainer,
  trainInFolder,
  type TrainingTask,
} from "@medvlm/core/train";

/** Settings of one part. */
export interface PartRecipe {
  /** Optimiser steps. */
  readonly steps: number;
  /** Samples per step: pictures with reports, pictures, texts, conversations. */
  readonly batch: number;
  /** Highest learning rate, reached after the warm-up and falling to 0 by half a cosine. */
  readonly rate: number;
  /** Share of the steps that the warm-up takes. */
  readonly warmupShare: number;
}

/** What all parts of a run have in common. */
export interface PartsRun {
  /** Device that trains. */
  readonly device: Device;
  /** Folder of the run; made when it is missing. */
  readonly folder: string;
  /** Ends the run after the steps in flight. */
  readonly signal?: AbortSignal;
  /** Called with every line of every part's log, and the milliseconds that the rest of the part may take. */
  readonly progress?: (part: string, line: LogLine, remaining: number) => void;
}

/** A part that is being prepared: what it trains, how it is measured, and how its weights are kept. */
export interface PreparedPart<B = unknown> extends AsyncDisposable {
  /** What is trained. */
  readonly task: TrainingTask<B>;
  /** Measures on pictures that were not seen. */
  readonly evaluate: () => Promise<Record<string, number>>;
  /** Writes the weights below the part's folder; what is there from an attempt before is overwritten. */
  readonly save: (folder: string) => Promise<void>;
  /** Gradients are clipped to this norm. Default 1. */
  readonly maxNorm?: number;
  /** Of AdamW. Default [0.9, 0.95]. */
  readonly betas?: readonly [number, number];
}

/** Steps between checkpoints, and between looks at held-out phantoms. */
const saveEvery = 50, evaluateEvery = 300;

/** Written when a part is over: what it was made with. */
const doneFile = "done.json";

/** Runs parts. */
export class PartRunner {
  readonly #run: PartsRun;
  readonly #shared: unknown;
  /** Hash of what the part before was made with, and through it all parts before. */
  #before: string | null = null;

  /** @param shared What all parts depend on besides their own settings, such as the seed: a JSON value. */
  constructor(run: PartsRun, shared: unknown) {
    this.#run = run;
    this.#shared = shared;
  }

  /** Folder of a part. */
  folderOf(part: string): string {
    return `${this.#run.folder}/${part}`;
  }

  /**
   * Runs one part unless it is over already. It depends on all parts that were run before it, in their order.
   *
   * @param settings How it is trained, and whatever else decides its outcome.
   * @param prepare Called when there is something to train.
   * @returns whether the part is over now; false after an abort.
   * @throws {InputError} code `OTHER_RUN` when the folder has the part with other settings, or after parts with others.
   */
  async part<B>(
    name: string,
    settings: PartRecipe,
    prepare: () => Promise<PreparedPart<B>>,
  ): Promise<boolean> {
    const { device, signal, progress } = this.#run;
    const folder = this.folderOf(name);
    const after = this.#before;
    const identity = JSON.stringify({ part: name, settings, shared: this.#shared, after });
    this.#before = await sha256(bytesSource(name, new TextEncoder().encode(identity)));
    await Deno.mkdir(folder, { recursive: true });
    if (await (await openFolder(folder)).has(doneFile)) {
      const known = new TextDecoder().decode(await readAll(`${folder}/${doneFile}`)).trim();
      if (known === identity) return true;
      throw new InputError(
        "OTHER_RUN",
        `Cannot go on from ${folder}: its weights, or those it started from, were made with other settings; remove it, or train in another folder`,
      );
    }
    await using prepared = await prepare();
    const schedule = stageSchedule({ ...settings, kind: "cosine" }, settings.steps);
    const { maxNorm = 1, betas = [0.9, 0.95] } = prepared;
    using trainer = new Trainer(device, prepared.task, {
      steps: settings.steps,
      rate: (step) => learningRate(schedule, step),
      optimiser: { betas, maxNorm },
      identity,
    });
    const { complete } = await trainInFolder(trainer, {
      folder,
      steps: settings.steps,
      saveEvery,
      evaluateEvery,
      evaluate: prepared.evaluate,
      ...(signal === undefined ? {} : { signal }),
      progress: (line, remaining) => progress?.(name, line, remaining),
    });
    if (!complete) return false;
    await prepared.save(folder);
    await writeAtomic(`${folder}/${doneFile}`, `${identity}\n`);
    return true;
  }
}
