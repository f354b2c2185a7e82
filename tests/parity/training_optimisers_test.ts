import { assert, assertEquals } from "@std/assert";
import { deviceTest } from "../../core/kernels/kernel_testing.ts";
import { Report } from "./harness.ts";
import { adapterKinds } from "./training_adapters.ts";
import { optimiserKinds } from "./training_optimisers.ts";

const golden = decodeURIComponent(new URL("../golden/training", import.meta.url).pathname);

/** Comparisons of each kind in the cases at hand. */
const expected = { adamw: 78, "grad_clip": 76, schedules: 29, lora: 286 };

for (const [kind, run] of Object.entries({ ...optimiserKinds, ...adapterKinds })) {
  deviceTest(`training/${kind} agrees with the reference`, async (device) => {
    const report = new Report();
    await run(`${golden}/${kind}`, report, device);
    assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
    assert(report.ok);
    assertEquals(report.comparisons.length, expected[kind as keyof typeof expected]);
  });
}
