/**
 * What is said about a chest phantom to a model of the MiniGPT-v2 family: captions, reports, questions, boxes for names and
 * phrases, names for boxes. Examples are drawn by kind; how a system words them is its own business.
 *
 * @module
 */
import type { Box, Raster, TrainingExample } from "@medvlm/core";
import { imageTag, type Teach, trainingPrompt } from "@medvlm/core/minigpt";
import { gridBoxText, pixelsToGrid } from "@medvlm/core/text";
import { teach as teachPefomed } from "@medvlm/pefomed/parts";
import { teach as teachPfmvg } from "@medvlm/pfmvg/parts";
import {
  type ChestReport,
  chestReport,
  findingNames,
  severityWord,
} from "../phantoms/chest_report.ts";
import { textRandom } from "../phantoms/chest_text.ts";
import {
  chestExamples,
  type ChestLabel,
  chestLabels,
  type ChestPhantom,
  chestThings,
  closedExamples,
  type Thing,
} from "../phantoms/mod.ts";
import type { Random } from "../phantoms/random.ts";
import type { BalancedKind } from "./balance.ts";
import { type AnswerLength, drawBatch, pickAlike } from "./draw_kind.ts";
import { phantomPool, type PhantomSource, type Pool } from "./pool.ts";
import { type SizedBox, sizeWords } from "./size_words.ts";

/**
 * Kinds of lesson. `yesno` is every closed question, `closed` a few with as many yes as no; `thing` asks for the box of a name that
 * occurs once, `phrase` for that of a phrase of the report that speaks of one finding, `identify` for the name of a box. `size` are
 * those of the open questions that ask how large or severe something is.
 */
export type FamilyLesson =
  | "caption"
  | "report"
  | "yesno"
  | "closed"
  | "open"
  | "size"
  | "identify"
  | "thing"
  | "phrase";

/** An example, and where in the picture is what it is about. */
export interface Lesson extends TrainingExample {
  /** Boxes of what it is about, none where that is absent; undefined where it is about nothing in particular. */
  readonly shows?: readonly Box[];
  /** Of every word of size in the answer, in their order: boxes of what it is said of. See `size_words.ts`. */
  readonly sizes?: readonly (readonly Box[])[];
  /** Everything in the picture that has a size, whatever the lesson is about. */
  readonly sized?: readonly SizedBox[];
}

/** A lesson without its picture. */
export interface Taught extends Omit<Lesson, "image" | "sized"> {
  /** What a closed question asks, whatever its words. */
  readonly about?: string;
}

/** A picture with everything that is said about it. */
export interface FamilyPicture {
  /** The picture. */
  readonly image: Raster;
  /** All lessons by kind; a kind without any is absent. */
  readonly lessons: ReadonlyMap<FamilyLesson, readonly Taught[]>;
  /** What is in it and how large. */
  readonly sized: readonly SizedBox[];
}

/** Kinds with their shares. */
export type FamilyMix = Readonly<Partial<Record<FamilyLesson, number>>>;

function boxed(id: string, prompt: string, { label, box }: Pick<Thing, "label" | "box">): Taught {
  return {
    id,
    task: "ground-box",
    prompt,
    answer: prompt,
    findings: [{ label, boxes: [box], masks: [] }],
    shows: [box],
  };
}

/** What a question is about: a finding, on one side or any; nothing in particular for those about the whole picture. */
function about(
  { findings }: ChestPhantom,
  label: ChestLabel | undefined,
  side?: string,
): Pick<Lesson, "shows"> {
  if (label === undefined) return {};
  const shows = findings.filter((one) => one.label === label && (side ?? one.side) === one.side);
  return { shows: shows.map(({ box }) => box) };
}

/** The finding that a question names. */
const namedIn = (question: string) =>
  chestLabels.find((label) => question.includes(findingNames[label]));

/** A phrase of the report that speaks of one finding, which has the box. */
export interface GroundedPhrase extends Pick<Thing, "label" | "box"> {
  /** As the report has it. */
  readonly text: string;
}

/** The findings of a phantom's report. */
const reportOf = (phantom: ChestPhantom) => chestReport(phantom, textRandom(phantom)).findings;

function phrasesIn({ text, phrases }: ChestReport["findings"]): GroundedPhrase[] {
  return phrases.filter(({ targets }) => targets.length === 1).map(({ span, targets }) => ({
    text: text.slice(...span),
    label: targets[0].label,
    box: targets[0].box,
  }));
}

/** Phrases of the report that speak of one finding each. */
export function singlePhrases(phantom: ChestPhantom): GroundedPhrase[] {
  return phrasesIn(reportOf(phantom));
}

/** What the words of size in a report are said of. */
function sizesIn({ text, phrases }: ChestReport["findings"]): (readonly Box[])[] {
  return phrases.flatMap(({ span, targets }) =>
    sizeWords(text.slice(...span)).map(() => targets.map(({ box }) => box))
  );
}

