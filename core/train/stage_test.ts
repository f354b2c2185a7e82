import { assertAlmostEquals, assertEquals } from "@std/assert";
import { learningRate } from "./schedules.ts";
import { stageSchedule } from "./stage.ts";

const lavis = { rate: 3e-5, minRate: 1e-5, warmupRate: 1e-6, warmupSteps: 3 };

Deno.test("the schedules of LAVIS: warm-up in steps, then every step or every epoch a little less", () => {
  const cosine = stageSchedule({ ...lavis, kind: "epochCosine" }, 20);
  const stairs = stageSchedule({ ...lavis, kind: "epochStaircase" }, 20, 4);
  for (const schedule of [cosine, stairs]) {
    assertEquals(learningRate(schedule, 0), 1e-6);
    assertAlmostEquals(learningRate(schedule, 2), 1e-6 + 2.9e-5 * 2 / 3, 1e-18);
  }
  assertAlmostEquals(learningRate(cosine, 10), 2e-5, 1e-18);
  assertAlmostEquals(learningRate(cosine, 20), 1e-5, 1e-18);
  assertEquals([5, 9, 10, 14].map((step) => learningRate(stairs, step).toFixed(8)), [
    "0.00002707",
    "0.00002707",
    "0.00002000",
    "0.00002000",
  ]);
});

Deno.test("a short stage warms up no longer than it lasts, and starts at the rate where none is given", () => {
  const short = stageSchedule({ kind: "epochCosine", rate: 1, warmupSteps: 1000 }, 10);
  assertEquals([0, 5, 9].map((step) => learningRate(short, step)), [1, 1, 1]);
  const warm = stageSchedule({ kind: "epochCosine", rate: 1, warmupRate: 0, warmupShare: 0.5 }, 10);
  assertEquals(learningRate(warm, 1), 0.2);
});
