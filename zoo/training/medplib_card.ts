/**
 * The model card of the small MedPLIB: what it was trained on, how, and what it can do.
 *
 * @module
 */
import { openFolder, readAll } from "@medvlm/core";
import { isStep, type LogLine, runFiles } from "@medvlm/core/train";
import { stages } from "@medvlm/medplib/parts";
import { medplibRecipe, type PartRecipe } from "./medplib_recipe.ts";
import type { Figure, MedplibReport } from "./medplib_report.ts";

/** What is said about a part. */
interface PartRow {
  readonly name: string;
  readonly purpose: string;
  readonly settings: PartRecipe;
}

const parts: readonly PartRow[] = [
  { name: "sam", purpose: "SAM-Med2D: masks from points and boxes", settings: medplibRecipe.sam },
  {
    name: "language",
    purpose: "language model: next token of conversations, no pictures",
    settings: medplibRecipe.language,
  },
  {
    name: "clip",
    purpose: "vision tower: contrast of pictures and reports (CLIP)",
    settings: medplibRecipe.clip,
  },
  {
    name: "captions",
    purpose: "vision tower and language model together: captions of pictures",
    settings: medplibRecipe.captions,
  },
  ...stages.map(({ name, purpose }) => ({
    name,
    purpose,
    settings: medplibRecipe.stages[name]!,
  })),
];

const percent = (value: number) => `${(100 * value).toFixed(1)} %`;

function figureRow(name: string, { n, value, interval: [low, high], baseline }: Figure): string {
  return `| ${name} | ${n} | ${percent(value)} | ${percent(low)} – ${percent(high)} | ${
    percent(baseline)
  } |`;
}

/** Time that the steps of a part took. */
async function minutesOf(folder: string, name: string): Promise<number> {
  if (!await (await openFolder(`${folder}/${name}`)).has(runFiles.log)) return NaN;
  const text = new TextDecoder().decode(await readAll(`${folder}/${name}/${runFiles.log}`));
  const lines: LogLine[] = text.split("\n").filter((line) => line !== "").map((line) =>
    JSON.parse(line)
  );
  return lines.filter(isStep).reduce((sum, { milliseconds }) => sum + milliseconds, 0) / 60_000;
}

/**
 * The card as Markdown.
 *
 * @param folder Of the run.
 * @param report Held-out figures.
 * @param device Name of the device that trained.
 * @param bytes Of the weights.
 */
export async function modelCard(
  folder: string,
  report: MedplibReport,
  device: string,
  bytes: number,
): Promise<string> {
  const { phantoms, seed } = medplibRecipe;
  const times = await Promise.all(parts.map(({ name }) => minutesOf(folder, name)));
  const rows = parts.map(({ name, purpose, settings: { steps, batch, rate } }, i) =>
    `| ${name} | ${purpose} | ${steps} | ${batch} | ${rate} | ${times[i]!.toFixed(0)} min |`
  );
  const total = times.reduce((sum, one) => sum + one, 0);
  const accuracy = Object.entries(report.accuracy).map(([name, one]) =>
    figureRow(`${name} questions: right answers`, one)
  );
  const dice = Object.entries(report.dice).map(([name, one]) =>
    figureRow(name === "all" ? "masks: mean Dice" : `mask of ${name}: mean Dice`, one)
  );
  return [
    "# MedPLIB, small, trained on phantoms",
    "",
    "Research software, not for clinical use. The model has seen drawn chest radiographs only (docs/phantoms.md): it shows",
    "that the system learns and how its answers look, and knows nothing about real patients.",
    "",
    `${
      (bytes / 2 ** 20).toFixed(1)
    } MiB of weights in half precision, in the official layout. Made by`,
    "`deno task zoo train medplib`; the recipe is `zoo/training/medplib_recipe.ts`.",
    "",
    "## Training",
    "",
    `${phantoms.count} phantoms of ${phantoms.size} pixels, seed ${seed}. Device: ${device}. Time of the steps: ${
      total.toFixed(0)
    } minutes.`,
    "",
    "| part | what is learned | steps | batch | highest rate | time |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
    "## Held-out phantoms",
    "",
    "Greedy generation on phantoms of the test part, 95 % intervals by seeded bootstrap. The baseline never looks at the",
    "picture: the most frequent answer, or the mean mask of the same things at its best threshold.",
    "",
    "| figure | items | value | interval | baseline |",
    "| --- | --- | --- | --- | --- |",
    ...accuracy,
    ...dice,
    "",
    `Answers of the expected form: ${percent(report.parsed)}.`,
    "",
  ].join("\n");
}
