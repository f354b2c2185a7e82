import { assertEquals } from "@std/assert";
import { deviceTest } from "../../core/kernels/kernel_testing.ts";
import { Report } from "./harness.ts";
import { runMoeLayer } from "./medplib_moe.ts";

const golden = new URL("../golden/medplib/moe-layer", import.meta.url).pathname;

deviceTest("medplib/moe-layer agrees with DeepSpeed", async (device) => {
  const report = new Report();
  await runMoeLayer(golden, report, device);
  assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
  // Twelve variants with ten values each, and gradients of the input, the router and three matrices per expert.
  assertEquals(report.comparisons.length, 12 * (10 + 2) + 9 * 6 + 3 * 12);
});
