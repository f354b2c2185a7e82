import { assertEquals } from "@std/assert";
import { deviceTest } from "../../core/kernels/kernel_testing.ts";
import { Report } from "./harness.ts";
import { runMoeLayer } from "./medplib_moe.ts";

const golden = new URL("../golden/medplib/moe-layer", import.meta.url).pathname;

deviceTest("medplib/moe-layer agrees with DeepSpeed", async (device) => {
  const report = new Report();
  await runMoeLayer(golden, report, device);
  assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
  // Twelve variants with nine values each.
  assertEquals(report.comparisons.length, 108);
});
