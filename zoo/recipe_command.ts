/**
 * `zoo train`: trains the small checkpoint that ships, from nothing, on phantoms.
 *
 * @module
 */
import { InputError, openDevice, openFolder, writeAtomic } from "@medvlm/core";
import { openCheckpoint } from "@medvlm/core/checkpoint";
import { isStep } from "@medvlm/core/train";
import { medplib } from "@medvlm/medplib";
import type { MedplibModel } from "@medvlm/medplib/parts";
import type { Command, FlagValues } from "./flags.ts";
import { weightFlags } from "./model_loading.ts";
import { formatBytes, formatTime, itemAmounts, Progress, type Terminal } from "./terminal.ts";
import { modelCard } from "./training/medplib_card.ts";
import { medplibRecipe } from "./training/medplib_recipe.ts";
import { releaseMedplib } from "./training/medplib_release.ts";
import { measureMedplib } from "./training/medplib_report.ts";
import { partWeights, trainMedplib } from "./training/medplib_run.ts";

/** Recipes by the name of the plugin they train. */
const recipes: readonly string[] = ["medplib"];

/** The flags of `zoo train`. */
export const recipeCommand = {
  name: "zoo train",
  about:
    "Trains the small checkpoint of a system on phantoms, from nothing; the same command again goes on where it stopped.",
  positional: recipes.join("|"),
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

/**
 * Carries out the recipe, writes the checkpoint in the official layout, asks it about held-out phantoms, and writes the
 * model card.
 *
 * @throws {InputError} code `USAGE` without a known name, `OTHER_RUN` when the folder belongs to another recipe.
 */
export async function trainRecipe(
  names: readonly string[],
  flags: FlagValues<typeof recipeCommand.flags>,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const [name] = names;
  if (names.length !== 1 || !recipes.includes(name!)) {
    throw new InputError(
      "USAGE",
      `Cannot train ${
        names.length === 1 ? JSON.stringify(name!.slice(0, 60)) : `${names.length} recipes`
      }: name one of ${recipes.join(", ")}, as in zoo train ${recipes[0]}`,
    );
  }
  const folder = (flags.out ?? `./medvlm-train/${name}`).replace(/(?<=.)\/+$/, "");
  const config = medplib.presets.tiny!;
  await using device = await openDevice({ device: flags.device });
  terminal.note(`Training ${name} on ${device.info.name} (${device.kind}) in ${folder}\n`);
  const complete = await trainMedplib({
    device,
    config,
    recipe: medplibRecipe,
    folder,
    signal,
    progress(part, line, remaining) {
      if (!isStep(line)) {
        terminal.note(
          `${terminal.redraws ? "\r\x1b[K" : ""}${part} after ${line.after} steps: ${
            metricsText(line.metrics)
          }\n`,
        );
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
      terminal.note(terminal.redraws ? `\r\x1b[K${text}` : `${text}\n`);
    },
  });
  if (!complete) {
    terminal.note(`Stopped; the same command goes on from the last checkpoint in ${folder}\n`);
    return;
  }
  const release = `${folder}/release`;
  const bytes = await releaseMedplib(`${folder}/experts/${partWeights}`, config, release);
  terminal.note(`Checkpoint of ${formatBytes(bytes)} in ${release}\n`);
  const source = await openFolder(release);
  using tensors = await openCheckpoint(source);
  await using model = await medplib.load({ folder: source, tensors }, { device, config });
  const progress = new Progress(terminal, "Asking", itemAmounts);
  const report = await measureMedplib(
    model as MedplibModel,
    {
      ...medplibRecipe.phantoms,
      seed: medplibRecipe.seed,
      split: "test",
      count: flags["held-out"],
    },
    (done, total) => progress.update(done, total),
  );
  progress.end();
  const card = await modelCard(folder, report, device.info.name, bytes);
  await writeAtomic(`${release}/report.json`, `${JSON.stringify(report, null, 2)}\n`);
  await writeAtomic(`${release}/README.md`, card);
  terminal.out(card);
}
