import { assertEquals } from "@std/assert";
import { deviceTest } from "../../core/kernels/kernel_testing.ts";
import { Report } from "./harness.ts";
import { runMinigptTokenizer } from "./minigpt_host.ts";
import { runMinigptPipeline } from "./minigpt_pipeline.ts";

const folder = (name: string) => new URL(`../golden/minigpt-v2/${name}`, import.meta.url).pathname;

Deno.test("the family's tokenizer agrees with the official code", async () => {
  const report = new Report();
  await runMinigptTokenizer(folder("tokenizer"), report);
  assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
  assertEquals(report.comparisons.length, 85);
});

deviceTest("minigpt-v2/pipeline agrees with the official code", async (device) => {
  const report = new Report();
  await runMinigptPipeline(folder("pipeline"), report, device);
  assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
  assertEquals(report.comparisons.length, 27);
});
