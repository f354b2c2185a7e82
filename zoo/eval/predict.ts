/**
 * Runs a plugin over a dataset: one line of the predictions file per example, what is there already left as it is.
 *
 * @module
 */
import {
  DeviceError,
  type Example,
  InputError,
  type Model,
  openDevice,
  type OpenDeviceOptions,
  type Plugin,
  type SearchOptions,
  type Task,
} from "@medvlm/core";
import { completeAnswer } from "../answering.ts";
import type { Problem } from "../data/reader.ts";
import { FieldError } from "../data/fields.ts";
import { defaultPreset, loadModel, type WeightOptions } from "../model_loading.ts";
import { notice, untrainedNotice } from "../run_output.ts";
import { itemAmounts, Progress, type Terminal } from "../terminal.ts";
import { outlineOf, predictionFrom, questionOf, taskFor } from "./asking.ts";
import { keyOf, type Prediction } from "./prediction.ts";
import { contentOf, PredictionFile, type PredictionHeader } from "./prediction_file.ts";
import { selected, type Selection, type Survey } from "./selection.ts";

/** How a plugin is run. */
export interface PredictOptions extends WeightOptions, SearchOptions {
  /** Where to compute. Default `auto`. */
  readonly device?: NonNullable<OpenDeviceOptions["device"]> | undefined;
  /** Most tokens of an answer. Default: the plugin's. */
  readonly maxNewTokens?: number | undefined;
  /** Check every kernel as it runs. */
  readonly debug?: boolean | undefined;
  /** The predictions file. */
  readonly file: string;
}

/** What a run came to. */
export interface Predicted {
  /** Keys of the examples that have a prediction. */
  readonly keys: ReadonlySet<string>;
  /** Predictions that were there before. */
  readonly before: number;
  /** Examples that could not be asked: the picture cannot be decoded, the prompt is too long. */
  readonly failed: readonly Problem[];
  /** Examples of tasks that the plugin does not have. */
  readonly unsupported: number;
  /** Other tasks as which some were asked. */
  readonly askedAs: Readonly<Partial<Record<Task, Task>>>;
  /** Backend and name of the device. */
  readonly device: { readonly backend: string; readonly name: string };
  /** The weights were never trained. */
  readonly untrained: boolean;
}

/** How the tasks of a dataset are asked, and how many examples cannot be. */
function plan<C>(plugin: Plugin<C>, survey: Survey) {
  const askedAs: Partial<Record<Task, Task>> = {};
  let unsupported = 0;
  for (const { task, count } of survey.parts) {
    const as = taskFor(plugin, task);
    if (as === undefined) unsupported += count;
    else if (as !== task) askedAs[task] = as;
  }
  return { askedAs, unsupported };
}

function checkTasks<C>(plugin: Plugin<C>, survey: Survey, dataset: string): void {
  const tasks = [...new Set(survey.parts.map(({ task }) => task))];
  if (tasks.some((task) => taskFor(plugin, task) !== undefined)) return;
  throw new InputError(
    "UNSUPPORTED_TASK",
    `Cannot evaluate ${plugin.name} on ${dataset}: its examples ask for ${
      tasks.join(", ")
    }, and ${plugin.name} does ${plugin.tasks.join(", ")}; choose another dataset or plugin`,
  );
}

/** The search for answers, as far as one was asked for. */
export function searchIdentity(
  { beams, lengthPenalty, consensus, constrained }: SearchOptions,
): Record<string, string | number> {
  return {
    ...(beams === undefined ? {} : { beams }),
    ...(lengthPenalty === undefined ? {} : { "length-penalty": lengthPenalty }),
    ...(consensus === undefined ? {} : { consensus }),
    ...(constrained ? { constrained: "yes" } : {}),
  };
}

function headerOf<C>(
  plugin: Plugin<C>,
  selection: Selection,
  options: PredictOptions,
  backend: string,
  untrained: boolean,
): PredictionHeader {
  const { checkpoint, preset, dtype = "f32", seed = 0, maxNewTokens } = options;
  return {
    predictions: 1,
    run: {
      plugin: plugin.name,
      checkpoint: checkpoint ?? null,
      preset: checkpoint === undefined ? preset ?? defaultPreset : null,
      dtype,
      device: backend,
      seed: checkpoint === undefined ? seed : null,
      "max-new-tokens": maxNewTokens ?? null,
      ...searchIdentity(options),
      dataset: selection.reader.name,
      turns: selection.turns ?? "each",
      "per-finding": selection.perFinding === true ? "yes" : "no",
    },
    untrained,
  };
}

