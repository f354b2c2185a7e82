import { assertEquals } from "@std/assert";
import { Report } from "./harness.ts";
import { runBoxCodec } from "./pfmvg_boxes.ts";

Deno.test("pfmvg/box-codec agrees with the official arithmetic and dataset class", async () => {
  const report = new Report();
  await runBoxCodec(new URL("../golden/pfmvg/box-codec", import.meta.url).pathname, report);
  assertEquals(report.comparisons.filter(({ ok }) => !ok), []);
  assertEquals(report.comparisons.length, 248);
});
