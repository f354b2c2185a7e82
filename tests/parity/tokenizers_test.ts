import { assertEquals } from "@std/assert";
import { Report } from "./harness.ts";
import { findTokenizerCases } from "./tokenizers.ts";

Deno.test("tokenizer reference cases", async (t) => {
  const dir = new URL("../golden/tokenizers", import.meta.url).pathname;
  const cases = await findTokenizerCases(dir);
  assertEquals(cases.length, 12);
  for (const one of cases) {
    await t.step(one.name, async () => {
      const report = new Report();
      await one.run(report);
      assertEquals(report.comparisons.filter((comparison) => !comparison.ok), []);
      assertEquals(report.ok, true);
    });
  }
});