/** The prediction of an example, or why there is none though the others are not concerned; nothing after a stop. */
async function answered(
  example: Example,
  task: Task,
  { images }: Selection,
  model: Model,
  options: PredictOptions,
): Promise<Prediction | Problem | undefined> {
  try {
    const { asked, request } = await questionOf(example, images, task);
    const answer = await completeAnswer(model, request, options);
    return answer.finish === "aborted" ? undefined : predictionFrom(asked, answer);
  } catch (error) {
    if (!(error instanceof InputError || error instanceof FieldError)) throw error;
    return { file: example.image === "" ? example.id : example.image, message: error.message };
  }
}

function cannotAsk({ id }: Example, { message }: Problem): InputError {
  return new InputError(
    "INVALID_EXAMPLE",
    `Cannot ask the example "${id}": ${message}; leave --strict out to go on without it`,
  );
}

function stopped(file: string, done: number, total: number): DeviceError {
  return new DeviceError(
    "STOPPED",
    `Stopped after ${done} of ${total} examples: "${file}" keeps them, and the same command goes on from there`,
  );
}

/**
 * Answers every example of a selection that the predictions file does not have yet.
 *
 * @param survey What the selection holds.
 * @throws {InputError} for wrong usage, a damaged dataset, and in strict mode for the first example that cannot be asked.
 * @throws {DeviceError} when the model does not fit or the device fails, and code `STOPPED` after the signal.
 */
export async function predict<C>(
  plugin: Plugin<C>,
  selection: Selection,
  survey: Survey,
  options: PredictOptions,
  terminal: Terminal,
  say: (text: string) => void,
): Promise<Predicted> {
  checkTasks(plugin, survey, selection.reader.name);
  const { askedAs, unsupported } = plan(plugin, survey);
  await using device = await openDevice({
    device: options.device ?? "auto",
    checked: options.debug ?? false,
  });
  say(
    `${plugin.name} on ${device.info.name} (${device.kind}), ${
      options.dtype ?? "f32"
    }. ${notice}\n`,
  );
  for (const [task, as] of Object.entries(askedAs)) {
    say(`${plugin.name} has no task ${task}: asked as ${as}.\n`);
  }
  const { signal } = selection;
  await using model = await loadModel(plugin, options, device, terminal).catch((error) => {
    if (signal?.aborted) throw new DeviceError("STOPPED", "Stopped before the first answer");
    throw error;
  });
  if (model.untrained) say(`${untrainedNotice}\n`);
  const header = headerOf(plugin, selection, options, device.kind, model.untrained);
  using file = await PredictionFile.open(options.file, header);
  const before = file.count;
  if (before > 0) say(`Going on: ${before} predictions are in ${options.file} already.\n`);

  const keys = new Set<string>(), failed: Problem[] = [];
  const progress = new Progress(terminal, "Answering", itemAmounts);
  const total = survey.examples - unsupported;
  let done = 0, known = 0;
  try {
    for await (const example of selected({ ...selection, signal: undefined })) {
      if (signal?.aborted) throw stopped(options.file, done, total);
      const as = taskFor(plugin, example.task);
      if (as === undefined) continue;
      const outline = outlineOf(example);
      if (file.has(outline, contentOf(outline))) known++;
      else {
        const result = await answered(example, as, selection, model, options);
        if (result === undefined || signal?.aborted) throw stopped(options.file, done, total);
        if ("message" in result) {
          failed.push(result);
          if (selection.strict) throw cannotAsk(example, result);
          continue;
        }
        await file.append(result);
      }
      keys.add(keyOf(outline));
      // The speed is that of answers, not of what was there before.
      progress.update(++done - known, total - known);
    }
  } finally {
    progress.end();
  }
  return {
    keys,
    before,
    failed,
    unsupported,
    askedAs,
    device: { backend: device.kind, name: device.info.name },
    untrained: model.untrained,
  };
}
