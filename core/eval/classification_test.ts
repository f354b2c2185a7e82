import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  averageScores,
  labelReportMetric,
  type LabelScores,
  labelScores,
} from "./classification.ts";
import {
  chexbertToLabels,
  extractLabels,
  litegptLabels,
  radbertToLabels,
} from "./finding_labels.ts";

/** LiteGPT's table 11 as printed: precision, recall, F1 and support per global diagnosis. */
const table11: Readonly<Record<string, readonly [number, number, number, number]>> = {
  COPD: [0.33, 0.5, 0.4, 2],
  "Lung tumor": [0.23, 0.15, 0.18, 80],
  Pneumonia: [0.56, 0.4, 0.47, 246],
  Tuberculosis: [0.63, 0.18, 0.28, 164],
  "Other disease": [0.58, 0.59, 0.59, 657],
  "No finding": [0.83, 0.95, 0.89, 2051],
};

Deno.test("LiteGPT's table 11: the printed averages follow from the printed rows", () => {
  const rows = Object.values(table11).map(([precision, recall, f1, support]): LabelScores => ({
    precision,
    recall,
    f1,
    support,
  }));
  const near = (actual: LabelScores, [precision, recall, f1]: readonly number[]) => {
    // Rows are rounded to two decimals, and so are averages.
    assertAlmostEquals(actual.precision, precision, 0.0101);
    assertAlmostEquals(actual.recall, recall, 0.0101);
    assertAlmostEquals(actual.f1, f1, 0.0101);
    assertEquals(actual.support, 3200);
  };
  near(averageScores(rows), [0.53, 0.46, 0.47]);
  near(averageScores(rows, (one) => one.support), [0.74, 0.77, 0.74]);
});

Deno.test("averages of a small report by hand", () => {
  const metric = labelReportMetric(["a", "b"]);
  metric.add({ truth: [1, 0], prediction: [1, 1] }).add({ truth: [1, 1], prediction: [0, 1] });
  const { classes, micro, macro, weighted, samples, subsetAccuracy, fnr, fnrOfficial } = metric
    .result();
  assertEquals(classes.a, { precision: 1, recall: 0.5, f1: 2 / 3, support: 2 });
  assertEquals(classes.b, { precision: 0.5, recall: 1, f1: 2 / 3, support: 1 });
  assertEquals(micro, { precision: 2 / 3, recall: 2 / 3, f1: 2 / 3, support: 3 });
  assertEquals([macro.precision, macro.recall], [0.75, 0.75]);
  assertAlmostEquals(weighted.precision, (2 * 1 + 0.5) / 3);
  assertEquals([samples.precision, samples.recall], [0.75, 0.75]);
  assertEquals(subsetAccuracy, 0);
  assertEquals(fnr, { classes: { a: 0.5, b: 0 }, macro: 0.25, micro: 1 / 3 });
  // One of one predicted negative of "a" is wrong; "b" has none.
  assertEquals(fnrOfficial.classes, { a: 1, b: NaN });
  assertThrows(() => metric.add({ truth: [1], prediction: [1, 0] }), RangeError);
});

Deno.test("undefined ratios are 0", () => {
  const none = { truePositives: 0, falsePositives: 0, falseNegatives: 0, trueNegatives: 5 };
  assertEquals(labelScores(none), { precision: 0, recall: 0, f1: 0, support: 0 });
});

Deno.test("LiteGPT finds names inside words and negations, and Finding without a finding", () => {
  const found = (text: string) => litegptLabels.filter((_, i) => extractLabels(text)[i] === 1);
  assertEquals(found("mild <b>edema</b>"), ["Edema", "ILD", "Finding"]);
  assertEquals(found("No finding."), ["No finding"]);
  assertEquals(found("no Pneumonia"), ["Pneumonia", "Finding"]);
});

Deno.test("outputs of CheXbert and RadBERT become labels", () => {
  assertEquals(chexbertToLabels([0, 1, 2, 3]), [0, 1, 0, 1]);
  assertEquals(radbertToLabels([-0.1, 0, 4]), [0, 1, 1]);
});
