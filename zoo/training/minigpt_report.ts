/**
 * Held-out figures of a small PFMVG or PeFoMed, by greedy generation as a user would get them, beside trivial baselines.
 *
 * @module
 */
import {
  type GenerateOptions,
  type GroundedAnswer,
  type Model,
  openFolder,
  type Plugin,
  type Request,
  type SearchOptions,
} from "@medvlm/core";
import type { Device } from "@medvlm/core/device";
import { bleuHf, iou, mean, rougeLCoco } from "@medvlm/core/eval";
import { type MinigptConfig, openMinigpt } from "@medvlm/core/minigpt";
import { blipCaption, drawnOf } from "@medvlm/core/text";
import { pefomedClasses, type PefomedOptions } from "@medvlm/pefomed/parts";
import { type ReferAnswer, scoreAnswer } from "@medvlm/pfmvg/parts";
import type { Box } from "@medvlm/core";
import { chestReport } from "../phantoms/chest_report.ts";
import { type ChestPhantom, chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { Random } from "../phantoms/random.ts";
import { type Figure, figure, majority, plain } from "./figures.ts";
import { type FamilyLesson, familyLessons, singlePhrases } from "./minigpt_lessons.ts";
import type { PhantomSource } from "./pool.ts";

/** What is asked. */
export interface MeasureOptions {
  /** Held-out phantoms; the part should be `test`. */
  readonly source: PhantomSource;
  /** Answers to draw for each question, of which the one counts that agrees best with the others. Default: greedy generation. */
  readonly consensus?: number;
  /** Called after every picture. */
  readonly progress?: (done: number, total: number) => void;
}

/** Figures by name. */
export type Figures = Readonly<Record<string, Figure>>;

/** Loads the model that a part has written, for as long as a body needs it. */
export async function withModel<T>(
  plugin: Plugin<MinigptConfig>,
  path: string,
  device: Device,
  body: (model: Model) => Promise<T>,
): Promise<T> {
  const folder = await openFolder(path);
  using tensors = await openMinigpt(folder);
  await using model = await plugin.load({ folder, tensors }, { device });
  return await body(model);
}

async function answerOf(
  model: Model,
  request: Request,
  options: GenerateOptions & SearchOptions,
): Promise<string> {
  let answer: GroundedAnswer | undefined;
  for await (const event of model.answer(request, options)) {
    if (event.type === "done") answer = event.answer;
  }
  if (answer === undefined) throw new TypeError("The model ended without an answer");
  return answer.text;
}

function* phantoms({ size, seed, split = "test", count }: PhantomSource): Generator<ChestPhantom> {
  for (let n = 0; n < count; n++) yield chestPhantom({ size, seed, index: splitIndex(split, n) });
}

/** The mean box of every kind of finding in pictures to train on: what is known without looking. */
function meanBoxes(source: PhantomSource): ReadonlyMap<string, Box> {
  const all = [...phantoms({ ...source, split: "train", count: 300 })].flatMap(singlePhrases);
  return new Map(
    [...Map.groupBy(all, ({ label }) => label)].map(([label, some]) => [
      label,
      [0, 1, 2, 3].map((edge) => mean(some.map(({ box }) => box[edge]!))) as unknown as Box,
    ]),
  );
}

/** How boxes and words are asked for. */
const boxes: GenerateOptions = { maxNewTokens: 24 };
const shortAnswers: GenerateOptions = { maxNewTokens: 16 };
/** Reports with the tag of the training, as models that are trained anew should be asked. */
const reports: PefomedOptions = { maxNewTokens: 120, behaviour: "repaired" };

/**
 * Asks for the box of every phrase of the reports that speaks of one finding. An answer that is no box counts as 0.
 *
 * @returns IoU over all and by finding, the share of IoUs above one half, and that of answers which are boxes.
 */
export async function measureBoxes(
  model: Model,
  { source, consensus, progress }: MeasureOptions,
): Promise<Figures> {
  const known = meanBoxes(source);
  const found: { label: string; iou: number; baseline: number; valid: number }[] = [];
  let done = 0;
  for (const phantom of phantoms(source)) {
    const { image } = phantom;
    for (const { text, label, box } of singlePhrases(phantom)) {
      const request: Request = { image, prompt: text, task: "ground-box" };
      const answer = await answerOf(model, request, { ...boxes, consensus });
      const { width, height } = image;
      const asked: ReferAnswer = { answer, width, height, truth: box, category: label };
      const scores = scoreAnswer(asked);
      const guess = known.get(label);
      found.push({
        label,
        iou: scores.iou,
        baseline: guess === undefined ? 0 : iou(box, guess),
        valid: scores.box === undefined ? 0 : 1,
      });
    }
    progress?.(++done, source.count);
  }
  const half = (value: number) => value > 0.5 ? 1 : 0;
  const of = (some: typeof found) =>
    figure(some.map((one) => one.iou), mean(some.map(({ baseline }) => baseline)), source.seed);
  return {
    "boxes: mean IoU": of(found),
    "boxes: IoU above 0.5": figure(
      found.map((one) => half(one.iou)),
      mean(found.map(({ baseline }) => half(baseline))),
      source.seed,
    ),
    "answers that are boxes": figure(found.map(({ valid }) => valid), 1, source.seed),
    ...Object.fromEntries(
      [...Map.groupBy(found, ({ label }) => label)].sort(([a], [b]) => a < b ? -1 : 1)
        .map(([label, some]) => [`box of ${label}: mean IoU`, of(some)]),
    ),
  };
}

const lessonsOf = (phantom: ChestPhantom, kinds: readonly FamilyLesson[]) =>
  familyLessons(phantom).filter(([kind]) => kinds.includes(kind));

/** Share of an answer's words that were given, as the open questions of VQA papers are scored. */
function recall(truth: string, answer: string): number {
  const given = new Set(plain(answer).split(/\s+/)), wanted = plain(truth).split(/\s+/);
  return wanted.filter((word) => given.has(word)).length / wanted.length;
}

/** Asks all questions: share of right answers to closed ones, recall of words and right answers for open ones. */
export async function measureQuestions(
  model: Model,
  { source, progress }: MeasureOptions,
): Promise<Figures> {
  const asked: { kind: FamilyLesson; truth: string; answer: string }[] = [];
  let done = 0;
  for (const phantom of phantoms(source)) {
    for (const [kind, { prompt, answer: truth, task }] of lessonsOf(phantom, ["closed", "open"])) {
      const answer = await answerOf(model, { image: phantom.image, prompt, task }, shortAnswers);
      asked.push({ kind, truth, answer });
    }
    progress?.(++done, source.count);
  }
  const closed = asked.filter(({ kind }) => kind === "closed");
  const open = asked.filter(({ kind }) => kind === "open");
  const right = (some: typeof asked) =>
    figure(
      some.map(({ truth, answer }) => plain(truth) === plain(answer) ? 1 : 0),
      majority(some.map(({ truth }) => truth)),
      source.seed,
    );
  const most = [...Map.groupBy(open, ({ truth }) => truth)]
    .sort(([, a], [, b]) => b.length - a.length)[0]![0];
  return {
    "closed questions: right answers": right(closed),
    "open questions: right answers": right(open),
    "open questions: recall of words": figure(
      open.map(({ truth, answer }) => recall(truth, answer)),
      mean(open.map(({ truth }) => recall(truth, most))),
      source.seed,
    ),
  };
}

/** Marks the draws of other wordings. */
const WORDING_DRAWS = 0x776f7264;

/** Reports about the same findings whose words and order are drawn anew. */
function otherReports(phantom: ChestPhantom, count: number): string[] {
  const random = new Random(phantom.seed, phantom.index, WORDING_DRAWS);
  return Array.from({ length: count }, () => chestReport(phantom, random).findings.text);
}

/** A report about a normal chest. */
function normalReport({ size, seed }: PhantomSource): string {
  const prevalence = { normal: 1, each: 0 };
  const phantom = chestPhantom({ size, seed, index: splitIndex("train", 0), prevalence });
  return lessonsOf(phantom, ["report"])[0]![1].answer;
}

/** Scores of reports against so many references each; BLEU-4 is that of the whole corpus and has no interval. */
export interface ReportScores {
  /** BLEU-4 of all reports together, 0 to 1, and of the report of a normal chest for every picture. */
  readonly bleu4: { readonly n: number; readonly value: number; readonly baseline: number };
  /** ROUGE-L. */
  readonly rougeL: Figure;
  /** What one more report about the same findings reaches: how it is worded nobody can know from a picture. */
  readonly reworded: { readonly bleu4: number; readonly rougeL: number };
}

/** Scores of reports. */
export interface ReportFigures {
  /** Against the report of the picture alone. */
  readonly single: ReportScores;
  /** Against {@linkcode wordings} reports, as captions of COCO are scored: that of the picture and others of the same findings. */
  readonly several: ReportScores;
}

/** Reports of a picture that an answer may agree with. */
export const wordings = 5;

/** A report that was given, with all that could have been. */
interface AnsweredReport {
  readonly answer: string;
  /** First that of the picture, then others. */
  readonly references: readonly string[];
  readonly reworded: string;
}

/** @param normal Report of a normal chest. */
function scoreReports(
  answered: readonly AnsweredReport[],
  count: number,
  normal: string,
  seed: number,
): ReportScores {
  const pairs = (of: (one: AnsweredReport) => string) =>
    answered.map((one) => ({
      prediction: of(one),
      references: one.references.slice(0, count),
    }));
  // BLEU is not defined where nothing at all was said.
  const bleu = (some: ReturnType<typeof pairs>) =>
    some.every(({ prediction }) => prediction.trim() === "") ? 0 : bleuHf(some).bleu;
  const rouge = (some: ReturnType<typeof pairs>) =>
    some.map(({ prediction, references }) => rougeLCoco(prediction, references));
  const given = pairs(({ answer }) => answer), others = pairs(({ reworded }) => reworded);
  const always = pairs(() => normal);
  return {
    bleu4: { n: answered.length, value: bleu(given), baseline: bleu(always) },
    rougeL: figure(rouge(given), mean(rouge(always)), seed),
    reworded: { bleu4: bleu(others), rougeL: mean(rouge(others)) },
  };
}

/** Asks for the report of every picture with an instruction of PeFoMed's pool; texts are compared as the text processor leaves them. */
export async function measureReports(
  model: Model,
  { source, consensus, progress }: MeasureOptions,
): Promise<ReportFigures> {
  const answered: AnsweredReport[] = [];
  const words = (text: string) => blipCaption(text).replace(/([.,:])/g, " $1");
  let done = 0;
  for (const phantom of phantoms(source)) {
    for (const [, { id, answer: truth }] of lessonsOf(phantom, ["report"])) {
      const prompt = drawnOf(pefomedClasses.iuxray.pool, id);
      const request: Request = { image: phantom.image, prompt, task: "report" };
      const answer = await answerOf(model, request, { ...reports, consensus });
      const [reworded, ...others] = otherReports(phantom, wordings).map(words);
      const references = [words(truth), ...others];
      answered.push({ answer: words(answer), references, reworded: reworded! });
    }
    progress?.(++done, source.count);
  }
  const normal = words(normalReport(source));
  return {
    single: scoreReports(answered, 1, normal, source.seed),
    several: scoreReports(answered, wordings, normal, source.seed),
  };
}
