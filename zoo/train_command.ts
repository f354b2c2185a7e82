/**
 * `train`: its flags and what they start.
 *
 * @module
 */
import { InputError, type Plugin } from "@medvlm/core";
import { datasets } from "./data/mod.ts";
import { openFolders, type Selection } from "./eval/selection.ts";
import type { Command, FlagValues } from "./flags.ts";
import { dtypes } from "./memory_plan.ts";
import { presetOf, weightFlags } from "./model_loading.ts";
import { nearest } from "./nearest.ts";
import { loadPlugin, pluginNames } from "./plugins.ts";
import type { Terminal } from "./terminal.ts";
import { trainStage } from "./train/run_train.ts";
import type { StartPaths } from "./train/start.ts";

/** Share of the patients held out where measurements are asked for and nothing else is said. */
const usualHeldOut = 0.1;

/** The flags of `train`. */
export const trainCommand = {
  name: "train",
  about:
    "Trains one stage of a system on a dataset. The same command goes on where an earlier one was stopped.",
  flags: {
    plugin: { kind: "text", value: "NAME", about: `the system: ${pluginNames.join(", ")}` },
    stage: {
      kind: "text",
      value: "NAME",
      about: "the stage of its paper, such as recognition; docs/training.md lists all",
    },
    data: { kind: "text", value: "DIR", about: "folder of the dataset" },
    dataset: {
      kind: "text",
      value: "NAME",
      about:
        "the format of the data, such as vqa_rad (docs/datasets.md lists all); the system's own when left out",
    },
    images: {
      kind: "text",
      value: "DIR",
      about: "folder of pictures and masks, when they are not in the dataset's",
    },
    split: {
      kind: "choice",
      choices: ["train", "validate", "test"],
      about: "only this part of the dataset; without it all that is not for validation or testing",
    },
    limit: { kind: "whole", value: "N", min: 1, max: 1e9, about: "only the first N examples" },
    turns: {
      kind: "choice",
      choices: ["each", "first", "last"],
      default: "last",
      about: "of a conversation: each turn by itself, or the first or last with all before it",
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
    checkpoint: {
      kind: "text",
      value: "DIR",
      about: "what the stage starts from: an official checkpoint, or the model of an earlier stage",
    },
    recognition: {
      kind: "text",
      value: "DIR",
      about: "model of the stage recognition, for experts",
    },
    grounding: { kind: "text", value: "DIR", about: "model of the stage grounding, for experts" },
    language: { kind: "text", value: "DIR", about: "language model, for the first stages" },
    projector: { kind: "text", value: "FILE", about: "pretrained projector beside it" },
    clip: { kind: "text", value: "DIR", about: "vision tower beside it" },
    sam: { kind: "text", value: "FILE", about: "SAM-Med2D beside it" },
    preset: {
      kind: "text",
      value: "NAME",
      about: "start from random weights of these sizes, such as tiny, to try things out",
    },
    steps: {
      kind: "whole",
      value: "N",
      min: 1,
      max: 1e9,
      about: "optimiser steps in all, in place of epochs",
    },
    epochs: {
      kind: "number",
      value: "N",
      min: 0,
      max: 1e6,
      aboveMin: true,
      about: "passes over the data; as the stage says when left out",
    },
    batch: {
      kind: "whole",
      value: "N",
      min: 1,
      max: 1e6,
      about: "samples of an optimiser step; as the stage says when left out",
    },
    accumulation: {
      kind: "whole",
      value: "N",
      min: 1,
      max: 1e6,
      default: 1,
      about: "equal parts of a step that are computed one after the other, for less memory",
    },
    rate: {
      kind: "number",
      value: "R",
      min: 0,
      max: 10,
      aboveMin: true,
      about: "highest learning rate; as the stage says when left out",
    },
    "max-tokens": {
      kind: "whole",
      value: "N",
      min: 1,
      max: 1048576,
      about: "longest conversation, when shorter than the stage's limit; longer ones are cut",
    },
    seed: {
      kind: "whole",
      value: "N",
      min: 0,
      max: 4294967295,
      default: 42,
      about: "of the order of the data, adapters, dropout, and everything new",
    },
    device: weightFlags.device,
    dtype: {
      kind: "choice",
      choices: dtypes,
      default: "f32",
      about: "storage of the frozen matrices; what is trained is f32 in any case",
    },
    recompute: {
      kind: "switch",
      about: "compute decoder layers again on the way back: less memory, a third more time",
    },
    "save-every": {
      kind: "whole",
      value: "N",
      min: 1,
      max: 1e9,
      default: 100,
      about: "steps between checkpoints",
    },
    "evaluate-every": {
      kind: "whole",
      value: "N",
      min: 1,
      max: 1e9,
      about: "steps between measurements on examples that are held out",
    },
    "held-out": {
      kind: "number",
      value: "SHARE",
      min: 0,
      max: 0.9,
      about:
        `share of the patients or pictures that is held out; ${usualHeldOut} with --evaluate-every, else 0`,
    },
    out: { kind: "text", value: "DIR", about: "folder of the run" },
    json: { kind: "switch", about: "print one JSON document and nothing else" },
    debug: { kind: "switch", about: "check every kernel; stack traces with errors" },
  },
} as const satisfies Command;

type Flags = FlagValues<typeof trainCommand.flags>;

/** Flags that name a model to put together, which must be known to the plugin. */
const partFlags = ["language", "projector", "clip", "sam", "recognition", "grounding"] as const;

const usage = (message: string) => new InputError("USAGE", message);

function given(flags: Flags, name: "plugin" | "stage" | "data" | "out", what: string): string {
  const value = flags[name];
  if (value === undefined) throw usage(`Cannot train without ${what}`);
  return value;
}

function checkEmpty(flags: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(flags)) {
    if (value === "") {
      throw usage(`Cannot use an empty --${name}: give it a value or leave it out`);
    }
  }
}

