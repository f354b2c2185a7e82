/**
 * Trains one stage of a system on a dataset, in a folder.
 *
 * @module
 */
import {
  type Device,
  DeviceError,
  openDevice,
  type OpenDeviceOptions,
  openFolder,
  type Plugin,
  type PreparedStage,
  type StageLoad,
  type StageRun,
  type WeightStorage,
  writeAtomic,
} from "@medvlm/core";
import { deepFolder } from "../deep_folder.ts";
import {
  isStep,
  learningRate,
  runFiles,
  type RunResult,
  type Stage,
  stageSchedule,
  Trainer,
  trainInFolder,
  type TrainingMemory,
} from "@medvlm/core/train";
import { counted } from "../eval/evaluation.ts";
import type { Selection } from "../eval/selection.ts";
import { makeFolder } from "../run.ts";
import { notice } from "../run_output.ts";
import { formatTime, Progress, type Terminal } from "../terminal.ts";
import { examplesFingerprint, weightsFingerprint } from "./identity.ts";
import { Lessons } from "./lessons.ts";
import { checkTrainingMemory, memoryText } from "./memory_check.ts";
import { longestRows, type Plan, planOf, readExamples } from "./plan.ts";
import { TrainingProgress } from "./progress.ts";
import { openStart, type StartPaths } from "./start.ts";

/** How a stage is trained. What is left out is as the stage says. */
export interface TrainStageOptions {
  /** The stage. */
  readonly stage: Stage;
  /** What it starts from. */
  readonly start: StartPaths;
  /** Folder of the run, made when missing. */
  readonly out: string;
  /** Where to compute. */
  readonly device: NonNullable<OpenDeviceOptions["device"]>;
  /** Storage of the frozen matrices. */
  readonly dtype: WeightStorage;
  /** Optimiser steps in all; in place of epochs. */
  readonly steps?: number | undefined;
  /** Passes over the data. */
  readonly epochs?: number | undefined;
  /** Samples of an optimiser step. */
  readonly batch?: number | undefined;
  /** Batches that they are divided into. */
  readonly accumulation: number;
  /** Highest learning rate. */
  readonly rate?: number | undefined;
  /** Longest conversation in tokens. */
  readonly maxTokens?: number | undefined;
  /** Of everything that is drawn. */
  readonly seed: number;
  /** Compute decoder layers again on the way back. */
  readonly recompute: boolean;
  /** Steps between checkpoints. */
  readonly saveEvery: number;
  /** Steps between measurements on what is held out; one more comes at the end. */
  readonly evaluateEvery?: number | undefined;
  /** Share of the patients that is held out. */
  readonly heldOut: number;
  /** Print one JSON document and nothing else to standard output. */
  readonly json: boolean;
  /** Check every kernel. */
  readonly debug: boolean;
  /** Ends the run with a checkpoint. */
  readonly signal: AbortSignal;
}

/** Names of what a run leaves besides `runFiles`. */
export const trainFiles = {
  /** The trained model in the official layout. */
  model: "model",
  /** The adapters in peft's layout. */
  adapter: "adapter",
  /** Settings and results. */
  summary: "summary.json",
} as const;

/** Everything that must be the same for a run to go on, as text. */
async function identityOf<C>(
  plugin: Plugin<C>,
  prepared: PreparedStage,
  options: TrainStageOptions,
  { steps, batch, rate, taught }: Plan,
): Promise<string> {
  const { stage, accumulation, dtype, seed, maxTokens } = options;
  return JSON.stringify({
    plugin: plugin.name,
    stage: stage.name,
    steps,
    batch,
    accumulation,
    rate,
    seed,
    dtype,
    maxTokens: maxTokens ?? stage.maxTokens,
    weights: await weightsFingerprint(prepared.tensors),
    examples: await examplesFingerprint(taught),
  });
}

async function openRun(
  prepared: PreparedStage,
  device: Device,
  { dtype, seed, recompute, maxTokens, signal }: TrainStageOptions,
  terminal: Terminal,
): Promise<StageRun> {
  const progress = new Progress(terminal, "Loading");
  try {
    return await prepared.open({
      device,
      dtype,
      seed,
      recompute,
      progress: (done, total) => progress.update(done, total),
      signal,
      ...(maxTokens === undefined ? {} : { maxTokens }),
    });
  } catch (error) {
    if (signal.aborted) throw new DeviceError("STOPPED", "Stopped before the first step");
    throw error;
  } finally {
    progress.end();
  }
}

/** Writes model and adapters below the folder of the run. */
async function saveModel(run: StageRun, out: string): Promise<string[]> {
  const model = `${out}/${trainFiles.model}`, adapter = `${out}/${trainFiles.adapter}`;
  await run.save(deepFolder(model));
  if (run.saveAdapter === undefined) return [model];
  await run.saveAdapter(deepFolder(adapter));
  return [model, adapter];
}

/** Removes what a killed process left half written. */
async function removeHalves(folder: string): Promise<void> {
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (isFile && name.endsWith(".part")) await Deno.remove(`${folder}/${name}`);
  }
}

