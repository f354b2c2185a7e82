import { assertEquals } from "@std/assert";
import { deviceTest } from "../../core/kernels/kernel_testing.ts";
import { Report } from "./harness.ts";
import { runLlmMoe } from "./medplib_decoder.ts";
import { runPipeline } from "./medplib_pipeline.ts";

const golden = new URL("../golden/medplib", import.meta.url).pathname;

const cases = { "llm-moe": runLlmMoe, "pipeline-region": runPipeline, "pipeline-seg": runPipeline };

for (const [name, run] of Object.entries(cases)) {
  deviceTest(`medplib/${name} agrees with the official code`, async (device) => {
    const report = new Report();
    await run(`${golden}/${name}`, report, device);
    assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
    assertEquals(report.ok, true);
  });
}
