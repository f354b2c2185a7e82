/**
 * Reference cases of labels, answers, reports and judges.
 *
 * @module
 */
import {
  accuracyAtIouLitegpt,
  candidateMatchMedplib,
  chexpert5,
  cosine,
  exactMatchMedplib,
  exactMatchVividmed,
  extractLabels,
  type LabelReport,
  labelReportMetric,
  type LabelScores,
  likertAverage,
  litegptGlobalLabels,
  litegptLabels,
  litegptLocalLabels,
  medplibVqaMetric,
  normaliseMedplib,
  normalisePefomed,
  parseLabelledBoxes,
  parsePefomedRating,
  parseVividmedScore,
  pefomedVqaMetric,
  pickLabels,
  radcliq,
  radgraphF1,
  removeBoxes,
  sentenceBleuMedplib,
  tokenOverlapMedplib,
} from "../../core/eval/mod.ts";
import type { Report, Tolerance } from "./harness.ts";
import {
  type CompareGroup,
  compareNumbers,
  isError,
  type JsonNumber,
  numberOf,
} from "./metrics_values.ts";

const scoresOf = ({ precision, recall, f1 }: LabelScores) => ({ precision, recall, f1 });

function labelReport(
  truths: readonly number[][],
  predictions: readonly number[][],
  names = truths[0].map((_, i) => String(i)),
): LabelReport {
  const metric = labelReportMetric(names);
  truths.forEach((truth, i) => metric.add({ truth, prediction: predictions[i] }));
  return metric.result();
}

const classification: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, y_true: truths, y_pred: predictions, expected } of cases) {
    const result = labelReport(truths, predictions);
    const classes = Object.values(result.classes);
    const close = (name: string, actual: number[], wanted: JsonNumber[]) =>
      report.close(`${id} ${name}`, actual, wanted.map(numberOf), tolerance);
    if (expected.binary !== undefined) {
      compareNumbers(report, id, scoresOf(classes[0]), expected.binary, tolerance);
      continue;
    }
    for (const average of ["micro", "macro", "weighted", "samples"] as const) {
      const name = `${id} ${average}`;
      compareNumbers(report, name, scoresOf(result[average]), expected[average], tolerance);
    }
    for (const part of ["precision", "recall", "f1", "support"] as const) {
      close(part, classes.map((one) => one[part]), expected.per_class[part]);
    }
    close("subset", [result.subsetAccuracy], [expected.subset_accuracy]);
    const { per_class: perClass, macro, micro } = expected.mmmm_fnr;
    close("fnr official", [
      ...Object.values(result.fnrOfficial.classes),
      result.fnrOfficial.macro,
      result.fnrOfficial.micro,
    ], [...perClass, macro, micro]);
    close("fnr", [result.fnr.macro, result.fnr.micro], expected.textbook_fnr_macro_micro);
    if (expected.chexpert5 === undefined) continue;
    const pick = (rows: number[][]) => rows.map((row) => pickLabels(row, chexpert5));
    const five = labelReport(pick(truths), pick(predictions));
    close("five", [
      five.macro.f1,
      five.micro.f1,
      five.fnrOfficial.macro,
      five.fnrOfficial.micro,
    ], [
      expected.chexpert5.f1_macro,
      expected.chexpert5.f1_micro,
      ...expected.chexpert5.mmmm_fnr_macro_micro,
    ]);
  }
};

const litegptTexts: CompareGroup = (cases, report, { json }) => {
  report.exact("names", litegptLabels, json.class_names);
  for (const { id, text, expected } of cases) {
    report.exact(`${id} without boxes`, removeBoxes(text), expected.without_boxes);
    report.exact(`${id} labels`, [
      extractLabels(text),
      extractLabels(text, litegptLocalLabels),
      extractLabels(text, litegptGlobalLabels),
    ], [expected.labels_all29, expected.labels_local22, expected.labels_global7]);
    report.exact(
      `${id} boxes`,
      parseLabelledBoxes(text).map(({ label, box }) => [label, ...box]),
      expected.boxes.map(([label, ...box]: string[]) => [label, ...box.map(Number)]),
    );
  }
};

