/** Hand-written predictions and the numbers that a pencil gives. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Line, scoredLines, scoresOf, valuesOf } from "./scoring_testing.ts";

/** Some of the values, all of which must be there. */
function some(values: Record<string, number>, ...names: string[]) {
  return Object.fromEntries(names.map((name) => [name, values[name]]));
}

function almost(actual: Record<string, number>, expected: Record<string, number>): void {
  for (const [name, value] of Object.entries(expected)) {
    assertAlmostEquals(actual[name], value, 1e-9, name);
  }
}

const question = (id: string, answer: string, reference: unknown, more: Line = {}): Line => ({
  id,
  task: "vqa",
  answer,
  reference,
  ...more,
});

Deno.test("answers: closed, open, and with choices", async () => {
  const { n, withoutReference, metrics, groups } = await scoresOf([
    question("1", "Yes.", { answer: "yes", answerType: "closed" }, { modality: "CT" }),
    question("2", "yes", "no", { modality: "MR" }),
    question("3", "the left lung", { answer: "left lung", answerType: "open" }, { modality: "CT" }),
    question("4", "A", { answer: "CT", choices: ["CT", "MR"] }, { modality: "MR" }),
    question("5", "right", { answer: "left", alternatives: ["right"], answerType: "closed" }),
    question("6", "nothing to compare with", undefined),
  ]);
  assertEquals([n, withoutReference], [5, 1]);
  const values = valuesOf(metrics);
  // The second is wrong, the fourth is the name of a choice but not its text.
  almost(values, {
    accuracy: 3 / 5,
    "closed_accuracy": 2 / 3,
    "choice_accuracy": 1,
    "open_precision": 2 / 3,
    "open_recall": 1,
    "open_f1": 0.8,
    // Articles do not count in MedPLIB's script.
    "open_precision_medplib": 1,
    "open_recall_medplib": 1,
    "modality_mean_accuracy": (2 / 2 + 0 / 2) / 2,
  });
  assertEquals(metrics.closed_accuracy.n, 3);
  assertEquals(metrics.open_f1.n, 1);
  assertEquals(valuesOf(groups.modality!.CT).accuracy, 1);
  assertEquals(groups.modality!.MR.accuracy.n, 2);
});

Deno.test("boxes: overlap, found boxes, needless boxes, means per class", async () => {
  const box = (label: string, ...corners: number[]) => ({ label, box: corners });
  const { metrics, groups } = await scoresOf([
    {
      id: "1",
      task: "ground-box",
      boxes: [box("Nodule", 5, 0, 15, 10)],
      reference: { boxes: [box("Nodule", 0, 0, 10, 10)] },
    },
    {
      id: "2",
      task: "ground-box",
      boxes: [box("Mass", 10, 10, 20, 20)],
      reference: { boxes: [box("Nodule", 0, 0, 4, 4), box("Mass", 10, 10, 20, 20)] },
    },
    // Nothing is there, and one box is given.
    { id: "3", task: "ground-box", boxes: [[0, 0, 1, 1]], reference: { labels: ["No finding"] } },
  ]);
  almost(valuesOf(metrics), {
    "box_iou": (1 / 3 + 0 + 1) / 3,
    "box_dice": (1 / 2 + 0 + 1) / 3,
    "box_giou": (1 / 3 - 1 + 1) / 3,
    "accuracy@0.3": 2 / 3,
    "accuracy@0.4": 1 / 3,
    "accuracy@0.5": 1 / 3,
    "box_answered": 2 / 3,
    "precision@0.5": 1 / 3,
    "class_mean_box_iou": (1 / 6 + 1) / 2,
  });
  almost(valuesOf(groups.class!.Nodule), { "box_iou": 1 / 6, "accuracy@0.3": 1 / 2 });
  assertEquals(groups.class!.Nodule.box_iou.n, 2);
});

Deno.test("boxes around masks stand in for boxes, and boxes in the text are found", async () => {
  // Columns 1 and 2 of four, rows 1 to 3 of four.
  const mask = { size: [4, 4], counts: [5, 3, 1, 3, 4] };
  const reference = { boxes: [{ label: "x", box: [1, 1, 3, 4] }] };
  const { metrics } = await scoresOf([
    { id: "1", task: "ground-box", masks: [mask], reference },
    {
      id: "2",
      task: "ground-box",
      width: 4,
      height: 8,
      answer: "{<25><12><75><50>}",
      reference: { boxes: [{ label: "x", box: [1, 0.96, 3, 4] }] },
    },
  ]);
  assertAlmostEquals(metrics.box_iou.value, 1, 1e-12);
});

Deno.test("masks: Dice and IoU, an unanswered finding counts as 0", async () => {
  const left = { size: [2, 4], counts: [0, 4, 4] }, column = { size: [2, 4], counts: [0, 2, 6] };
  const { metrics } = await scoresOf([
    {
      id: "1",
      task: "ground-mask",
      masks: [column],
      reference: { masks: [{ label: "a", ...left }] },
    },
    { id: "2", task: "ground-mask", reference: { masks: [{ label: "b", ...left }] } },
  ]);
  almost(valuesOf(metrics), {
    dice: (2 * 2 / 6 + 0) / 2,
    iou: (1 / 2 + 0) / 2,
    "mask_answered": 1 / 2,
    "class_mean_dice": 1 / 3,
  });
  assert(!("precision@0.5" in metrics));
});

