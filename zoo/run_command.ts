/**
 * `run`: its flags and how they become a {@linkcode run}.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import { searchFlags } from "./answering.ts";
import type { Command, FlagValues } from "./flags.ts";
import { weightFlags } from "./model_loading.ts";
import { loadPlugin, pluginNames } from "./plugins.ts";
import { run } from "./run.ts";
import type { Terminal } from "./terminal.ts";

/** The flags of `run`. */
export const runCommand = {
  name: "run",
  about: "Answers one question about one image, with text, masks and boxes.",
  flags: {
    plugin: {
      kind: "text",
      value: "NAME",
      about: `the system to run: ${pluginNames.join(", ")}; the only flag that is needed`,
    },
    image: {
      kind: "text",
      value: "FILE",
      about: "PNG or JPEG picture; without it the zoo's chest X-ray",
    },
    prompt: {
      kind: "text",
      value: "TEXT",
      about: "the question; without it a segmentation request",
    },
    task: {
      kind: "choice",
      choices: [
        "vqa",
        "report",
        "classify",
        "caption",
        "ground-box",
        "ground-mask",
        "ground-instances",
        "region-vqa",
      ],
      about: "what is asked for; without it decided from the prompt and the regions",
    },
    region: {
      kind: "list",
      value: "REGION",
      about: "box:x0,y0,x1,y1, point:x,y or mask:FILE, in pixels of the image",
    },
    ...weightFlags,
    "max-new-tokens": {
      kind: "whole",
      value: "N",
      min: 1,
      max: 1048576,
      about:
        "most tokens of the answer; without it the system's own limit, or 24 for untrained weights",
    },
    temperature: {
      kind: "number",
      value: "T",
      min: 0,
      max: 100,
      default: 0,
      about: "0 takes the most probable token",
    },
    "top-p": {
      kind: "number",
      value: "P",
      min: 0,
      max: 1,
      aboveMin: true,
      default: 1,
      about: "keep the most probable tokens that reach this mass together",
    },
    ...searchFlags,
    seed: {
      kind: "whole",
      value: "N",
      min: 0,
      max: 4294967295,
      default: 0,
      about: "same seed, same device, same answer",
    },
    out: {
      kind: "text",
      value: "DIR",
      default: "./medvlm-out",
      about: "folder for answer.json and overlay.png",
    },
    json: { kind: "switch", about: "print one JSON document and nothing else" },
    profile: { kind: "switch", about: "time every kernel and print the table" },
    debug: { kind: "switch", about: "check every kernel; stack traces with errors" },
  },
} as const satisfies Command;

function required(name: string, value: string | undefined): void {
  if (value === "") {
    throw new InputError("USAGE", `Cannot use an empty --${name}: give it a value or leave it out`);
  }
}

/** Checks the flags, imports the plugin and runs it. */
export async function runFromFlags(
  flags: FlagValues<typeof runCommand.flags>,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const {
    plugin,
    region,
    "max-new-tokens": maxNewTokens,
    "top-p": topP,
    "length-penalty": lengthPenalty,
    ...rest
  } = flags;
  if (plugin === undefined || plugin === "") {
    throw new InputError(
      "USAGE",
      `Cannot run without a system: add --plugin ${pluginNames.join(" or --plugin ")}`,
    );
  }
  for (const name of ["image", "checkpoint", "out"] as const) required(name, flags[name]);
  await run(
    await loadPlugin(plugin),
    { ...rest, regions: region, maxNewTokens, topP, lengthPenalty, signal },
    terminal,
  );
}
