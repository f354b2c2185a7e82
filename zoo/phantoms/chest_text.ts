/**
 * What can be asked of a chest phantom: reports, questions, regions, segmentation and labels, as dataset samples.
 *
 * @module
 */
import type { Example, Finding } from "@medvlm/core";
import type { ChestInstance, ChestPhantom } from "./chest.ts";
import { type ChestLabel, chestLabels } from "./chest_findings.ts";
import {
  closedQuestions,
  openQuestions,
  pairedQuestions,
  type Question,
} from "./chest_questions.ts";
import { chestReport, findingNames, ofLabel, wholeReport } from "./chest_report.ts";
import { Random } from "./random.ts";
import {
  type Common,
  grounded,
  regionExamples,
  segmentationExamples,
  type Thing,
  thingOf,
  union,
} from "./thing_examples.ts";
import { capital, listed } from "./wording.ts";

/** Marks the draws of texts, apart from those of the picture. */
const TEXT_DRAWS = 0x74657874;
/** Marks those of the questions in {@linkcode closedExamples}. */
const QUESTION_DRAWS = 0x71756573;

/** The draws for the texts of a phantom. */
export function textRandom({ seed, index }: { seed: number; index: number }): Random {
  return new Random(seed, index, TEXT_DRAWS);
}

/**
 * Diagnoses of the whole picture in VinDr-CXR's words, by a fixed rule: nothing drawn is `No finding`, consolidation is
 * `Pneumonia`, a large nodule `Lung tumor`, and whatever is left makes `Other diseases`. The phantoms draw no
 * tuberculosis and no COPD.
 */
export function globalLabels({ findings }: Pick<ChestPhantom, "findings">): string[] {
  if (findings.length === 0) return ["No finding"];
  const labels = new Set<string>();
  for (const { label, severity } of findings) {
    if (label === "Consolidation") labels.add("Pneumonia");
    else if (label === "Nodule/Mass" && severity === "large") labels.add("Lung tumor");
    else labels.add("Other diseases");
  }
  return [...labels].sort();
}

/** Names of the kinds of finding that a picture shows, in the order of {@linkcode chestLabels}. */
export function localLabels(phantom: Pick<ChestPhantom, "findings">): ChestLabel[] {
  return chestLabels.filter((label) => ofLabel(phantom, label).length > 0);
}

function phraseFindings(
  phrases: readonly { span: readonly [number, number]; targets: readonly ChestInstance[] }[],
): Finding[] {
  return phrases.map(({ span, targets }) => grounded(targets[0].label, targets, span));
}

function reports(phantom: ChestPhantom, common: Common, random: Random): Example[] {
  const report = chestReport(phantom, random);
  const whole = wholeReport(report);
  const attributes = {
    ...common.attributes,
    findings: report.findings.text,
    impression: report.impression.text,
  };
  const prompt = random.pick([
    "Describe the findings and the impression of this chest radiograph.",
    "Write a report about this chest X-ray.",
    "What does this chest radiograph show?",
  ]);
  const answer = whole.text;
  return [
    { ...common, id: `${phantom.id}/report`, task: "report", prompt, answer, attributes },
    {
      ...common,
      id: `${phantom.id}/grounded-report`,
      task: "report",
      category: "grounded report",
      prompt: `${prompt} Mark every finding.`,
      answer,
      findings: phraseFindings(whole.phrases),
      attributes,
    },
  ];
}

function questionExample(
  { kind, question, answer, type }: Question,
  id: string,
  common: Common,
): Example {
  return {
    ...common,
    id,
    task: "vqa",
    prompt: question,
    answer,
    answerType: type,
    category: kind,
    ...(type === "closed" ? { choices: ["yes", "no"] } : {}),
  };
}

function questions(phantom: ChestPhantom, common: Common, random: Random): Example[] {
  return [...pairedQuestions(phantom, random), ...openQuestions(phantom, random)].map(
    (question, number) => questionExample(question, `${phantom.id}/vqa/${number}`, common),
  );
}

