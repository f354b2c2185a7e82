/**
 * Questions about chest phantoms with answers that follow from what was drawn.
 *
 * @module
 */
import type { ChestInstance, ChestPhantom } from "./chest.ts";
import type { Side } from "./chest_anatomy.ts";
import { type ChestLabel, chestLabels } from "./chest_findings.ts";
import { findingNames, ofLabel, severityWord, zoneName } from "./chest_report.ts";
import type { Random } from "./random.ts";
import { withArticle } from "./wording.ts";

/** What a question is about. */
export type QuestionKind =
  | "presence"
  | "normality"
  | "side"
  | "zone"
  | "count"
  | "severity"
  | "modality";

/** A question with its answer. */
export interface Question {
  readonly kind: QuestionKind;
  readonly question: string;
  /** Lower case, a few words. */
  readonly answer: string;
  /** Closed: `yes` or `no`, or one of few words. */
  readonly type: "open" | "closed";
  /** The finding it asks for, where it asks for one. */
  readonly label?: ChestLabel;
}

/** A question with yes or no as the answer. */
export interface ClosedQuestion extends Question {
  /** What is asked, whatever the words: all wordings of a question have the same. */
  readonly about: string;
}

/** Name of a finding with article, as in `a pleural effusion`; those that are not counted have none. */
function asked(label: ChestLabel): string {
  const name = findingNames[label];
  const counted = label === "Pleural effusion" || label === "Pneumothorax" ||
    label === "Nodule/Mass";
  return counted ? withArticle(name) : name;
}

function presence(
  label: ChestLabel,
  answer: "yes" | "no",
  random: Random,
): ClosedQuestion {
  const name = asked(label);
  const question = random.pick([
    `Is there ${name}?`,
    `Does this chest radiograph show ${name}?`,
    `Is ${name} present?`,
    `Can you see ${name} in this image?`,
  ]);
  return { kind: "presence", about: label, question, answer, type: "closed", label };
}

function sidePresence(
  label: ChestLabel,
  side: Side,
  answer: "yes" | "no",
  random: Random,
): ClosedQuestion {
  const name = asked(label);
  const question = random.pick([
    `Is there ${name} on the ${side}?`,
    `Does the ${side} side show ${name}?`,
  ]);
  return { kind: "side", about: `${label}, ${side}`, question, answer, type: "closed", label };
}

/** Every question with yes or no as the answer that can be asked, in one wording each: most findings are absent. */
export function closedQuestions(phantom: ChestPhantom, random: Random): ClosedQuestion[] {
  const questions: ClosedQuestion[] = [];
  for (const label of chestLabels) {
    const found = ofLabel(phantom, label);
    questions.push(presence(label, found.length > 0 ? "yes" : "no", random));
    if (!found.some(({ side }) => side !== undefined)) continue;
    for (const side of ["right", "left"] as const) {
      const here = found.some((finding) => finding.side === side);
      questions.push(sidePresence(label, side, here ? "yes" : "no", random));
    }
  }
  const normality = (about: string, question: string, is: boolean, label?: ChestLabel) =>
    questions.push({
      kind: "normality",
      about,
      question,
      answer: is ? "yes" : "no",
      type: "closed",
      ...(label === undefined ? {} : { label }),
    });
  const normal = phantom.findings.length === 0;
  const isNormal = ["Is this chest radiograph normal?", "Is this a normal image?"];
  const isNot = ["Is there any abnormality?", "Does this image show an abnormal finding?"];
  normality("normal", random.pick(isNormal), normal);
  normality("abnormal", random.pick(isNot), !normal);
  const large = ofLabel(phantom, "Cardiomegaly").length > 0;
  normality("heart size", "Is the heart of normal size?", !large, "Cardiomegaly");
  return questions;
}

/**
 * Questions with yes or no as the answer, as many of one as of the other.
 *
 * @param most Pairs at most, 1 or more.
 */
export function pairedQuestions(phantom: ChestPhantom, random: Random, most = 3): Question[] {
  const all = closedQuestions(phantom, random);
  const yes = all.filter(({ answer }) => answer === "yes");
  const no = all.filter(({ answer }) => answer === "no");
  const pairs = Math.min(most, yes.length, no.length);
  const chosen = [
    ...random.shuffled(yes).slice(0, pairs),
    ...random.shuffled(no).slice(0, pairs),
  ];
  return random.shuffled(chosen);
}

function sideAnswer(found: readonly ChestInstance[]): string | undefined {
  const sides = new Set(found.map(({ side }) => side));
  if (sides.has(undefined)) return undefined;
  return sides.size === 2 ? "both" : [...sides][0];
}

/** All open questions that have one right answer in this picture. */
export function openQuestions(phantom: ChestPhantom, random: Random): Question[] {
  const questions: Question[] = [{
    kind: "modality",
    question: random.pick(["What kind of image is this?", "Which imaging modality is this?"]),
    answer: "x-ray",
    type: "open",
  }];
  for (const label of chestLabels) {
    const found = ofLabel(phantom, label), name = findingNames[label];
    const [first] = found;
    if (first === undefined) continue;
    const side = sideAnswer(found);
    if (side !== undefined) {
      const plural = found.length > 1;
      questions.push({
        kind: "side",
        question: plural
          ? `On which side are there findings of ${name}?`
          : random.pick([`On which side is the ${name}?`, `Which side shows the ${name}?`]),
        answer: side,
        type: "open",
        label,
      });
    }
    if (found.length > 1) continue;
    if (first.side !== undefined && label !== "Pleural effusion" && label !== "Pneumothorax") {
      questions.push({
        kind: "zone",
        question: random.pick([`Where is the ${name}?`, `In which zone is the ${name}?`]),
        answer: zoneName(first),
        type: "open",
        label,
      });
    }
    const degree = first.side === undefined;
    questions.push({
      kind: "severity",
      question: degree ? `How severe is the ${name}?` : `How large is the ${name}?`,
      answer: severityWord(first),
      type: "open",
      label,
    });
  }
  questions.push({
    kind: "count",
    question: random.pick([
      "How many nodules are there?",
      "How many nodules does this image show?",
    ]),
    answer: String(ofLabel(phantom, "Nodule/Mass").length),
    type: "open",
    label: "Nodule/Mass",
  });
  return questions;
}
