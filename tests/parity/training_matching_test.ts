import { assertEquals } from "@std/assert";
import { deviceTest } from "../../core/kernels/kernel_testing.ts";
import { Report } from "./harness.ts";
import { matchingKinds } from "./training_matching.ts";
import { runMatchingLoss } from "./vividmed_losses.ts";

const golden = new URL("../golden", import.meta.url).pathname;

/** Values and gradients compared per kind. */
const compared: Readonly<Record<string, number>> = {
  hungarian: 254,
  "instance_matching_vividmed": 59,
};

for (const [kind, count] of Object.entries(compared)) {
  deviceTest(`training/${kind} agrees with scipy and VividMed`, async (device) => {
    const report = new Report();
    await matchingKinds[kind]!(`${golden}/training/${kind}`, report, device);
    assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
    assertEquals(report.comparisons.length, count);
  });
}

deviceTest("vividmed/matching-loss agrees with VividMed", async (device) => {
  const report = new Report();
  await runMatchingLoss(`${golden}/vividmed/matching-loss`, report, device);
  assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
  assertEquals(report.comparisons.length, 96);
});