/** Findings and normal structures with their masks. */
export function chestThings(phantom: Pick<ChestPhantom, "structures" | "findings">): Thing[] {
  return [
    ...Object.entries(phantom.structures).flatMap(([name, mask]) => thingOf(name, name, mask)),
    ...phantom.findings.map(({ label, mask, box }) => ({
      name: findingNames[label],
      label,
      mask,
      box,
    })),
  ];
}

function regionQuestions(phantom: ChestPhantom, common: Common, random: Random): Example[] {
  // An enlarged organ covers the same pixels as the organ itself: the finding is asked for.
  const enlarged = new Set<string>([
    ...ofLabel(phantom, "Cardiomegaly").map(() => "heart"),
    ...ofLabel(phantom, "Aortic enlargement").map(() => "aorta"),
  ]);
  const things = chestThings(phantom).filter(({ name }) => !enlarged.has(name));
  return regionExamples(phantom.id, things, common, random);
}

function segmentation(phantom: ChestPhantom, common: Common, random: Random): Example[] {
  const both = union([phantom.structures["right lung"], phantom.structures["left lung"]]);
  const things = [...thingOf("lungs", "lungs", both), ...chestThings(phantom)];
  return segmentationExamples(phantom.id, things, common, random, "chest radiograph");
}

/** Kinds and boxes, as detection datasets ask for them. */
function localization(phantom: ChestPhantom, common: Common): Example {
  const labels = localLabels(phantom);
  const answer = labels.length === 0 ? "No finding." : `${labels.join(", ")}.`;
  let at = 0;
  return {
    ...common,
    id: `${phantom.id}/local`,
    task: "ground-box",
    prompt: "Which findings does this chest radiograph show, and where?",
    answer,
    findings: labels.map((label) => {
      const start = answer.indexOf(label, at);
      at = start + label.length;
      return grounded(label, ofLabel(phantom, label), [start, at]);
    }),
    labels: labels.length === 0 ? ["No finding"] : labels,
    category: "local",
  };
}

function diagnoses(phantom: ChestPhantom, common: Common): Example {
  const labels = globalLabels(phantom);
  return {
    ...common,
    id: `${phantom.id}/global`,
    task: "classify",
    prompt: "Which diagnoses does this chest radiograph show?",
    answer: `${capital(listed(labels))}.`,
    labels,
    choices: ["Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "COPD", "No finding"],
    category: "global",
  };
}

function commonOf({ sex, age, id }: ChestPhantom, image: string): Common {
  return { image, patient: id, attributes: { sex, age: String(age) } };
}

/**
 * All examples of a chest phantom: report with and without marks, closed (as many yes as no) and open questions, region
 * questions, segmentation, findings with boxes, diagnoses. Spans are in UTF-16 units of the answer, boxes and masks in
 * pixels of the picture. The same phantom gives the same examples.
 *
 * @param image Name that the examples give the picture. Default: its id with `.png`.
 */
export function chestExamples(phantom: ChestPhantom, image = `${phantom.id}.png`): Example[] {
  const random = textRandom(phantom);
  const common = commonOf(phantom, image);
  return [
    ...reports(phantom, common, random),
    ...questions(phantom, common, random),
    ...regionQuestions(phantom, common, random),
    ...segmentation(phantom, common, random),
    localization(phantom, common),
    diagnoses(phantom, common),
  ];
}

/**
 * Every closed question about a chest phantom, in words of its own; `category` is what is asked, the same for all wordings of a
 * question. Most answers are no. The same phantom gives the same examples.
 */
export function closedExamples(phantom: ChestPhantom): Example[] {
  const { seed, index, id } = phantom, random = new Random(seed, index, QUESTION_DRAWS);
  const common = commonOf(phantom, `${id}.png`);
  return closedQuestions(phantom, random).map((question, number) => ({
    ...questionExample(question, `${id}/closed/${number}`, common),
    category: question.about,
  }));
}
