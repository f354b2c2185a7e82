/**
 * `eval`: its flags and what they start.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import { searchFlags } from "./answering.ts";
import { datasets } from "./data/mod.ts";
import { defaultResamples } from "./eval/evaluate.ts";
import { tasks } from "./eval/prediction.ts";
import { evaluateFile, evaluatePlugin, listDataset, type ScoringOptions } from "./eval/run_eval.ts";
import { openFolders, type Selection } from "./eval/selection.ts";
import type { Command, FlagValues } from "./flags.ts";
import { weightFlags } from "./model_loading.ts";
import { nearest } from "./nearest.ts";
import { loadPlugin, pluginNames } from "./plugins.ts";
import type { Terminal } from "./terminal.ts";

/** Variable of the environment that holds the key of a judge. */
export const judgeKeyVariable = "MEDVLM_JUDGE_KEY";

/** The flags of `eval`. */
export const evalCommand = {
  name: "eval",
  about:
    "Runs a system over a dataset, or scores a file of predictions: metrics with intervals, and a page with the worst and best cases.",
  flags: {
    plugin: {
      kind: "text",
      value: "NAME",
      about: `the system to run: ${pluginNames.join(", ")}`,
    },
    predictions: {
      kind: "text",
      value: "FILE",
      about: "score this file instead of running a system; a line of JSON per prediction",
    },
    dataset: {
      kind: "text",
      value: "NAME",
      about: "the format of the data, such as vqa_rad; docs/datasets.md lists all",
    },
    data: { kind: "text", value: "DIR", about: "folder of the dataset" },
    images: {
      kind: "text",
      value: "DIR",
      about: "folder of pictures and masks, when they are not in the dataset's",
    },
    list: { kind: "switch", about: "count what the dataset holds and run nothing" },
    split: {
      kind: "choice",
      choices: ["train", "validate", "test"],
      about: "only this part of the dataset",
    },
    task: { kind: "choice", choices: tasks, about: "only examples of this task" },
    limit: {
      kind: "whole",
      value: "N",
      min: 1,
      max: 1e9,
      about: "only the first N examples",
    },
    turns: {
      kind: "choice",
      choices: ["each", "first", "last"],
      about: "turns of a conversation that are asked; each when left out",
    },
    "per-finding": {
      kind: "switch",
      about: "one question per finding, for systems that answer with one mask at a time",
    },
    "split-seed": {
      kind: "whole",
      value: "N",
      min: 0,
      max: 4294967295,
      about: "divides a dataset at random that is divided so, such as ms_cxr",
    },
    strict: { kind: "switch", about: "the first record that cannot be used is an error" },
    ...weightFlags,
    "max-new-tokens": {
      kind: "whole",
      value: "N",
      min: 1,
      max: 1048576,
      about:
        "most tokens of an answer; without it the system's own limit, or 24 for untrained weights",
    },
    ...searchFlags,
    seed: {
      kind: "whole",
      value: "N",
      min: 0,
      max: 4294967295,
      default: 0,
      about: "of the random weights, of answers that are drawn, and of the intervals",
    },
    resamples: {
      kind: "whole",
      value: "N",
      min: 1,
      max: 100000,
      default: defaultResamples,
      about: "bootstrap resamples of an interval",
    },
    cases: {
      kind: "whole",
      value: "N",
      min: 0,
      max: 100,
      default: 6,
      about: "worst and best cases per task on the page",
    },
    "judge-ratings": {
      kind: "text",
      value: "FILE",
      about: "ratings by people: a JSON object of numbers by id",
    },
    "judge-url": {
      kind: "text",
      value: "URL",
      about:
        `chat completions of a language model that rates; the texts are sent there, with the key in ${judgeKeyVariable}`,
    },
    "judge-model": { kind: "text", value: "NAME", about: "name of that model" },
    chexbert: {
      kind: "text",
      value: "FILE",
      about: "table that CheXbert made of reports.csv",
    },
    radgraph: {
      kind: "text",
      value: "FILE",
      about: "annotations that RadGraph made of the same texts",
    },
    out: {
      kind: "text",
      value: "DIR",
      about: "folder for predictions, metrics and page; ./medvlm-eval/PLUGIN-DATASET when left out",
    },
    json: { kind: "switch", about: "print one JSON document and nothing else" },
    debug: { kind: "switch", about: "check every kernel; stack traces with errors" },
  },
} as const satisfies Command;

type Flags = FlagValues<typeof evalCommand.flags>;

const usage = (message: string) => new InputError("USAGE", message);