interface LitegptItem {
  "image_id": string;
  "ground_truth": string;
  predict: string;
}

/** A scikit-learn report of the texts, under its names. */
function compareReport(
  report: Report,
  id: string,
  items: readonly LitegptItem[],
  labels: readonly string[],
  expected: Record<string, Record<string, JsonNumber>>,
  tolerance: Tolerance,
): void {
  const metric = labelReportMetric(labels);
  for (const item of items) {
    metric.add({
      truth: extractLabels(item.ground_truth, labels),
      prediction: extractLabels(item.predict, labels),
    });
  }
  const { classes, micro, macro, weighted, samples } = metric.result();
  const rows: Record<string, LabelScores> = {
    ...classes,
    "micro avg": micro,
    "macro avg": macro,
    "weighted avg": weighted,
    "samples avg": samples,
  };
  for (const [name, wanted] of Object.entries(expected)) {
    const { f1, ...rest } = rows[name];
    compareNumbers(report, `${id} ${name}`, { ...rest, "f1-score": f1 }, wanted, tolerance);
  }
}

const litegptFiles: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, items, expected } of cases) {
    // The script keys its entries by image: the last one of an image counts.
    const images = [
      ...new Map(items.map((item: LitegptItem) => [item.image_id, item])).values(),
    ] as LitegptItem[];
    for (const [threshold, percent] of Object.entries<JsonNumber>(expected.accuracy_percent)) {
      const metric = accuracyAtIouLitegpt(Number(threshold));
      for (const { predict, ground_truth: reference } of images) {
        metric.add({ prediction: predict, reference });
      }
      const { accuracy } = metric.result();
      // Without any box the script divides by zero.
      const wanted = isError(percent) ? NaN : numberOf(percent);
      report.close(`${id} accuracy@${threshold}`, [100 * accuracy], [wanted], tolerance);
    }
    const local = expected.report_local22;
    compareReport(report, id, items, litegptLabels, expected.report_all29, tolerance);
    compareReport(report, id, items, litegptLocalLabels, local, tolerance);
  }
};

const medplibAnswers: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, prediction, ground_truth: truth, expected } of cases) {
    // The script lower-cases and normalises both texts before scoring them.
    const predicted = normaliseMedplib(prediction.toLowerCase());
    const wanted = normaliseMedplib(truth.toLowerCase());
    report.exact(`${id} normalised`, [predicted, wanted, normaliseMedplib(predicted)], [
      expected.normalized_prediction,
      expected.normalized_ground_truth,
      expected.twice_normalized_prediction,
    ]);
    const { f1, precision, recall } = tokenOverlapMedplib(predicted, wanted);
    const [f1Wanted, precisionWanted, recallWanted] = expected.f1_precision_recall;
    const bleu = sentenceBleuMedplib(predicted, wanted);
    report.close(`${id} scores`, [
      f1,
      precision,
      recall,
      exactMatchMedplib(predicted, wanted),
      Number(predicted === wanted),
      candidateMatchMedplib(predicted, wanted, expected.candidate_set),
      bleu.bleu,
      bleu.bleu1,
    ], [
      f1Wanted,
      precisionWanted,
      recallWanted,
      expected.exact_match_score,
      expected.closed_hit,
      expected.open_accuracy_with_candidates,
      expected.bleu_score,
      expected.bleu_score_1,
    ], tolerance);
  }
};

const medplibFiles: CompareGroup = (cases, report) => {
  for (const { id, items, expected_percent: expected } of cases) {
    const metric = medplibVqaMetric();
    for (const { text, gt, answer_type: answerType } of items) {
      metric.add({ prediction: text, reference: gt, answerType });
    }
    const { open, closedAccuracy, closedCount } = metric.result();
    compareNumbers(
      report,
      id,
      {
        "exact match acc score": 100 * open.exactMatch,
        "f1 score": 100 * open.f1,
        precision: 100 * open.precision,
        recall: 100 * open.recall,
        "bleu_score": 100 * open.bleu,
        "bleu_score_1": 100 * open.bleu1,
        "bleu_score_2": 100 * open.bleu2,
        "bleu_score_3": 100 * open.bleu3,
        // Without candidates the script prints a constant.
        "open accuracy": 11 * 100,
        // Without closed questions it prints 0.
        "yes/no accuracy": closedCount === 0 ? 0 : 100 * closedAccuracy,
      },
      expected,
      { atol: 1e-10 },
    );
  }
};

