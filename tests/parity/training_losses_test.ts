import { assertEquals } from "@std/assert";
import { deviceTest } from "../../core/kernels/kernel_testing.ts";
import { Report } from "./harness.ts";
import { lossKinds, runMaskLosses } from "./training_losses.ts";

const golden = new URL("../golden", import.meta.url).pathname;

/** Values and gradients compared per kind. */
const compared: Readonly<Record<string, number>> = {
  "cross_entropy": 26 * 2,
  "mask_losses_medplib": 15 * 9,
  "mask_losses_vividmed": 45 * 7,
  "focal_bce": 24 * 2,
  "box_losses": 10 * 5 + 10 * 8,
};

for (const [kind, count] of Object.entries(compared)) {
  deviceTest(`training/${kind} agrees with the official losses`, async (device) => {
    const report = new Report();
    await lossKinds[kind]!(`${golden}/training/${kind}`, report, device);
    assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
    assertEquals(report.comparisons.length, count);
  });
}

deviceTest("medplib/mask-losses agrees with MedPLIB's losses", async (device) => {
  const report = new Report();
  await runMaskLosses(`${golden}/medplib/mask-losses`, report, device);
  assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
  assertEquals(report.comparisons.length, 36);
});