Deno.test("labels in texts: averages, rows per label, and the opposite of no finding", async () => {
  const choices = ["Edema", "Fracture", "No finding"];
  const line = (id: string, answer: string, label: string): Line => ({
    id,
    task: "classify",
    answer,
    reference: { labels: [label], choices },
  });
  const { metrics, groups } = await scoresOf([
    line("1", "Edema.", "Edema"),
    line("2", "edema and a fracture", "Fracture"),
    line("3", "No finding.", "No finding"),
  ]);
  const values = valuesOf(metrics);
  almost(values, {
    "precision_micro": 3 / 4,
    "recall_micro": 1,
    "f1_micro": 6 / 7,
    "precision_macro": (1 / 2 + 1 + 1) / 3,
    "f1_macro": (2 / 3 + 1 + 1) / 3,
    "f1_samples": (1 + 2 / 3 + 1) / 3,
    "subset_accuracy": 2 / 3,
    "fnr_micro": 0,
  });
  assertEquals(Object.keys(groups.class!), ["Edema", "Finding", "Fracture", "No finding"]);
  assertEquals(some(valuesOf(groups.class!.Finding), "precision", "recall"), {
    precision: 1,
    recall: 1,
  });
  assertEquals(groups.class!.Finding.f1.n, 2);
});

Deno.test("labels agree whatever their case and with or without a final s", async () => {
  const { metrics, groups } = await scoresOf([
    {
      id: "1",
      task: "classify",
      answer: "other disease",
      reference: { labels: ["Other diseases"], choices: ["Other diseases", "COPD"] },
    },
    { id: "2", task: "classify", labels: ["nodule"], reference: { labels: ["Nodules"] } },
  ]);
  assertEquals(metrics.f1_micro.value, 1);
  assertEquals(Object.keys(groups.class!), ["COPD", "Nodules", "Other diseases"]);
});

Deno.test("labels of places count where the answer shall name them", async () => {
  const line = (prompt: string): Line => ({
    id: "1",
    task: "ground-box",
    prompt,
    answer: "Nodule.",
    boxes: [[0, 0, 1, 1]],
    reference: { answer: "Nodule.", labels: ["Nodule"], boxes: [[0, 0, 1, 1]] },
  });
  assertEquals((await scoresOf([line("What is where?")])).metrics.f1_micro.value, 1);
  assert(!("f1_micro" in (await scoresOf([line("Where is the nodule?")])).metrics));
});

Deno.test("reports: BLEU of the corpus, ROUGE-L and METEOR of each", async () => {
  const report = (id: string, answer: string, reference: string): Line => ({
    id,
    task: "report",
    answer,
    reference,
  });
  const { metrics } = await scoresOf([
    report("1", "a b c d", "a b c d"),
    report("2", "x y", "p q"),
  ]);
  almost(valuesOf(metrics), {
    "rouge_1": 1 / 2,
    "rouge_2": 1 / 2,
    "rouge_l": 1 / 2,
    meteor: (1 - 0.5 / 4 ** 3) / 2,
    "bleu_4_vividmed": 1 / 2,
  });
  assertAlmostEquals(metrics.bleu_1.value, 4 / 6, 1e-8);
  assertAlmostEquals(metrics.bleu_2.value, Math.sqrt(4 / 6 * 3 / 4), 1e-8);
  assertAlmostEquals(metrics.bleu_2_litegpt.value, Math.sqrt(4 / 6 * 3 / 4), 1e-12);
  assertAlmostEquals(metrics.cider.value, 5, 1e-9);
});

Deno.test("the worst and the best cases, none of them twice", async () => {
  const lines = [0, 1, 0, 1, 1].map((right, index) =>
    question(`${index}`, right === 1 ? "yes" : "maybe", "yes")
  );
  const ids = async (cases: number) => {
    const { worst, best } = (await scoredLines(lines, { cases })).get("vqa")!.cases;
    return [worst, best].map((list) => list.map(({ prediction }) => prediction.id));
  };
  assertEquals(await ids(2), [["0", "2"], ["4", "3"]]);
  assertEquals(await ids(10), [["0", "2"], ["4", "3", "1"]]);
  assertEquals(await ids(0), [[], []]);
});

Deno.test("the order of the lines changes no number", async () => {
  const corner = fc.integer({ min: 0, max: 9 });
  const box = fc.tuple(corner, corner, fc.integer({ min: 1, max: 9 })).map(([x, y, side]) => ({
    label: side % 2 === 0 ? "even" : "odd",
    box: [x, y, x + side, y + side],
  }));
  const line = fc.record({
    boxes: fc.array(box, { maxLength: 2 }),
    reference: fc.record({ boxes: fc.array(box, { minLength: 1, maxLength: 3 }) }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(line, { minLength: 2, maxLength: 6 }), async (lines) => {
      const named = lines.map((one, id) => ({ ...one, id: `${id}`, task: "ground-box" }));
      const forward = valuesOf((await scoresOf(named)).metrics);
      const backward = valuesOf((await scoresOf(named.toReversed())).metrics);
      almost(forward, backward);
      assertEquals(Object.keys(forward).sort(), Object.keys(backward).sort());
    }),
    { numRuns: 20 },
  );
});
