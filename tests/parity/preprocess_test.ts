import { assertEquals } from "@std/assert";
import { Report } from "./harness.ts";
import { findPreprocessCases } from "./preprocess.ts";

Deno.test("every resampling case agrees with Pillow and PyTorch", async () => {
  const cases = await findPreprocessCases(
    new URL("../golden/preprocess", import.meta.url).pathname,
  );
  assertEquals(cases.map((one) => one.name), [
    "preprocess/resample/pillow.resize/nearest",
    "preprocess/resample/pillow.resize/bilinear",
    "preprocess/resample/pillow.resize/bicubic",
    "preprocess/resample/pillow.resize/lanczos",
    "preprocess/resample/torch.interpolate/bicubic",
    "preprocess/resample/torch.interpolate/bilinear",
    "preprocess/resample/torch.interpolate/nearest",
    "preprocess/resample/torch.interpolate/trilinear",
    "preprocess/resample/torch.interpolate/area",
    "preprocess/resample/torch.interpolate/bilinear/antialias",
    "preprocess/resample/torch.interpolate/bicubic/antialias",
    "preprocess/resample/torch.adaptive_avg_pool",
  ]);
  const failed: string[] = [];
  for (const { name, run } of cases) {
    const report = new Report();
    await run(report);
    if (!report.ok) {
      failed.push(`${name}: ${JSON.stringify(report.comparisons.filter((one) => !one.ok))}`);
    }
  }
  assertEquals(failed, []);
});
