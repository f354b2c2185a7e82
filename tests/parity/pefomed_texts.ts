/**
 * Reference cases of PeFoMed's host code: text processors, dataset classes, schedules, pictures in training, evaluation.
 *
 * @module
 */
import { readAll } from "../../core/files.ts";
import {
  bleuCoco,
  cider,
  likertAverage,
  mean,
  normalisePefomed,
  parsePefomedRating,
  pefomedVqaMetric,
  rougeLCoco,
} from "../../core/eval/mod.ts";
import { decodeImage, normalise } from "../../core/image/mod.ts";
import { pictureStatistics } from "../../core/minigpt/mod.ts";
import { blipCaption, blipQuestion } from "../../core/text/mod.ts";
import { learningRate } from "../../core/train/mod.ts";
import { keptRecords, readAnnotations } from "../../plugins/pefomed/annotations.ts";
import { drawnSquare } from "../../plugins/pefomed/augment.ts";
import { fillPefomedPrompt, judgedAnswers, reportRatings } from "../../plugins/pefomed/judging.ts";
import {
  evaluationQuestion,
  pefomedClasses,
  type PefomedDataset,
  trainingAnswer,
  trainingInstruction,
} from "../../plugins/pefomed/prompt.ts";
import { caseJson, CaseTensors } from "./case_files.ts";
import type { Report } from "./harness.ts";
import { compareNumbers } from "./metrics_values.ts";

/** Pictures that the annotation files of a case name without there being any. */
const isMissing = (image: string) => /^(gone|missing)\b/.test(image);

/** One dataset class: what it returns for every instruction of its pool. */
// deno-lint-ignore no-explicit-any
async function compareClass(title: string, given: any, report: Report): Promise<void> {
  const [, dataset, part] = /^(\w+)(?: \([^)]*\))?( eval)?$/.exec(title)!;
  const name = dataset as PefomedDataset;
  const { pool, processed } = pefomedClasses[name];
  const records = await keptRecords(
    name,
    readAnnotations(name, given.annotation),
    part === undefined ? "train" : "evaluate",
    (image) => !isMissing(image),
  );
  report.exact(`${title} length`, records.length, given.length);
  if (given.instruction_pool) report.exact(`${title} pool`, pool, given.instruction_pool);
  const { image, answer, question, questionId } = records[0]!;
  const instructions = name === "vqa" && part !== undefined ? pool.slice(-1) : pool;
  const text = trainingAnswer(answer);
  const outputs = instructions.map((instruction) => {
    if (part === undefined) {
      const key = processed ? "text_input" : "instruction_input";
      const input = { [key]: trainingInstruction(name, instruction, question) };
      return name === "vqa"
        ? { ...input, answers: text, weights: [1] }
        : { ...input, answer: text };
    }
    const input = { "text_input": evaluationQuestion(name, instruction, question) };
    return name === "vqa"
      ? { ...input, qid: Number(questionId) }
      : { ...input, caption: text, "image_id": image, "instance_id": image };
  });
  const sorted = (one: object) => Object.entries(one).sort(([a], [b]) => a < b ? -1 : 1);
  report.exact(title, outputs.map(sorted), given.outputs.map(sorted));
}

async function runTextAndData(dir: string, report: Report): Promise<void> {
  const given = await caseJson(`${dir}/case.json`);
  const { max_words: words } = await caseJson(`${dir}/config.json`);
  for (const one of given.text_processor) {
    report.exact(
      JSON.stringify(one.in.slice(0, 60)),
      [blipCaption(one.in, words), blipQuestion(one.in, words)],
      [one.blip_caption, one.blip_question],
    );
  }
  for (const [title, one] of Object.entries(given.datasets)) await compareClass(title, one, report);
  const { settings, ...expected } = given.learning_rate;
  for (const decline of ["cosinePerEpoch", "cosine"] as const) {
    const wanted: number[] = expected[
      decline === "cosine" ? "minigpt4_per_step_values" : "pefomed_per_step_values"
    ];
    const schedule = {
      kind: "epochs",
      decline,
      epochs: settings.max_epoch,
      stepsPerEpoch: settings.iters_per_epoch,
      rate: settings.init_lr,
      minRate: settings.min_lr,
      warmupSteps: settings.warmup_steps,
      warmupRate: settings.warmup_lr,
    } as const;
    const rates = wanted.map((_, step) => learningRate(schedule, step));
    report.close(`rates ${decline}`, rates, wanted, { atol: 1e-12 });
  }
}

async function runVqaEval(dir: string, report: Report): Promise<void> {
  const given = await caseJson(`${dir}/case.json`);
  compareVqa(given, report);
  for (const one of given.preprocess_answer) {
    report.exact(JSON.stringify(one.in), normalisePefomed(one.in), one.out);
  }
}

/** Accuracies of predictions as `MedVQAEval` has them, and the normalised answers where the case has any. */
// deno-lint-ignore no-explicit-any
export function compareVqa(given: any, report: Report): void {
  const metric = pefomedVqaMetric();
  for (const truth of readAnnotations("vqa", given.ground_truth)) {
    const { answer: prediction } = given.predictions.find(({ qid }: { qid: number }) =>
      String(qid) === truth.questionId
    );
    const pair = [normalisePefomed(truth.answer), normalisePefomed(prediction)];
    const expected = given.normalised?.[truth.questionId!];
    if (expected) report.exact(`normalised ${truth.questionId}`, pair, expected);
    const { questionType = "", answerType = "" } = truth;
    metric.add({ prediction, reference: truth.answer, questionType, answerType });
  }
  const { overall, perQuestionType, perAnswerType } = metric.result();
  report.exact("overall", overall, given.accuracy.overall);
  compareNumbers(report, "question types", perQuestionType, given.accuracy.perQuestionType, {});
  compareNumbers(report, "answer types", perAnswerType, given.accuracy.perAnswerType, {});
}

