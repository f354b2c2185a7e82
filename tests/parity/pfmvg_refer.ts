/**
 * Reference case of grounding end to end: picture and prompt to text, box, overlap, means per disease.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import { answerText, chatPrompt } from "@medvlm/core/minigpt";
import { cleanBoxAnswer } from "../../core/eval/mod.ts";
import { evaluateRefer, type ReferAnswer, scoreAnswer } from "../../plugins/pfmvg/evaluation.ts";
import { referQuestion } from "../../plugins/pfmvg/prompt.ts";
import { openCase } from "./case_files.ts";
import type { Report } from "./harness.ts";
import { compareGeneration, loadCaseModel } from "./minigpt_pipeline.ts";
import { cornersOf } from "./pfmvg_boxes.ts";

/** Runs a case of grounding. */
export async function runReferEval(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  await using model = await loadCaseModel(dir, device);
  const { samples, tolerance, per_category: categories, aggregate } = files.case;
  const prompts: string[] = [];
  for (const { label_text: label, question, prompt } of samples) {
    report.exact(`prompt of ${label}`, [referQuestion(label), chatPrompt(referQuestion(label))], [
      question,
      prompt,
    ]);
    prompts.push(prompt);
  }
  const scores = { ...files, case: { ...files.case, tolerance: tolerance.scores } };
  const tokens = await compareGeneration(model, scores, report, prompts);
  const metrics = { atol: tolerance.metrics };
  const answers = tokens.map((ids, i): ReferAnswer => {
    const { width, height, gt_bbox_xywh: truth, category } = samples[i];
    const answer = answerText(model.tokenizer, ids);
    return { answer, width, height, truth: cornersOf(truth), category };
  });
  for (const [i, answer] of answers.entries()) {
    const { expected_answer: text, result } = samples[i];
    const read = scoreAnswer(answer);
    report.exact(
      `answer ${i}`,
      [
        answer.answer,
        cleanBoxAnswer(answer.answer),
        read.box?.grid ?? null,
        read.box?.rounded ?? null,
        answer.truth,
      ],
      [text, result.cleaned, result.norm, result.box_rounded, result.gt_xyxy],
    );
    report.close(`box ${i}`, read.box?.exact ?? [], result.box ?? [], metrics);
    report.close(
      `overlap ${i}`,
      [read.iou, read.dice, read.iouInclusive, read.diceInclusive],
      [result.iou, result.dice, result.iou_plus1, result.dice_plus1],
      metrics,
    );
  }
  const result = evaluateRefer(answers);
  for (
    const [name, { n, iou, dice, iou_plus1: inclusive }] of Object.entries<
      Record<string, number>
    >(categories)
  ) {
    report.close(
      name,
      [
        result.iou.groups[name]!.count,
        result.iou.groups[name]!.mean,
        result.dice.groups[name]!.mean,
        result.iouInclusive.groups[name]!.mean,
      ],
      [n!, iou!, dice!, inclusive!],
      metrics,
    );
  }
  report.close("means", [
    result.iou.classMean,
    result.dice.classMean,
    result.iouInclusive.classMean,
    result.iou.mean,
    result.dice.mean,
    result.iouInclusive.mean,
    100 * result.accuracy,
  ], [
    aggregate.mean_iou,
    aggregate.mean_dice,
    aggregate.mean_iou_plus1,
    aggregate.weighted_iou,
    aggregate.weighted_dice,
    aggregate.weighted_iou_plus1,
    aggregate["official_acc_at_0.5_percent"],
  ], metrics);
}
