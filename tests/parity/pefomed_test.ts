import { assertEquals } from "@std/assert";
import { Report } from "./harness.ts";
import { pefomedTextKinds } from "./pefomed_texts.ts";

/** Values compared per kind. */
const compared: Readonly<Record<string, number>> = {
  "gpt-judge": 35,
  "report-metrics": 8,
  "text-and-data": 43,
  "train-augment": 8,
  "vqa-eval": 40,
};

for (const [kind, count] of Object.entries(compared)) {
  Deno.test(`pefomed/${kind} agrees with the official code`, async () => {
    const report = new Report();
    const folder = new URL(`../golden/pefomed/${kind}`, import.meta.url).pathname;
    await pefomedTextKinds[kind]!(folder, report);
    assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
    assertEquals(report.comparisons.length, count);
  });
}