async function runReportMetrics(dir: string, report: Report): Promise<void> {
  const { hypotheses, references, scores, per_sample: each, tolerance } = await caseJson(
    `${dir}/case.json`,
  );
  const words = (text: string) => text.split(" ");
  const pairs = hypotheses.map((prediction: string, i: number) => ({
    prediction: words(prediction),
    references: [words(references[i])],
  }));
  const close = (name: string, actual: number[], expected: number[]) =>
    report.close(name, actual, expected, { atol: tolerance });
  const bleu = bleuCoco(pairs);
  const rouge: number[] = hypotheses.map((one: string, i: number) =>
    rougeLCoco(one, [references[i]])
  );
  const ciders = cider(hypotheses.map((prediction: string, i: number) => ({
    prediction,
    references: [references[i]],
  })));
  close("Bleu", bleu, [1, 2, 3, 4].map((n) => scores[`Bleu_${n}`]));
  close("ROUGE_L, CIDEr, best epoch", [mean(rouge), ciders.cider, ciders.cider + bleu[3]!], [
    scores.ROUGE_L,
    scores.CIDEr,
    scores.agg_metrics,
  ]);
  // deno-lint-ignore no-explicit-any
  const single = pairs.map((one: any) => bleuCoco([one]));
  each.bleu.forEach((wanted: number[], order: number) =>
    close(`Bleu_${order + 1} each`, single.map((one: number[]) => one[order]!), wanted)
  );
  close("ROUGE_L each", rouge, each.rouge_l);
  close("CIDEr each", [...ciders.perSample], each.cider);
}

async function runJudge(dir: string, report: Report): Promise<void> {
  const given = await caseJson(`${dir}/case.json`);
  const ratings: (number | undefined)[] = [];
  for (const { response, score } of given.report_scores) {
    const rating = parsePefomedRating(response);
    ratings.push(rating);
    report.exact(`report ${JSON.stringify(response)}`, rating ?? null, score);
  }
  const { counts, weightedAverage, count, unrated } = reportRatings(ratings);
  report.exact("counts", counts, [0, 1, 2, 3, 4].map((n) => given.counts[`count_${n}`]));
  report.exact("every reply counted", count + unrated, ratings.length);
  report.close(
    "weighted average",
    [weightedAverage, likertAverage(counts)],
    [given.weighted_average_assumed, given.weighted_average_assumed],
    { atol: 1e-12 },
  );
  const answers = [];
  for (const { response, correct } of given.vqa_scores) {
    const rating = parsePefomedRating(response, "Correctness:");
    answers.push({ rating, answerType: "OPEN", questionType: "PRES" });
    report.exact(`answer ${JSON.stringify(response)}`, rating ?? null, correct);
  }
  const judged = judgedAnswers(answers);
  const numbers = given.vqa_scores.map((one: { correct: number | null }) => one.correct);
  report.exact("right answers", [judged.open, judged.closed.count, judged.unrated], [
    {
      count: numbers.filter((one: number | null) => one !== null).length,
      right: numbers.filter((one: number | null) => one === 1).length,
    },
    0,
    numbers.filter((one: number | null) => one === null).length,
  ]);
  const item = { id: "", prediction: "$& P", reference: "R", question: "Q" };
  for (const [name, prompt] of Object.entries<string>(given.prompts)) {
    if (name === "request") continue;
    const filled = fillPefomedPrompt(prompt, item);
    const expected = prompt.replaceAll("{ground_truth}", "R").replaceAll("{true_answer}", "R")
      .replaceAll("{question}", "Q").split("{generated_report}").join("$& P")
      .split("{generated_answer}").join("$& P");
    report.exact(`prompt ${name}`, filled, expected);
    report.holds(`prompt ${name} is filled`, !/\{\w+\}/.test(filled), "a slot is left");
  }
}

async function runTrainAugment(dir: string, report: Report): Promise<void> {
  const given = await caseJson(`${dir}/case.json`);
  const { image_size: side } = await caseJson(`${dir}/config.json`);
  using expected = await CaseTensors.open(`${dir}/expected.safetensors`);
  const names = expected.names();
  for (const [index, one] of given.images.entries()) {
    const file = `${dir}/${one.file}`;
    const { raster } = await decodeImage(await readAll(file), file);
    const window = {
      top: one.crop_top,
      left: one.crop_left,
      height: one.crop_height,
      width: one.crop_width,
    };
    const square = drawnSquare(raster, { window, mirrored: one.horizontal_flip }, side);
    const { data } = normalise(square, pictureStatistics, 1 / 255);
    const own = names.filter((name) => name.split(/[./_]/).includes(String(index)));
    for (const name of own) {
      const { values } = await expected.get(name);
      if (name.includes("u8")) {
        report.close(name, square.data, values, { atol: 1 });
        const equal = square.data.filter((value, i) => value === values[i]).length;
        report.holds(`${name} equal`, equal >= 0.99 * values.length, `${equal} equal bytes`);
      } else {
        report.close(name, data, values, { atol: given.tolerance.tensor });
      }
    }
    report.holds(`${one.file} compared`, own.length > 0, `no tensor of image ${index}`);
  }
}

/** Kinds that need no model. */
export const pefomedTextKinds: Readonly<
  Record<string, (dir: string, report: Report) => Promise<void>>
> = {
  "gpt-judge": runJudge,
  "report-metrics": runReportMetrics,
  "text-and-data": runTextAndData,
  "train-augment": runTrainAugment,
  "vqa-eval": runVqaEval,
};
