/**
 * Figures of a trained checkpoint and how model cards show them.
 *
 * @module
 */
import { openFolder, readAll } from "@medvlm/core";
import { bootstrap, mean } from "@medvlm/core/eval";
import { isStep, type LogLine, runFiles } from "@medvlm/core/train";
import type { PartRecipe } from "./part_runner.ts";
import { patchPart, type PatchRecipe } from "./patch_task.ts";
import type { PhantomSource } from "./pool.ts";

/** A mean over items with its confidence interval. */
export interface Figure {
  /** Items. */
  readonly n: number;
  /** Mean, 0 to 1. */
  readonly value: number;
  /** Ends of the 95 % interval by seeded bootstrap. */
  readonly interval: readonly [number, number];
  /** The same items by a rule that never looks: the most frequent answer, the mean box, the mean mask. */
  readonly baseline: number;
}

/** The mean of some items, at least one. */
export function figure(values: readonly number[], baseline: number, seed: number): Figure {
  const { estimate, low, high } = bootstrap(values, mean, { seed });
  return { n: values.length, value: estimate, interval: [low, high], baseline };
}

/** The share of the most frequent answer. */
export function majority(truths: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const truth of truths) counts.set(truth, (counts.get(truth) ?? 0) + 1);
  return Math.max(...counts.values()) / truths.length;
}

/** An answer as it is compared: without capitals, blanks around it and a final stop. */
export const plain = (text: string) => text.trim().toLowerCase().replace(/\.$/, "");

/** A share for people. */
export const percent = (value: number) => `${(100 * value).toFixed(1)} %`;

/** Figures by name as a Markdown table. */
export function figureTable(figures: Readonly<Record<string, Figure>>): string {
  return [
    "| figure | items | value | interval | baseline |",
    "| --- | --- | --- | --- | --- |",
    ...Object.entries(figures).map(([name, { n, value, interval: [low, high], baseline }]) =>
      `| ${name} | ${n} | ${percent(value)} | ${percent(low)} – ${percent(high)} | ${
        percent(baseline)
      } |`
    ),
  ].join("\n");
}

/** A part of a recipe as a card has it. */
export interface PartRow {
  /** Name of its folder. */
  readonly name: string;
  /** What is learned. */
  readonly purpose: string;
  /** How; `each` is how many conversations there are about each picture of a batch. */
  readonly settings: PartRecipe & { readonly each?: number };
}

/** The cosines of patches as a card has them. */
export function patchRows(patches: readonly PatchRecipe[]): PartRow[] {
  return patches.map((settings, cycle) => ({
    name: patchPart(cycle),
    purpose: [
      "vision tower: patches matched with names of what they show (DenseCLIP)",
      ...settings.picture ? ["of what is anywhere in the picture"] : [],
      ...settings.edges ? ["of the edges of findings' boxes"] : [],
      ...settings.digits ? ["of the digits that those are written with"] : [],
    ].join(", "),
    settings,
  }));
}

/** Minutes that the steps of a part took by its log; not a number without one. */
async function minutesOf(folder: string, name: string): Promise<number> {
  if (!await (await openFolder(`${folder}/${name}`)).has(runFiles.log)) return NaN;
  const text = new TextDecoder().decode(await readAll(`${folder}/${name}/${runFiles.log}`));
  const lines: LogLine[] = text.split("\n").filter((line) => line !== "").map((line) =>
    JSON.parse(line)
  );
  return lines.filter(isStep).reduce((sum, { milliseconds }) => sum + milliseconds, 0) / 60_000;
}

/** Parts of a run with what they took, as a Markdown table, and the minutes of all. */
async function partTable(
  folder: string,
  parts: readonly PartRow[],
): Promise<{ table: string; minutes: number }> {
  const times = await Promise.all(parts.map(({ name }) => minutesOf(folder, name)));
  const table = [
    "| part | what is learned | steps | batch | highest rate | time |",
    "| --- | --- | --- | --- | --- | --- |",
    ...parts.map(({ name, purpose, settings: { steps, batch, each, rate } }, i) => {
      const size = each === undefined ? batch : `${batch} × ${each}`;
      return `| ${name} | ${purpose} | ${steps} | ${size} | ${rate} | ${
        times[i]!.toFixed(0)
      } min |`;
    }),
  ].join("\n");
  return { table, minutes: times.reduce((sum, one) => sum + one, 0) };
}

/** What a model card says besides its figures. */
export interface CardFacts {
  /** Name of the system as its paper has it. */
  readonly title: string;
  /** Name of the plugin, as in `zoo train NAME`. */
  readonly name: string;
  /** File of the recipe. */
  readonly recipe: string;
  /** How the weights are stored, behind their size. */
  readonly stored: string;
  /** Bytes of the weights. */
  readonly bytes: number;
  /** Phantoms it was trained on. */
  readonly phantoms: Omit<PhantomSource, "split">;
  /** Name of the device that trained. */
  readonly device: string;
  /** Folder of the run, and its parts. */
  readonly folder: string;
  /** The parts in their order. */
  readonly parts: readonly PartRow[];
  /** What the baselines are. */
  readonly baseline: string;
  /** The figures as Markdown. */
  readonly figures: string;
}

/** A model card as Markdown. */
export async function cardText(
  { title, name, recipe, stored, bytes, phantoms, device, folder, parts, baseline, figures }:
    CardFacts,
): Promise<string> {
  const { table, minutes } = await partTable(folder, parts);
  return [
    `# ${title}, small, trained on phantoms`,
    "",
    "Research software, not for clinical use. The model has seen drawn chest radiographs only (docs/phantoms.md): it shows",
    "that the system learns and how its answers look, and knows nothing about real patients.",
    "",
    `${(bytes / 2 ** 20).toFixed(1)} MiB of weights ${stored}. Made by`,
    `\`deno task zoo train ${name}\`; the recipe is \`${recipe}\`.`,
    "",
    "## Training",
    "",
    `${phantoms.count} phantoms of ${phantoms.size} pixels, seed ${phantoms.seed}. Device: ${device}. Time of the steps: ${
      minutes.toFixed(0)
    } minutes.`,
    "",
    table,
    "",
    "## Held-out phantoms",
    "",
    "Greedy generation on phantoms of the test part, 95 % intervals by seeded bootstrap. The baseline never looks at the",
    `picture: ${baseline}.`,
    "",
    figures,
    "",
  ].join("\n");
}