function checkValues(flags: Flags): void {
  const given: Readonly<Record<string, unknown>> = flags;
  for (const [name, value] of Object.entries(given)) {
    if (value === "") {
      throw usage(`Cannot use an empty --${name}: give it a value or leave it out`);
    }
  }
  const needs = (name: string, other: string, why: string) => {
    const isGiven = given[name] !== undefined && given[name] !== false;
    if (isGiven && given[other] === undefined) {
      throw usage(`Cannot use --${name} without --${other}: ${why}`);
    }
  };
  needs("data", "dataset", "say in which format it is, as docs/datasets.md lists them");
  needs("dataset", "data", "say where the dataset is");
  needs("list", "dataset", "say what to list");
  for (const name of ["split", "task", "limit", "turns", "per-finding", "split-seed"]) {
    needs(name, "dataset", "it chooses examples of a dataset");
  }
  if (flags["judge-ratings"] !== undefined && flags["judge-url"] !== undefined) {
    throw usage("Cannot use --judge-ratings together with --judge-url: choose one judge");
  }
  needs("judge-url", "judge-model", "name the model that the endpoint shall use");
  needs("judge-model", "judge-url", "give the address of its chat completions");
  const url = flags["judge-url"];
  if (url !== undefined && !/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
    throw usage(`Cannot use --judge-url ${JSON.stringify(url.slice(0, 60))}: it is no web address`);
  }
}

/** The jobs that flags can mean. */
function checkJob(flags: Flags): void {
  const { plugin, predictions, list, dataset } = flags;
  const jobs = [
    plugin === undefined ? "" : "--plugin",
    predictions === undefined ? "" : "--predictions",
    list ? "--list" : "",
  ].filter((name) => name !== "");
  if (jobs.length === 0) {
    throw usage(
      `Cannot evaluate: add --plugin ${
        pluginNames.join(" or --plugin ")
      } with --dataset and --data, or --predictions FILE, or --list to look at a dataset`,
    );
  }
  if (jobs.length > 1) {
    throw usage(`Cannot use ${jobs.join(" together with ")}: choose one of them`);
  }
  if (plugin !== undefined && dataset === undefined) {
    throw usage("Cannot evaluate a system without a dataset: add --dataset NAME and --data DIR");
  }
  const given: Readonly<Record<string, unknown>> = flags;
  const ofPlugin = ["checkpoint", "preset", ...Object.keys(searchFlags)]
    .find((name) => given[name] !== undefined && given[name] !== false);
  if (plugin === undefined && ofPlugin !== undefined) {
    throw usage(`Cannot use --${ofPlugin} without --plugin: it belongs to a system that is run`);
  }
}

async function selectionOf(flags: Flags, signal: AbortSignal): Promise<Selection | undefined> {
  const { dataset, data, images, split, task, limit, turns, strict } = flags;
  if (dataset === undefined || data === undefined) return undefined;
  if (!Object.hasOwn(datasets, dataset)) {
    throw usage(
      `Cannot use --dataset ${
        JSON.stringify(dataset.slice(0, 60))
      }: there is no such reader; did you mean ${
        nearest(dataset, Object.keys(datasets))
      } (docs/datasets.md lists all)`,
    );
  }
  return {
    reader: datasets[dataset],
    ...await openFolders(data, images),
    split,
    task,
    limit,
    turns,
    strict,
    splitSeed: flags["split-seed"],
    perFinding: flags["per-finding"],
    signal,
  };
}

/** The folder for the files where none was named. */
function defaultOut({ plugin, dataset, predictions = "" }: Flags): string {
  const file = predictions.split(/[\\/]/).at(-1)!.replace(/\.jsonl?$/, "");
  return `./medvlm-eval/${plugin === undefined ? file : `${plugin}-${dataset}`}`;
}

/** Checks the flags and does what they say. */
export async function evalFromFlags(
  flags: Flags,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  checkValues(flags);
  checkJob(flags);
  const { plugin: name, predictions, list, json, strict, seed } = flags;
  const plugin = name === undefined ? undefined : await loadPlugin(name);
  const chosen = await selectionOf(flags, signal);
  // Without their pictures examples can be counted and scored, but not asked.
  const selection = chosen && { ...chosen, keepMissing: plugin === undefined };
  if (list) return await listDataset(selection!, json, terminal);
  const options: ScoringOptions = {
    out: (flags.out ?? defaultOut(flags)).replace(/(?<=.)\/+$/, ""),
    seed,
    resamples: flags.resamples,
    cases: flags.cases,
    judge: {
      ratings: flags["judge-ratings"],
      url: flags["judge-url"],
      model: flags["judge-model"],
      key: Deno.env.get(judgeKeyVariable),
    },
    chexbert: flags.chexbert,
    radgraph: flags.radgraph,
    json,
  };
  if (plugin !== undefined) {
    const { checkpoint, preset, device, dtype, debug, "max-new-tokens": maxNewTokens } = flags;
    const { beams, consensus, constrained, "length-penalty": lengthPenalty } = flags;
    const search = { beams, lengthPenalty, consensus, constrained };
    const run = { checkpoint, preset, device, dtype, debug, maxNewTokens, ...search, seed, signal };
    return await evaluatePlugin(plugin, selection!, run, options, terminal);
  }
  const { images } = flags;
  await evaluateFile(predictions!, { selection, images, strict, signal }, options, terminal);
}