/** What the stage starts from: exactly one kind of it. */
function startOf(plugin: Plugin<unknown>, flags: Flags): StartPaths {
  const { checkpoint, preset } = flags;
  const parts: Record<string, string> = {};
  for (const name of partFlags) {
    const path = flags[name];
    if (path === undefined) continue;
    if (!Object.hasOwn(plugin.parts, name)) {
      throw usage(
        `Cannot use --${name}: ${plugin.name} is put together from ${
          Object.keys(plugin.parts).join(", ") || "nothing"
        }`,
      );
    }
    parts[name] = path;
  }
  const kinds = [
    checkpoint === undefined ? "" : "--checkpoint",
    preset === undefined ? "" : "--preset",
    Object.keys(parts).length === 0 ? "" : Object.keys(parts).map((name) => `--${name}`).join(", "),
  ].filter((kind) => kind !== "");
  if (kinds.length === 0) {
    throw usage(
      "Cannot train without a model to start from: add --checkpoint DIR, or --preset tiny for random weights to try things out",
    );
  }
  if (kinds.length > 1) {
    throw usage(`Cannot use ${kinds.join(" together with ")}: a stage starts from one of them`);
  }
  if (preset !== undefined) presetOf(plugin, preset);
  return { checkpoint, preset, parts };
}

async function selectionOf(
  plugin: Plugin<unknown>,
  flags: Flags,
  signal: AbortSignal,
): Promise<Selection> {
  const { dataset = plugin.trainingData, images, split, limit, turns, strict } = flags;
  if (!Object.hasOwn(datasets, dataset)) {
    throw usage(
      `Cannot use --dataset ${
        JSON.stringify(dataset.slice(0, 60))
      }: there is no such reader; did you mean ${
        nearest(dataset, Object.keys(datasets))
      } (docs/datasets.md lists all)`,
    );
  }
  const data = given(flags, "data", "data: add --data DIR, and --dataset NAME for its format");
  return {
    reader: datasets[dataset],
    ...await openFolders(data, images),
    split,
    limit,
    turns,
    strict,
    splitSeed: flags["split-seed"],
    perFinding: flags["per-finding"],
    signal,
  };
}

/** Checks the flags and trains. */
export async function trainFromFlags(
  flags: Flags,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  checkEmpty(flags);
  const name = given(
    flags,
    "plugin",
    `a system: add --plugin ${pluginNames.join(" or --plugin ")}`,
  );
  const plugin = await loadPlugin(name);
  const stages = plugin.stages.map((stage) => stage.name);
  const wanted = given(flags, "stage", `a stage: ${plugin.name} has ${stages.join(", ")}`);
  const stage = plugin.stages.find((one) => one.name === wanted);
  if (stage === undefined) {
    throw usage(
      `Cannot use --stage ${JSON.stringify(wanted.slice(0, 60))}: ${plugin.name} has ${
        stages.join(", ")
      }; did you mean ${nearest(wanted, stages)}`,
    );
  }
  if (flags.steps !== undefined && flags.epochs !== undefined) {
    throw usage("Cannot use --steps together with --epochs: choose one of them");
  }
  const start = startOf(plugin, flags);
  const out = given(flags, "out", "a folder for the run: add --out DIR").replace(/(?<=.)\/+$/, "");
  const selection = await selectionOf(plugin, flags, signal);
  const { steps, epochs, batch, accumulation, rate, seed, device, dtype, recompute } = flags;
  const evaluateEvery = flags["evaluate-every"];
  await trainStage(
    plugin,
    selection,
    {
      stage,
      start,
      out,
      device,
      dtype,
      steps,
      epochs,
      batch,
      accumulation,
      rate,
      maxTokens: flags["max-tokens"],
      seed,
      recompute,
      saveEvery: flags["save-every"],
      evaluateEvery,
      heldOut: flags["held-out"] ?? (evaluateEvery === undefined ? 0 : usualHeldOut),
      json: flags.json,
      debug: flags.debug,
      signal,
    },
    terminal,
  );
}