/** Everything that is said about a phantom. The same phantom has the same lessons. */
export function familyLessons(phantom: ChestPhantom): [FamilyLesson, Taught][] {
  const { id } = phantom, lessons: [FamilyLesson, Taught][] = [];
  const report = reportOf(phantom), sizes = sizesIn(report);
  const add = (kind: FamilyLesson, taught: Taught) => lessons.push([kind, taught]);
  for (const example of chestExamples(phantom)) {
    const { id, task, prompt, answer, answerType, category, attributes } = example;
    const plain = { id, prompt, findings: [] };
    if (task === "vqa" && answerType === "closed") add("closed", { ...plain, task, answer });
    if (task === "vqa" && answerType === "open") {
      const lesson = { ...plain, task, answer, ...about(phantom, namedIn(prompt)) };
      if (category === "severity") {
        const sized = { ...lesson, sizes: [lesson.shows!] };
        add("open", sized);
        add("size", sized);
      } else add("open", lesson);
    }
    if (task === "report" && category === undefined) {
      const findings = attributes!.findings!;
      add("report", { ...plain, task, answer: findings, sizes });
      add("caption", { ...plain, id: `${id}/caption`, task: "caption", answer: findings, sizes });
    }
  }
  for (const { id, task, prompt, answer, category } of closedExamples(phantom)) {
    const [name, side] = category!.split(", ");
    const label = chestLabels.find((one) => one === name);
    const plain = { id, task, prompt, answer, findings: [], about: category! };
    add("yesno", { ...plain, ...about(phantom, label, side) });
  }
  const byName = Map.groupBy(chestThings(phantom), ({ name }) => name);
  for (const [name, things] of byName) {
    for (const [n, { box }] of things.entries()) {
      add("identify", {
        id: `${id}/identify/${name}/${n}`,
        task: "region-vqa",
        prompt: "",
        answer: name,
        findings: [],
        regions: [{ kind: "box", box }],
        shows: [box],
      });
    }
    if (things.length === 1) add("thing", boxed(`${id}/thing/${name}`, name, things[0]));
  }
  for (const [n, phrase] of phrasesIn(report).entries()) {
    add("phrase", boxed(`${id}/phrase/${n}`, phrase.text, phrase));
  }
  return lessons;
}

/** Phantoms with everything that is said about them. */
export function familyPictures(source: PhantomSource): Pool<FamilyPicture> {
  return phantomPool(source, (phantom) => {
    const groups = Map.groupBy(familyLessons(phantom), ([kind]) => kind);
    const lessons = new Map([...groups].map(([kind, all]) => [kind, all.map(([, one]) => one)]));
    const sized = phantom.findings.map((one) => ({ word: severityWord(one), box: one.box }));
    return { image: phantom.image, lessons, sized };
  });
}

const lengths: Readonly<Record<FamilyLesson, AnswerLength>> = {
  yesno: "short",
  closed: "short",
  open: "short",
  size: "short",
  identify: "short",
  thing: "middle",
  phrase: "middle",
  caption: "long",
  report: "long",
};
const balanced: BalancedKind<FamilyLesson, Taught> = {
  kind: "yesno",
  key: ({ about, answer }) => `${about}: ${answer}`,
};

/**
 * Examples by their shares, all with answers of one length; those about a picture come together.
 *
 * @param each Most examples about a picture; of those with long answers it has one.
 */
export function drawFamilyLessons(
  pool: Pool<FamilyPicture>,
  mix: FamilyMix,
  size: { readonly pictures: number; readonly each: number },
  random: Random,
): Lesson[] {
  // Most findings are absent: who says so without looking must not be right more often than not.
  const pick = (some: readonly Taught[], kind: FamilyLesson) =>
    random.pick(kind === "closed" ? pickAlike(some, ({ answer }) => answer, random) : some);
  return drawBatch(
    pool,
    { mix, lengthOf: (kind) => lengths[kind], ...size, pick, balanced },
    random,
  ).flatMap(
    ({ picture: { image, sized }, lessons }) =>
      lessons.map(({ about: _, ...taught }) => ({ ...taught, image, sized })),
  );
}

/**
 * What the base of the family learns: the tasks that MiniGPT-v2 was trained for, worded as the two systems word them, and
 * `[identify]` for a region.
 */
export const teachBase: Teach = (example) => {
  const { task, regions = [], image, answer } = example;
  const [region] = regions;
  if (task === "region-vqa" && region?.kind === "box" && image !== undefined) {
    const box = gridBoxText(pixelsToGrid(region.box, image.width, image.height));
    return {
      prompt: trainingPrompt(`<Img><ImageHere></Img> [identify] what is at ${box} `),
      answer,
    };
  }
  // Findings come as captions with PFMVG's `[caption]` and as reports with PeFoMed's `[report]`.
  if (task !== "vqa" && task !== "report") return teachPfmvg(example);
  // PeFoMed's own training writes the tag in small letters, its evaluation does not: a base that sees both spellings learns to tell
  // the tasks apart by them, and answers questions with boxes later.
  const lesson = teachPefomed(example);
  return {
    prompt: lesson.prompt.replace(imageTag.toLowerCase(), imageTag),
    answer: lesson.answer,
  };
};
