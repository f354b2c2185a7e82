import { assertEquals } from "@std/assert";
import { findContainerCases } from "./containers.ts";
import { Report } from "./harness.ts";

Deno.test("every container case agrees with its reference", async () => {
  const dir = new URL("../golden/containers", import.meta.url).pathname;
  const cases = await findContainerCases(dir);
  assertEquals(cases.length, 71);
  const failed: string[] = [];
  for (const { name, run } of cases) {
    const report = new Report();
    await run(report);
    if (!report.ok) failed.push(`${name}: ${JSON.stringify(report.comparisons)}`);
  }
  assertEquals(failed, []);
});
