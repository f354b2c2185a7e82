import { assert, assertEquals } from "@std/assert";
import { Report } from "./harness.ts";
import { findMetricCases } from "./metrics.ts";

const golden = new URL("../golden/metrics", import.meta.url).pathname;

Deno.test("every metric agrees with its reference", async (context) => {
  const cases = await findMetricCases(golden);
  assert(cases.length >= 20);
  for (const { name, run } of cases) {
    await context.step(name, async () => {
      const report = new Report();
      await run(report);
      assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
      assert(report.ok);
    });
  }
});
