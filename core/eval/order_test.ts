import { assertAlmostEquals } from "@std/assert";
import fc from "fast-check";
import { bleuCocoMetric, bleuHfMetric, bleuNltkMetric } from "./bleu.ts";
import { choiceMetric } from "./choice.ts";
import { ciderMetric } from "./cider.ts";
import { labelReportMetric } from "./classification.ts";
import { detectionMetric } from "./detection_map.ts";
import { validationIouMetric } from "./masks.ts";
import { meteorMetric } from "./meteor.ts";
import { rougeMetric } from "./rouge.ts";
import type { StreamingMetric } from "./streaming.ts";
import { medplibVqaMetric, pefomedVqaMetric } from "./vqa.ts";

const word = fc.constantFrom(
  "no",
  "effusion",
  "small",
  "left",
  "the",
  "heart",
  "is",
  "Normal.",
  "3",
);
const text = fc.array(word, { minLength: 1, maxLength: 8 }).map((words) => words.join(" "));

/** Every number anywhere in a result, in the order of sorted names. */
function numbers(result: unknown): number[] {
  if (typeof result === "number") return [result];
  if (typeof result !== "object" || result === null) return [];
  return Object.keys(result).sort().flatMap((key) =>
    // Values per sample follow the order of the samples.
    key === "perSample" ? [] : numbers((result as Record<string, unknown>)[key])
  );
}

/** The result does not depend on the order in which samples arrive. */
function isOrderless<Sample, Kept, Result>(
  name: string,
  sample: fc.Arbitrary<Sample>,
  make: () => StreamingMetric<Sample, Kept, Result>,
): void {
  Deno.test(`${name} does not depend on the order of the samples`, () => {
    const samples = fc.array(sample, { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(samples, fc.infiniteStream(fc.nat()), (all, keys) => {
        const shuffled = all.map((one) => ({ one, key: keys.next().value! }))
          .sort((a, b) => a.key - b.key).map(({ one }) => one);
        const results = [all, shuffled].map((list) => {
          const metric = make();
          for (const one of list) metric.add(one);
          return numbers(metric.result());
        });
        results[0].forEach((value, i) => {
          if (Number.isFinite(value)) assertAlmostEquals(results[1][i], value, 1e-9);
        });
      }),
      { numRuns: 40 },
    );
  });
}

const pair = fc.record({
  prediction: text,
  references: fc.array(text, { minLength: 1, maxLength: 2 }),
});
const single = fc.record({ prediction: text, reference: text });
const tokens = pair.map(({ prediction, references }) => ({
  prediction: prediction.split(" "),
  references: references.map((one) => one.split(" ")),
}));
const bits = fc.array(fc.constantFrom(0, 1), { minLength: 6, maxLength: 6 });

isOrderless("BLEU of Hugging Face", pair, () => bleuHfMetric());
isOrderless("BLEU of NLTK", tokens, () => bleuNltkMetric());
isOrderless("BLEU of COCO", tokens, bleuCocoMetric);
isOrderless("ROUGE", single, () => rougeMetric());
isOrderless("METEOR", pair, () => meteorMetric());
isOrderless("CIDEr", pair, ciderMetric);
isOrderless(
  "a label report",
  fc.record({ prediction: bits, truth: bits }),
  () => labelReportMetric(["a", "b", "c", "d", "e", "f"]),
);
isOrderless("validation IoU", fc.record({ prediction: bits, truth: bits }), validationIouMetric);
isOrderless(
  "MedPLIB's scores",
  fc.record({
    prediction: text,
    reference: text,
    answerType: fc.constantFrom("open", "CLOSED", "yes/no", "number"),
  }),
  medplibVqaMetric,
);
isOrderless(
  "PeFoMed's accuracy",
  fc.record({
    prediction: text,
    reference: text,
    questionType: fc.constantFrom("SIZE", "ABN"),
    answerType: fc.constantFrom("OPEN", "CLOSED"),
  }),
  pefomedVqaMetric,
);
isOrderless(
  "accuracy of choices",
  fc.record({
    prediction: text,
    reference: fc.constantFrom("no effusion", "Normal."),
    options: fc.constant(["no effusion", "Normal.", "small heart"]),
    modality: fc.constantFrom("CT", "MR"),
  }),
  choiceMetric,
);
const box = fc.tuple(
  fc.nat(20),
  fc.nat(20),
  fc.integer({ min: 1, max: 20 }),
  fc.integer({ min: 1, max: 20 }),
)
  .map(([x, y, w, h]) => [x, y, x + w, y + h]);
const label = fc.constantFrom("nodule", "mass");
let rank = 0;
isOrderless(
  "mean average precision",
  fc.record({
    // Equal scores would be ranked by arrival, as in the reference.
    predictions: fc.array(
      fc.record({ box, label }).map((one) => ({ ...one, score: ++rank % 100003 })),
      {
        maxLength: 4,
      },
    ),
    truths: fc.array(fc.record({ box, label }), { maxLength: 4 }),
  }),
  () => detectionMetric(),
);
