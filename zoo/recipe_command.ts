/**
 * `zoo train`: trains a small checkpoint that ships, from nothing, on phantoms.
 *
 * @module
 */
import { InputError, openDevice, writeAtomic } from "@medvlm/core";
import { isStep, type LogLine } from "@medvlm/core/train";
import type { Command, FlagValues } from "./flags.ts";
import { weightFlags } from "./model_loading.ts";
import { formatBytes, formatTime, itemAmounts, Progress, type Terminal } from "./terminal.ts";
import { recipes } from "./training/recipes.ts";

/** Names of the recipes. */
const names: readonly string[] = Object.keys(recipes);

/** The flags of `zoo train`. */
export const recipeCommand = {
  name: "zoo train",
  about:
    "Trains a small checkpoint of a system on phantoms, from nothing; the same command again goes on where it stopped.",
  positional: names.join("|"),
  flags: {
    out: {
      kind: "text",
      value: "DIR",
      about: "folder of the run; ./medvlm-train/NAME when left out",
    },
    device: weightFlags.device,
    "held-out": {
      kind: "whole",
      value: "N",
      min: 1,
      max: 10_000,
      default: 60,
      about: "held-out phantoms that the finished model is asked about",
    },
    debug: { kind: "switch", about: "stack traces with errors" },
  },
} as const satisfies Command;

/** Lines of a log that are printed where lines cannot be redrawn. */
const printEvery = 10;

/** A line of the log for people. */
function lineText(part: string, facts: readonly (readonly [string, string])[]): string {
  return `${part}: ${facts.map(([name, value]) => `${name} ${value}`).join(", ")}`;
}

/** Values of an evaluation on one line. */
function metricsText(metrics: Readonly<Record<string, number>>): string {
  return Object.entries(metrics).map(([name, value]) => `${name} ${Number(value.toFixed(3))}`)
    .join(", ");
}

/** Shows a line of a part's log. */
function showLine(terminal: Terminal, part: string, line: LogLine, remaining: number): void {
  const clear = terminal.redraws ? "\r\x1b[K" : "";
  if (!isStep(line)) {
    terminal.note(`${clear}${part} after ${line.after} steps: ${metricsText(line.metrics)}\n`);
    return;
  }
  if (!terminal.redraws && line.step % printEvery !== 0) return;
  const text = lineText(part, [
    ["step", String(line.step)],
    ["loss", line.loss.toFixed(3)],
    ["rate", line.rate.toExponential(1)],
    ["tokens/s", (line.tokens / line.milliseconds * 1000).toFixed(0)],
    ["left", formatTime(remaining)],
  ]);
  terminal.note(terminal.redraws ? `${clear}${text}` : `${text}\n`);
}

/**
 * Carries out the recipe, writes the checkpoint in the official layout, asks it about held-out phantoms, and writes the
 * model card.
 *
 * @throws {InputError} code `USAGE` without a known name, `OTHER_RUN` when the folder belongs to another recipe.
 */
export async function trainRecipe(
  given: readonly string[],
  flags: FlagValues<typeof recipeCommand.flags>,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const [name = ""] = given;
  if (given.length !== 1 || !names.includes(name)) {
    throw new InputError(
      "USAGE",
      `Cannot train ${
        given.length === 1 ? JSON.stringify(name.slice(0, 60)) : `${given.length} recipes`
      }: name one of ${names.join(", ")}, as in zoo train ${names[0]}`,
    );
  }
  const recipe = recipes[name]!;
  const folder = (flags.out ?? `./medvlm-train/${name}`).replace(/(?<=.)\/+$/, "");
  await using device = await openDevice({ device: flags.device });
  terminal.note(`Training ${name} on ${device.info.name} (${device.kind}) in ${folder}\n`);
  const complete = await recipe.train({
    device,
    folder,
    signal,
    progress: (part, line, remaining) => showLine(terminal, part, line, remaining),
  });
  if (!complete) {
    terminal.note(`Stopped; the same command goes on from the last checkpoint in ${folder}\n`);
    return;
  }
  const release = `${folder}/release/${name}`;
  const progress = new Progress(terminal, "Asking", itemAmounts);
  const { bytes, report, card } = await recipe.finish({
    folder,
    release,
    device,
    heldOut: flags["held-out"],
    progress: (done, total) => progress.update(done, total),
  });
  progress.end();
  await writeAtomic(`${release}/report.json`, `${JSON.stringify(report, null, 2)}\n`);
  await writeAtomic(`${release}/README.md`, card);
  terminal.note(`Checkpoint of ${formatBytes(bytes)} in ${release}\n`);
  terminal.out(card);
}
