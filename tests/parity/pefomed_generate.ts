/**
 * Reference case of questions end to end: annotation file and pictures to prompts, answers and accuracies.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import { decodeImage } from "@medvlm/core/image";
import { answerText, chatPrompt, minigptPixels, promptSegments } from "@medvlm/core/minigpt";
import { readAll } from "../../core/files.ts";
import { normalisePefomed } from "../../core/eval/mod.ts";
import { readAnnotations } from "../../plugins/pefomed/annotations.ts";
import { evaluationQuestion } from "../../plugins/pefomed/prompt.ts";
import { caseJson, openCase } from "./case_files.ts";
import type { Report } from "./harness.ts";
import { compareGeneration, loadCaseModel } from "./minigpt_pipeline.ts";
import { compareVqa } from "./pefomed_texts.ts";

/** Runs a case of answers to questions. */
export async function runVqaGenerate(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  await using model = await loadCaseModel(dir, device);
  const { tolerance, prompts } = files.case;
  const annotations = await caseJson(`${dir}/${files.case.annotations}`);
  const records = readAnnotations("vqa", annotations);
  const inputs = records.map(({ question }) => evaluationQuestion("vqa", "", question));
  report.exact("text_input", inputs, files.case.text_input);
  report.exact("prompts", inputs.map((input) => chatPrompt(input)), prompts);
  prompts.forEach((prompt: string, i: number) =>
    report.exact(
      `prompt_segment_ids ${i}`,
      promptSegments(model.tokenizer, prompt, { beginning: true }),
      files.case.prompt_segment_ids[i],
    )
  );
  const side = model.config.vision.imageSize, { values } = await files.inputs.get("images");
  for (const [i, { image }] of records.entries()) {
    const path = `${dir}/images/${image}`;
    const { raster } = await decodeImage(await readAll(path), path, { orientation: "ignore" });
    const { data } = minigptPixels(raster, side);
    report.close(`picture ${i}`, data, values.slice(i * data.length, (i + 1) * data.length), {
      atol: 1e-5,
    });
  }
  const scores = { ...files, case: { ...files.case, tolerance: tolerance.scores } };
  const tokens = await compareGeneration(model, scores, report, prompts);
  const answers = tokens.map((ids) => answerText(model.tokenizer, ids));
  report.exact("answers", answers, files.case.expected_answers);
  for (const [i, { answer, questionId }] of records.entries()) {
    const pair = files.case.answer_comparison?.[questionId!];
    if (pair === undefined) continue;
    report.exact(`compared ${questionId}`, [answer, answers[i]!].map(normalisePefomed), pair);
  }
  compareVqa({
    "ground_truth": annotations,
    predictions: records.map(({ questionId }, i) => ({ qid: questionId, answer: answers[i] })),
    accuracy: files.case.accuracy,
  }, report);
}
