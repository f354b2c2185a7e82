/**
 * The three things that `eval` does: run a plugin over a dataset, score a file of predictions, list a dataset.
 *
 * @module
 */
import { DeviceError, type FolderSource, openFolder, type Plugin, writeAtomic } from "@medvlm/core";
import { checkAnswerOptions } from "../answering.ts";
import { checkWeights, defaultPreset, withShippedWeights } from "../model_loading.ts";
import { makeFolder } from "../run.ts";
import type { Terminal } from "../terminal.ts";
import { evaluate, noteProblems, summaryText } from "./evaluate.ts";
import { counted, type Evaluation, evaluationDocument, type LeftOut } from "./evaluation.ts";
import { type JudgeOptions, openRater } from "./judge_ratings.ts";
import { readChexbert, readRadgraph, reportColumn } from "./label_files.ts";
import { surveyText } from "./listing.ts";
import { predict, type PredictOptions, searchIdentity } from "./predict.ts";
import type { Prediction } from "./prediction.ts";
import { type Joined, joinedPredictions, PredictionReading } from "./prediction_reader.ts";
import type { ReportLabelSource } from "./report_labels.ts";
import { nothingSelected, selected, type Selection, surveyOf } from "./selection.ts";

/** How predictions are scored, whoever made them. */
export interface ScoringOptions {
  /** Folder of the files, made when missing. */
  readonly out: string;
  /** Of the bootstrap. */
  readonly seed: number;
  /** Resamples of an interval. */
  readonly resamples: number;
  /** How many worst and best cases the page shows per task. */
  readonly cases: number;
  /** Ratings of a judge. */
  readonly judge: Omit<JudgeOptions, "replies">;
  /** Table that CheXbert wrote. */
  readonly chexbert?: string | undefined;
  /** Annotations that RadGraph wrote. */
  readonly radgraph?: string | undefined;
  /** Print the JSON document and nothing else to standard output. */
  readonly json: boolean;
}

/** Names of the files in the folder. */
export const evalFiles = {
  predictions: "predictions.jsonl",
  metrics: "metrics.json",
  report: "report.html",
  texts: "reports.csv",
  replies: "judge.jsonl",
} as const;

const nothingLeftOut: LeftOut = {
  records: 0,
  failed: 0,
  unsupported: 0,
  missing: 0,
  unknown: 0,
  predictions: 0,
};

async function labelsOf({ chexbert, radgraph }: ScoringOptions): Promise<ReportLabelSource> {
  return {
    ...(chexbert === undefined ? {} : { chexbert: await readChexbert(chexbert) }),
    ...(radgraph === undefined ? {} : { radgraph: await readRadgraph(radgraph) }),
  };
}

/** So many predictions take a while to resample. */
const many = 2000;

/** Passes predictions on and keeps the texts of reports. */
async function* withTexts(
  predictions: AsyncIterable<Prediction>,
  texts: Set<string>,
  terminal: Terminal,
  signal: AbortSignal | undefined,
): AsyncGenerator<Prediction> {
  let count = 0;
  for await (const prediction of predictions) {
    if (signal?.aborted) {
      throw new DeviceError("STOPPED", "Stopped while scoring: the predictions are kept");
    }
    if (prediction.task === "report") {
      for (const text of [prediction.answer, prediction.reference.answer]) {
        if (text !== undefined && text !== "") texts.add(text);
      }
    }
    count++;
    yield prediction;
  }
  if (count >= many) terminal.note(`Scored ${count} predictions; computing the intervals\n`);
}

/** The texts as the table that CheXbert reads. */
function textsTable(texts: ReadonlySet<string>): string {
  const cells = [reportColumn, ...texts].map((text) => `"${text.replaceAll('"', '""')}"\n`);
  return cells.join("");
}

/** What is known about predictions when they are scored. */
type Known =
  & Pick<
    Parameters<typeof evaluate>[1],
    "title" | "dataset" | "conditions" | "untrained" | "leftOut" | "problems"
  >
  & { readonly images?: FolderSource | undefined };

async function score(
  predictions: AsyncIterable<Prediction>,
  known: Known,
  options: ScoringOptions,
  terminal: Terminal,
  signal: AbortSignal | undefined,
): Promise<Evaluation> {
  const { out, seed, resamples, cases, json } = options;
  const labels = await labelsOf(options);
  const file = (name: keyof typeof evalFiles) => `${out}/${evalFiles[name]}`;
  using rater = await openRater({ ...options.judge, replies: file("replies") });
  const texts = new Set<string>();
  const evaluation = await evaluate(withTexts(predictions, texts, terminal, signal), {
    ...known,
    out,
    seed,
    resamples,
    cases,
    labels,
    extra: rater && ((prediction) => rater.rate(prediction)),
  });
  const written = [file("metrics"), file("report")];
  if (texts.size > 0) {
    await writeAtomic(file("texts"), textsTable(texts));
    written.push(file("texts"));
  }
  if (json) terminal.out(`${JSON.stringify(evaluationDocument(evaluation), null, 2)}\n`);
  else terminal.out(summaryText(evaluation, written));
  return evaluation;
}

/** What a selection takes, as conditions of a report. */
function selectionConditions(
  { reader, split, task, limit, splitSeed, turns, perFinding }: Selection,
): Evaluation["conditions"] {
  return {
    dataset: reader.name,
    split: split ?? "all",
    task: task ?? null,
    limit: limit ?? null,
    "split seed": splitSeed ?? null,
    turns: turns ?? null,
    "per finding": perFinding === true ? "one question per finding" : null,
  };
}

