/**
 * From a finished run of PFMVG or PeFoMed to what ships: the model in the official layout, held-out figures, the model card.
 *
 * @module
 */
import type { Plugin } from "@medvlm/core";
import type { Device } from "@medvlm/core/device";
import type { MinigptConfig } from "@medvlm/core/minigpt";
import { stageOf as pefomedStage } from "@medvlm/pefomed/parts";
import { ablation, stageOf as pfmvgStage } from "@medvlm/pfmvg/parts";
import { cardText, figureTable, type PartRow, patchRows, percent } from "./figures.ts";
import type { FamilyLesson } from "./minigpt_lessons.ts";
import { minigptRecipe, type TowerPart } from "./minigpt_recipe.ts";
import {
  type Figures,
  measureBoxes,
  type MeasureOptions,
  measureQuestions,
  measureReports,
  type ReportScores,
  withModel,
  wordings,
} from "./minigpt_report.ts";
import { basePart, languagePart, ownBase, partModel, wordPart } from "./minigpt_run.ts";

/** A finished run. */
export interface FinishedRun {
  /** Its folder. */
  readonly folder: string;
  /** Device for the questions. */
  readonly device: Device;
  /** Its system. */
  readonly plugin: Plugin<MinigptConfig>;
}

/** What was measured, for the card and as data. */
export interface MinigptReport {
  /** Markdown below the heading of the figures. */
  readonly text: string;
  /** The figures. */
  readonly data: unknown;
}

/** Answers drawn for a consensus. */
const draws = 16;

const modelOf = ({ folder }: FinishedRun, part: string) => `${folder}/${part}/${partModel}`;

/** The folders of the models that have gone through the stages of the ablation. */
const variants: Readonly<Record<keyof typeof ablation, string>> = {
  "no stage": ownBase("pfmvg", minigptRecipe.own.pfmvg.length - 1),
  "stage 2": "pfmvg-grounding-alone",
  "stage 1": "pfmvg-captioning",
  "both stages": "pfmvg-grounding",
};

/** Boxes of the four models of the ablation (paper, tables 3 and 4); the figures of the last are those of the system. */
export async function reportPfmvg(
  run: FinishedRun,
  options: MeasureOptions,
): Promise<MinigptReport> {
  const rows: Record<string, Figures> = {};
  for (const name of Object.keys(ablation)) {
    const path = modelOf(run, variants[name]!);
    rows[name] = await withModel(
      run.plugin,
      path,
      run.device,
      (model) => measureBoxes(model, options),
    );
  }
  const agreed = await withModel(
    run.plugin,
    modelOf(run, variants["both stages"]),
    run.device,
    (model) => measureBoxes(model, { ...options, consensus: draws }),
  );
  const cells = (figures: Figures) =>
    Object.values(figures).slice(0, 3).map(({ value }) => percent(value)).join(" | ");
  const text = [
    figureTable(rows["both stages"]!),
    "",
    `With \`--consensus ${draws}\`, the box of ${draws} drawn ones that agrees best with the others:`,
    "",
    figureTable(agreed),
    "",
    "The stages of the paper, each alone and both (its tables 3 and 4):",
    "",
    "| stages | mean IoU | IoU above 0.5 | answers that are boxes |",
    "| --- | --- | --- | --- |",
    ...Object.entries(rows).map(([name, figures]) => `| ${name} | ${cells(figures)} |`),
  ].join("\n");
  return { text, data: { ...rows, consensus: agreed } };
}

/**
 * Questions to the model of the question stage, which ships; reports of that of the report stage, and of the one that ships
 * for comparison.
 */
