/**
 * The model card of the small MedPLIB: what it was trained on, how, and what it can do.
 *
 * @module
 */
import { stages } from "@medvlm/medplib/parts";
import { cardText, figureTable, type PartRow, patchRows, percent } from "./figures.ts";
import { medplibRecipe } from "./medplib_recipe.ts";
import type { MedplibReport } from "./medplib_report.ts";
import { talkPart } from "./medplib_run.ts";

const parts: readonly PartRow[] = [
  { name: "sam", purpose: "SAM-Med2D: masks from points and boxes", settings: medplibRecipe.sam },
  {
    name: "concepts",
    purpose: "the same from names as well: SAM's text-to-mask, with a table of names",
    settings: medplibRecipe.concepts,
  },
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
  ...patchRows(medplibRecipe.patches),
  {
    name: "words",
    purpose: "projector: rows of patches matched with the language model's words for them",
    settings: medplibRecipe.words,
  },
  ...medplibRecipe.conversations.map((settings, round) => ({
    name: talkPart(round),
    purpose: `language model: ${
      Object.keys(settings.mix).length === 1 ? "closed questions" : "all conversations"
    } about pictures`,
    settings,
  })),
  ...stages.map(({ name, purpose }) => ({
    name,
    purpose,
    settings: medplibRecipe.stages[name]!,
  })),
];

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
  const accuracy = Object.entries(report.accuracy).map(([name, one]) =>
    [`${name} questions: right answers`, one] as const
  );
  const dice = Object.entries(report.dice).map(([name, one]) =>
    [name === "all" ? "masks: mean Dice" : `mask of ${name}: mean Dice`, one] as const
  );
  return await cardText({
    title: "MedPLIB",
    name: "medplib",
    recipe: "zoo/training/medplib_recipe.ts",
    stored: "in half precision, in the official layout",
    bytes,
    phantoms: { ...phantoms, seed },
    device,
    folder,
    parts,
    baseline: "the most frequent answer, or the mean mask of the same things at its best threshold",
    figures: [
      figureTable(Object.fromEntries([...accuracy, ...dice])),
      "",
      `Answers of the expected form: ${
        percent(report.parsed)
      }. Not asked: ${report.unseen} questions about regions so small that no`,
      "cell of the vision tower's grid lies in them; MedPLIB's region token is made of such cells.",
    ].join("\n"),
  });
}