const pefomedAnswers: CompareGroup = (cases, report) => {
  for (const { id, raw, expected } of cases) report.exact(id, normalisePefomed(raw), expected);
};

const pefomedFiles: CompareGroup = (cases, report) => {
  for (const { id, ground_truth: truths, results, expected } of cases) {
    const metric = pefomedVqaMetric();
    // deno-lint-ignore no-explicit-any
    for (const [key, truth] of Object.entries<any>(truths)) {
      metric.add({
        prediction: results[key].answer,
        reference: truth.answer,
        questionType: truth.question_type,
        answerType: truth.answer_type,
      });
    }
    const { overall, perQuestionType, perAnswerType } = metric.result();
    report.close(`${id} overall`, [overall], [expected.overall], {});
    compareNumbers(report, id, perQuestionType, expected.perQuestionType, {});
    compareNumbers(report, id, perAnswerType, expected.perAnswerType, {});
  }
};

const exactMatches: CompareGroup = (cases, report) => {
  for (const { id, prediction, reference, expected } of cases) {
    report.close(id, [exactMatchVividmed(prediction, reference)], [expected], {});
  }
};

const radgraph: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, hypothesis, reference, expected } of cases) {
    report.close(id, [radgraphF1(hypothesis, reference)], [expected], tolerance);
  }
};

const radcliqs: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, features_radgraph_bertscore_chexbert_bleu2: rows, expected } of cases) {
    for (const version of ["v0", "v1"] as const) {
      report.close(
        `${id} ${version}`,
        rows.map(([radgraph, bertScore, chexbert, bleu2]: number[]) =>
          radcliq({ radgraph, bertScore, chexbert, bleu2 }, version)
        ),
        expected[`radcliq_${version}`],
        tolerance,
      );
    }
  }
};

const cosines: CompareGroup = (cases, report) => {
  // The reference computes in float32: a vector with itself has a cosine of 1.0000001.
  for (const { id, a, b, expected } of cases) {
    report.close(id, [cosine(a, b)], [expected], { atol: 5e-7 });
  }
};

const judges: CompareGroup = (cases, report) => {
  for (const { id, response, expected } of cases) {
    const wanted = (name: string) => isError(expected[name]) ? null : numberOf(expected[name]);
    report.exact(id, [
      parsePefomedRating(response) ?? null,
      parsePefomedRating(response.replaceAll("Score:", "Correctness:"), "Correctness:") ?? null,
      parseVividmedScore(response) ?? null,
    ], [
      wanted("pefomed_report_likert"),
      wanted("pefomed_vqa_with_key_replaced"),
      wanted("mmmm_float_or_error"),
    ]);
  }
};

const likerts: CompareGroup = (cases, report) => {
  for (const { id, count_0_to_4: counts, expected } of cases) {
    compareNumbers(
      report,
      id,
      {
        total: counts.reduce((a: number, b: number) => a + b, 0),
        "weighted_average": likertAverage(counts),
      },
      expected,
      { atol: 1e-12 },
    );
  }
};

/** Groups of labels, answers, reports and judges, by file and list. */
export const answerGroups: Readonly<Record<string, CompareGroup>> = {
  "classification/cases": classification,
  "litegpt_labels_boxes/cases": litegptTexts,
  "litegpt_labels_boxes/corpus_cases": litegptFiles,
  "vqa_medplib/cases": medplibAnswers,
  "vqa_medplib/corpus_cases": medplibFiles,
  "vqa_pefomed/cases": pefomedAnswers,
  "vqa_pefomed/corpus_cases": pefomedFiles,
  "exact_match/cases": exactMatches,
  "radgraph_radcliq/cases": radgraph,
  "radgraph_radcliq/radcliq_cases": radcliqs,
  "radgraph_radcliq/cosine_cases": cosines,
  "llm_judge/cases": judges,
  "llm_judge/likert_cases": likerts,
};