/** Makes the folder, does the work, and removes the folder again when it fails before anything came into it. */
async function inFolder<T>(out: string, work: () => Promise<T>): Promise<T> {
  const parent = /^(.+)\/[^/]+$/.exec(out)?.[1];
  const made = [];
  if (parent !== undefined) made.push(await makeFolder(parent));
  made.push(await makeFolder(out));
  try {
    return await work();
  } catch (error) {
    // Folders that hold something stay.
    for (const undo of made.reverse()) await undo();
    throw error;
  }
}

/**
 * Runs a plugin over a dataset and scores its answers.
 *
 * @throws {InputError} for wrong usage or unusable data; {@linkcode DeviceError} when the device fails or the run is stopped.
 */
export async function evaluatePlugin<C>(
  plugin: Plugin<C>,
  selection: Selection,
  wanted: Omit<PredictOptions, "file">,
  options: ScoringOptions,
  terminal: Terminal,
): Promise<void> {
  checkAnswerOptions(plugin, wanted);
  checkWeights(plugin, wanted.checkpoint, wanted.preset);
  const run = await withShippedWeights(plugin.name, wanted);
  const say = options.json ? () => {} : (text: string) => terminal.out(text);
  const survey = await surveyOf(selection);
  noteProblems("Left out", survey.problems, survey.skipped, terminal);
  if (survey.examples === 0) throw nothingSelected(selection, survey);
  say(
    `${selection.reader.name}: ${counted(survey.examples, "example")}, ${
      counted(survey.skipped, "record")
    } left out\n`,
  );
  await inFolder(options.out, async () => {
    const file = `${options.out}/${evalFiles.predictions}`;
    const predicted = await predict(plugin, selection, survey, { ...run, file }, terminal, say);
    const { failed, unsupported, device, untrained, askedAs } = predicted;
    noteProblems("Not asked", failed, failed.length, terminal);
    const reading = new PredictionReading(file, { keys: predicted.keys });
    const substitutes = Object.entries(askedAs).map(([task, as]) => `${task} as ${as}`).join(", ");
    await score(
      reading,
      {
        title: `${plugin.name} on ${selection.reader.name}`,
        dataset: () => selection.reader.name,
        images: selection.images,
        untrained: () => untrained,
        problems: () => [...survey.problems, ...failed],
        leftOut: () => ({
          ...nothingLeftOut,
          records: survey.skipped,
          failed: failed.length,
          unsupported,
        }),
        conditions: () => ({
          plugin: plugin.name,
          checkpoint: run.checkpoint ?? null,
          preset: run.checkpoint === undefined ? run.preset ?? defaultPreset : null,
          dtype: run.dtype ?? "f32",
          device: `${device.backend}, ${device.name}`,
          "max new tokens": run.maxNewTokens ?? null,
          ...searchIdentity(run),
          "seed of the weights": run.checkpoint === undefined ? run.seed ?? 0 : null,
          ...selectionConditions(selection),
          "asked as": substitutes === "" ? null : substitutes,
        }),
      },
      options,
      terminal,
      run.signal,
    );
    say(`Kept:     ${file}\n`);
  });
}

/** The dataset of predictions: the one that was named, or what the file says that it answers. */
function datasetOf(
  selection: Selection | undefined,
  { header }: PredictionReading,
): string | undefined {
  if (selection !== undefined) return selection.reader.name;
  const named = header?.run.dataset;
  return typeof named === "string" ? named : undefined;
}

/** What is scored beside the file itself. */
export interface FileOptions {
  /** Where the references are, when not in the file. */
  readonly selection?: Selection | undefined;
  /** Folder of the pictures that the lines name. */
  readonly images?: string | undefined;
  /** The first line that cannot be used is an error. */
  readonly strict: boolean;
  /** Ends the scoring. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Scores a file of predictions.
 *
 * @throws {InputError} for an unusable file, and in strict mode for its first unusable line.
 */
export async function evaluateFile(
  file: string,
  { selection, images, strict, signal }: FileOptions,
  options: ScoringOptions,
  terminal: Terminal,
): Promise<void> {
  const reading = new PredictionReading(file, { strict });
  const folder = images === undefined ? selection?.images : await openFolder(images);
  const joined: Joined = { missing: 0, unknown: 0 };
  const unread: { count: number; problems: Evaluation["problems"][number][] } = {
    count: 0,
    problems: [],
  };
  const predictions = selection === undefined ? reading : joinedPredictions(
    reading,
    selected(selection, (problem) => {
      unread.count++;
      if (unread.problems.length < 100) unread.problems.push(problem);
    }),
    selection.images,
    joined,
  );
  const name = file.split(/[\\/]/).at(-1)!;
  await inFolder(options.out, async () => {
    await score(
      predictions,
      {
        title: `Predictions of ${name}`,
        dataset: () => datasetOf(selection, reading),
        images: folder,
        untrained: () => reading.header?.untrained === true,
        problems: () => [...unread.problems, ...reading.problems],
        leftOut: () => ({
          ...nothingLeftOut,
          ...joined,
          records: unread.count,
          predictions: reading.skipped,
        }),
        conditions: () => ({
          predictions: name,
          ...reading.header?.run,
          ...(selection === undefined ? {} : selectionConditions(selection)),
        }),
      },
      options,
      terminal,
      signal,
    );
    noteProblems("Left out", unread.problems, unread.count, terminal);
    noteProblems("Not used", reading.problems, reading.skipped, terminal);
  });
}

/** Reads a dataset without running anything and prints what it holds. */
export async function listDataset(
  selection: Selection,
  json: boolean,
  terminal: Terminal,
): Promise<void> {
  const survey = await surveyOf(selection);
  if (json) {
    terminal.out(`${JSON.stringify({ dataset: selection.reader.name, ...survey }, null, 2)}\n`);
    return;
  }
  terminal.out(surveyText(selection.reader.name, survey));
  noteProblems("Left out", survey.problems, survey.skipped, terminal);
}
