import { assert, assertEquals } from "@std/assert";
import { Report } from "./harness.ts";
import { findMetricCases } from "./metrics.ts";
import { NumpyRandom } from "./numpy_random.ts";

const golden = decodeURIComponent(new URL("../golden/metrics", import.meta.url).pathname);

Deno.test("every metric gives the reference's values", async () => {
  const cases = await findMetricCases(golden);
  assertEquals(cases.length, 27);
  for (const { name, run } of cases) {
    const report = new Report();
    await run(report);
    const failed = report.comparisons.filter(({ ok }) => !ok);
    assertEquals(failed, [], name);
    assert(report.ok, name);
  }
});

Deno.test("files may carry suffixes, and unknown metrics fail", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const cases = [{ word: "effusions", expected: "effus" }];
    await Deno.writeTextFile(`${dir}/porter_stemmer-seed7.json`, JSON.stringify({ cases }));
    await Deno.writeTextFile(`${dir}/unheard_of.json`, JSON.stringify({ cases }));
    const [known, unknown] = await findMetricCases(dir);
    const report = new Report();
    await known.run(report);
    assert(report.ok);
    assertEquals(unknown.name, "metrics/unheard_of");
    assertEquals(
      await Promise.resolve().then(() => unknown.run(report)).catch(() => "failed"),
      "failed",
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("the Mersenne twister draws what numpy draws", () => {
  assertEquals(new NumpyRandom(0).choices(48, 10), [44, 47, 0, 3, 3, 39, 9, 19, 21, 36]);
  assertEquals(new NumpyRandom(0).choices(2, 12), [0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0]);
});