/** What a run came to, for `summary.json` and `--json`. */
function summaryDocument<C>(
  plugin: Plugin<C>,
  options: TrainStageOptions,
  plan: Plan,
  found: {
    readonly device: Device;
    readonly memory: TrainingMemory;
    readonly result: RunResult;
    readonly identity: string;
    readonly skipped: number;
    readonly files: readonly string[];
  },
): Record<string, unknown> {
  const { device, memory, result: { log }, identity, skipped, files } = found;
  const steps = log.filter(isStep);
  const milliseconds = steps.reduce((sum, step) => sum + step.milliseconds, 0);
  const tokens = steps.reduce((sum, step) => sum + step.tokens, 0);
  const { stage, start, recompute, heldOut } = options;
  return {
    notice,
    plugin: plugin.name,
    stage: stage.name,
    start,
    settings: { ...JSON.parse(identity), recompute, "held-out": heldOut },
    examples: { taught: plan.taught.length, held: plan.held.length, skipped },
    device: { backend: device.kind, name: device.info.name },
    memory: { planned: memory, peak: device.memory.peak },
    loss: { first: steps[0]?.loss ?? null, last: steps.at(-1)?.loss ?? null },
    measures: log.flatMap((line) => isStep(line) ? [] : [{ after: line.after, ...line.metrics }]),
    seconds: Math.round(milliseconds / 100) / 10,
    "tokens_per_second": Math.round(1000 * tokens / Math.max(1, milliseconds)),
    files,
  };
}

function summaryText(document: Record<string, unknown>, { log }: RunResult): string {
  const steps = log.filter(isStep);
  const seconds = document.seconds as number;
  return [
    `Done:     ${steps.length} steps in ${formatTime(1000 * seconds)}, loss ${
      steps[0]?.loss.toPrecision(4)
    } to ${steps.at(-1)?.loss.toPrecision(4)}`,
    ...(document.files as string[]).map((file) => `Written:  ${file}`),
  ].join("\n") + "\n";
}

/**
 * Trains a stage in a folder until all steps are done, and writes the model. Where the folder holds an unfinished run of the
 * same settings, that run goes on.
 *
 * @throws {InputError} for wrong usage, data that cannot be used, a folder of another run, files that cannot be written.
 * @throws {DeviceError} when the stage does not fit, gradients are not finite, and code `STOPPED` after the signal.
 */
export async function trainStage<C>(
  plugin: Plugin<C>,
  selection: Selection,
  options: TrainStageOptions,
  terminal: Terminal,
): Promise<void> {
  const { stage, out, dtype, accumulation, recompute, seed, json, signal } = options;
  const say = json ? () => {} : (text: string) => terminal.out(text);
  await using start = await openStart(plugin, stage.name, options.start, seed);
  const { prepared } = start;
  const examples = await readExamples(plugin, stage, selection, terminal);
  const plan = planOf(options, examples);
  const { steps, batch, rate, taught, held } = plan;
  await using device = await openDevice({ device: options.device, checked: options.debug });
  const load: StageLoad = {
    dtype,
    batch: batch / accumulation,
    rows: longestRows(prepared, examples),
    recompute,
  };
  checkTrainingMemory(prepared, load, accumulation, device, Deno.systemMemoryInfo().available);
  const memory = prepared.memory(load);
  say(
    `${plugin.name}, stage ${stage.name}, on ${device.info.name} (${device.kind}), ${dtype}. ${notice}\n` +
      `Data:     ${counted(taught.length, "example")}, ${held.length} held out\n` +
      `Steps:    ${steps} of ${counted(batch, "sample")}, rate ${rate}\n` +
      `Memory:   about ${memoryText(memory)}\n`,
  );
  const identity = await identityOf(plugin, prepared, options, plan);
  const removeFolder = await makeFolder(out);
  const progress = new TrainingProgress(terminal, steps);
  try {
    await removeHalves(out);
    if (await (await openFolder(out)).has(runFiles.checkpoint)) {
      say(`Going on: ${out}/${runFiles.checkpoint} has the steps so far\n`);
    }
    await using run = await openRun(prepared, device, options, terminal);
    const lessons = new Lessons(run, taught, {
      images: selection.images,
      batch,
      accumulation,
      seed,
      strict: selection.strict === true,
      report: ({ message }) => terminal.note(`Left out: ${message}\n`),
    });
    const schedule = stageSchedule({ ...stage.schedule, rate }, steps, stage.epochs);
    using trainer = new Trainer(device, {
      parameters: run.parameters,
      async batches(step) {
        // Where the host itself computes nothing else gives signals a chance to arrive.
        if (device.kind === "wasm") await new Promise((resolve) => setTimeout(resolve));
        return await lessons.batches(step);
      },
      loss: (one, step, part) => run.loss(one, step, part),
      tokens: (one) => run.tokens(one),
    }, {
      steps,
      rate: (step) => learningRate(schedule, step),
      optimiser: {
        betas: stage.betas,
        ...(stage.maxNorm === undefined ? {} : { maxNorm: stage.maxNorm }),
      },
      identity,
    });
    const { evaluateEvery, saveEvery } = options;
    const result = await trainInFolder(trainer, {
      folder: out,
      steps,
      saveEvery,
      progress: (line, remaining) => progress.show(line, remaining),
      signal,
      ...(evaluateEvery === undefined ? {} : { evaluateEvery }),
      ...(held.length === 0 ? {} : { evaluate: () => lessons.measure(held) }),
    });
    progress.end();
    if (!result.complete) {
      throw new DeviceError(
        "STOPPED",
        `Stopped after ${trainer.step} of ${steps} steps: "${out}/${runFiles.checkpoint}" keeps them, and the same command goes on from there`,
      );
    }
    const files = await saveModel(run, out);
    const document = summaryDocument(plugin, options, plan, {
      device,
      memory,
      result,
      identity,
      skipped: lessons.skipped,
      files,
    });
    const text = JSON.stringify(document, null, 2) + "\n";
    await writeAtomic(`${out}/${trainFiles.summary}`, text);
    say(summaryText(document, result));
    if (json) terminal.out(text);
  } catch (error) {
    // Only where nothing was written yet.
    await removeFolder();
    throw error;
  }
}
