import { assertEquals } from "@std/assert";
import { Report } from "./harness.ts";
import { runMaskPostprocess, runMedplibPreprocess } from "./medplib_preprocess.ts";

const folder = (name: string) => new URL(`../golden/medplib/${name}`, import.meta.url).pathname;

for (
  const [name, run, comparisons] of [
    ["preprocess", runMedplibPreprocess, 20],
    ["mask-postprocess", runMaskPostprocess, 36],
  ] as const
) {
  Deno.test(`MedPLIB ${name} agrees with the official code`, async () => {
    const report = new Report();
    await run(folder(name), report);
    assertEquals(report.comparisons.filter((one) => !one.ok), []);
    assertEquals(report.comparisons.length, comparisons);
  });
}