export async function reportPefomed(
  run: FinishedRun,
  options: MeasureOptions,
): Promise<MinigptReport> {
  const { plugin, device } = run;
  const [questions, shipped] = await withModel(
    plugin,
    modelOf(run, "pefomed-vqa-rad"),
    device,
    async (model) =>
      [await measureQuestions(model, options), await measureReports(model, options)] as const,
  );
  const [reports, agreed] = await withModel(
    plugin,
    modelOf(run, "pefomed-report"),
    device,
    async (model) =>
      [
        await measureReports(model, options),
        await measureReports(model, { ...options, consensus: draws }),
      ] as const,
  );
  const ways = {
    "reports after the report stage": reports,
    [`the same with \`--consensus ${draws}\``]: agreed,
    "reports after the question stage": shipped,
  };
  const counts = { single: "", several: `, ${wordings} references` } as const;
  const scored = Object.entries(ways).flatMap(([name, figures]) =>
    (["single", "several"] as const).map((kind) => ({
      name: (metric: string) => `${name}: ${metric}${counts[kind]}`,
      ...figures[kind],
    }))
  );
  const corpus = ({ name, bleu4: { n, value, baseline } }: typeof scored[number]) =>
    `| ${name("BLEU-4")} | ${n} | ${percent(value)} | – | ${percent(baseline)} |`;
  const { single, several } = reports;
  const reached = ({ reworded: { bleu4, rougeL } }: ReportScores) =>
    `a BLEU-4 of ${percent(bleu4)} and a ROUGE-L of ${percent(rougeL)}`;
  const text = [
    figureTable({
      ...questions,
      ...Object.fromEntries(scored.map(({ name, rougeL }) => [name("ROUGE-L"), rougeL])),
    }),
    ...scored.map(corpus),
    "",
    `The words and the order of a report are drawn. One more about the same findings, with nothing wrong in it, reaches ${
      reached(single)
    } against that of the picture, ${
      reached(several)
    } against ${wordings}: that of the picture and ${wordings - 1} more.`,
    "",
    "Each second stage starts from the first, as in the paper. The model of the question stage ships.",
  ].join("\n");
  return { text, data: { questions, reports, consensus: agreed, shipped } };
}

/** What each system is, for its card. */
const cards = {
  pfmvg: {
    title: "PFMVG",
    baseline: "the mean box of findings of the same kind",
    stageOf: pfmvgStage,
  },
  pefomed: {
    title: "PeFoMed",
    baseline: "the most frequent answer, or the report of a normal chest",
    stageOf: pefomedStage,
  },
} as const;

/** What a lesson is about, in words. */
const lessonWords: Readonly<Record<FamilyLesson, string>> = {
  caption: "captions",
  report: "reports",
  yesno: "all closed questions",
  closed: "closed questions",
  open: "open questions",
  size: "questions for sizes",
  identify: "names for boxes",
  thing: "boxes for names",
  phrase: "boxes for phrases",
};

/** What a part learns, and which phantoms it is shown where they are not those of the others. */
function shown(purpose: string, { imageSize, prevalence, count }: Partial<TowerPart>): string {
  return [
    purpose,
    ...imageSize === undefined ? [] : [`pictures of ${imageSize} pixels`],
    ...prevalence === undefined ? [] : ["pictures with many findings"],
    ...count === undefined ? [] : [`${count} phantoms`],
  ].join("; ");
}

/** The card as Markdown. @param bytes Of the weights. */
export async function minigptCard(
  { folder, device, plugin }: FinishedRun,
  { text }: MinigptReport,
  bytes: number,
): Promise<string> {
  const system = plugin.name as keyof typeof cards;
  const { title, baseline, stageOf } = cards[system];
  const { phantoms, seed, language, patches, words, base, own, stages } = minigptRecipe;
  const parts: PartRow[] = [
    {
      name: languagePart,
      purpose: "language model: next token of texts, no pictures",
      settings: language,
    },
    ...patchRows(patches).map((row, n) => ({ ...row, purpose: shown(row.purpose, patches[n]!) })),
    {
      name: wordPart,
      purpose: shown(
        "projection: rows of patches matched with the language model's words for them, and with what is where",
        words,
      ),
      settings: words,
    },
    ...[
      ...base.map((settings, cycle) => ({ name: basePart(cycle), settings })),
      ...own[system].map((settings, cycle) => ({ name: ownBase(system, cycle), settings })),
    ].map(({ name, settings }) => ({
      name,
      purpose: shown(
        `projection and language model: ${
          Object.keys(settings.mix).map((kind) => lessonWords[kind as FamilyLesson]).join(", ")
        }${settings.looking === undefined ? "" : "; attention at the edges of boxes"}${
          settings.naming === undefined ? "" : "; with them the tower, its rows matched with sizes"
        }`,
        settings,
      ),
      settings,
    })),
    ...Object.entries(stages[system]).map(([name, settings]) => ({
      name: `${system}-${name}`,
      purpose: stageOf(name).purpose,
      settings,
    })),
  ];
  return await cardText({
    title,
    name: system,
    recipe: "zoo/training/minigpt_recipe.ts",
    stored: "in the official layout, the frozen ones in half precision",
    bytes,
    phantoms: { ...phantoms, seed },
    device: device.info.name,
    folder,
    parts,
    baseline,
    figures: text,
  });
}
