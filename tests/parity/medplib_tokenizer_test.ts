import { assert, assertEquals } from "@std/assert";
import { Report } from "./harness.ts";
import { runMedplibTokenizer } from "./medplib_tokenizer.ts";

Deno.test("MedPLIB tokenizer reference case", async () => {
  const report = new Report();
  await runMedplibTokenizer(
    new URL("../golden/medplib/tokenizer", import.meta.url).pathname,
    report,
  );
  assertEquals(report.comparisons.filter((comparison) => !comparison.ok), []);
  assert(report.comparisons.length > 80, `${report.comparisons.length} comparisons`);
});
