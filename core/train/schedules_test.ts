import { assertAlmostEquals, assertEquals } from "@std/assert";
import { learningRate, type Schedule } from "./schedules.ts";

const rates = (schedule: Schedule, steps: number) =>
  Array.from({ length: steps }, (_, step) => learningRate(schedule, step));

function assertRates(schedule: Schedule, expected: readonly number[]): void {
  for (const [step, rate] of expected.entries()) {
    assertAlmostEquals(learningRate(schedule, step), rate, 1e-12);
  }
}

Deno.test("a warm-up longer than an epoch starts again, and the cosine takes no notice of it", () => {
  const schedule: Schedule = {
    kind: "epochs",
    decline: "cosine",
    epochs: 3,
    stepsPerEpoch: 4,
    rate: 1,
    minRate: 0,
    warmupSteps: 6,
    warmupRate: 0.4,
  };
  const cosine = (step: number) => 0.5 * (1 + Math.cos(Math.PI * step / 12));
  assertRates(schedule, [0.4, 0.5, 0.6, 0.7, 0.4, 0.5, cosine(6), cosine(7), cosine(8)]);
  assertEquals(learningRate({ ...schedule, warmupRate: -1 }, 0), 1);
});

Deno.test("the cosine per epoch takes no warm-up for a whole epoch of it", () => {
  const schedule: Schedule = {
    kind: "epochs",
    decline: "cosinePerEpoch",
    epochs: 2,
    stepsPerEpoch: 2,
    rate: 1,
    minRate: 0.5,
    warmupSteps: 0,
    warmupRate: 0,
  };
  assertRates(schedule, [0, 0.5, 0.75, 0.75]);
  assertRates({ ...schedule, warmupSteps: 1 }, [0, 1, 0.75, 0.75]);
});

Deno.test("powers of a factor stop at the least rate", () => {
  assertRates({
    kind: "epochs",
    decline: "powerPerEpoch",
    epochs: 4,
    stepsPerEpoch: 2,
    rate: 8,
    minRate: 3,
    warmupSteps: 1,
    warmupRate: 2,
    decay: 0.5,
  }, [2, 8, 4, 4, 3, 3, 3, 3]);
});

Deno.test("warm-up and line, warm-up and cosine", () => {
  const line: Schedule = { kind: "warmup", decline: "linear", rate: 1, warmupSteps: 2, steps: 6 };
  assertRates(line, [0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0]);
  assertRates({ ...line, decline: "cosine" }, [0, 0.5, 1, (2 + Math.SQRT2) / 4, 0.5]);
});

Deno.test("a scheduler that runs behind the optimiser leaves the first step alone", () => {
  const schedule: Schedule = {
    kind: "warmupDecay",
    warmup: "linear",
    rate: 3,
    warmupSteps: 3,
    steps: 5,
  };
  assertRates(schedule, [3, 0, 1, 2, 3, 1.5, 0, 0]);
  assertEquals(learningRate({ ...schedule, first: "minRate", minRate: 0.5 }, 0), 0.5);
  // The shortest warm-up has two steps.
  assertRates({ ...schedule, warmupSteps: 0 }, [3, 0, 1.5, 3]);
  assertRates({ ...schedule, warmup: "logarithmic" }, [3, 0, 3 * Math.log(2) / Math.log(3)]);
});

Deno.test("a cosine brought up to date now and then is a staircase that starts at the bottom", () => {
  const schedule: Schedule = {
    kind: "periodicCosine",
    rate: 1,
    warmupSteps: 4,
    steps: 8,
    every: 3,
  };
  const cosine = (t: number) => 0.5 * (1 + Math.cos(Math.PI * (t - 4) / 8));
  assertRates(schedule, [0, 0, 0, 1, 1, 1, cosine(7), cosine(7), cosine(7), cosine(10)]);
  assertRates({ ...schedule, every: 0 }, [0, 0.25, 0.5, 0.75, 1, cosine(5)]);
  assertEquals(rates({ ...schedule, warmupSteps: 0 }, 3), [1, 1, 1]);
  assertEquals(learningRate({ ...schedule, minRate: 0.25 }, 90), 0.25);
});

Deno.test("a constant stays", () => {
  assertEquals(rates({ kind: "constant", rate: 0.1 }, 2), [0.1, 0.1]);
});
