import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InputError } from "../errors.ts";
import { bootstrap, bootstrapEach, quantile } from "./bootstrap.ts";
import { classMean, groupedMeans, groupedMeansMetric, mean, weightedClassMean } from "./means.ts";
import { roundHalfEven } from "./python_text.ts";

const names = ["Pna", "Ptx", "Cons", "Atel", "Edema", "Cardio", "Opac", "Eff"];
const row = (values: readonly (number | undefined)[]) =>
  Object.fromEntries(names.map((name, i) => [name, values[i]]));

Deno.test("the printed means of PFMVG's tables 1 to 4", () => {
  const printed: [values: (number | undefined)[], mean: number][] = [
    [[.425, .106, .386, .388, .294, .33, .325, .368], .328],
    [[.297, .091, .265, .323, .327, .395, .197, .216], .264],
    [[.446, .303, .343, .395, .286, .592, .28, .374], .377],
    [[.576, .163, .538, .538, .433, .485, .468, .525], .466],
    [[.584, .43, .489, .543, .401, .736, .405, .519], .513],
    // A class without a valid output counts as 0.
    [[.049, undefined, undefined, undefined, undefined, 0, undefined, 0], .006],
    [[.094, undefined, undefined, undefined, undefined, 0, undefined, 0], .012],
  ];
  for (const [values, expected] of printed) {
    assertEquals(roundHalfEven(classMean(row(values)), 3), expected);
  }
});

Deno.test("the printed weighted means of PFMVG's baselines, with the counts of the whole data set", () => {
  const counts = row([182, 245, 117, 61, 46, 333, 82, 96]) as Record<string, number>;
  const weighted = (values: number[]) => roundHalfEven(weightedClassMean(row(values), counts), 3);
  assertEquals(weighted([.425, .106, .386, .388, .294, .33, .325, .368]), .308);
  assertEquals(weighted([.297, .091, .265, .323, .327, .395, .197, .216]), .267);
  assertEquals(weighted([.328, .137, .297, .275, .213, .406, .188, .224]), .281);
  assertEquals(weighted([.29, .116, .304, .303, .201, .408, .197, .33]), .282);
  const answered = weightedClassMean({ a: 1, b: undefined }, { a: 1, b: 3 }, "answered");
  assertEquals([answered, weightedClassMean({ a: 1, b: undefined }, { a: 1, b: 3 })], [1, 0.25]);
});

Deno.test("MedPLIB's printed means over columns", () => {
  const omniMedVqa = [62.7, 66.97, 75.05, 51.47, 64.4, 60.25, 65.04, 38.75];
  assertEquals(roundHalfEven(mean(omniMedVqa), 2), 60.58);
  assertEquals(roundHalfEven(mean([79.90, 59.83, 64.59]), 2), 68.11);
});

const samples = fc.array(
  fc.record({
    score: fc.option(fc.integer({ min: 0, max: 100 }), { nil: undefined }),
    group: fc.constantFrom("a", "b", "c"),
  }),
  { minLength: 1, maxLength: 40 },
);

Deno.test("the mean over samples is the class means weighted by their counts", () => {
  fc.assert(fc.property(samples, (all) => {
    const result = groupedMeans(all);
    const perClass = Object.fromEntries(
      Object.entries(result.groups).map(([name, one]) => [name, one.mean]),
    );
    const counts = Object.fromEntries(
      Object.entries(result.groups).map(([name, one]) => [name, one.count]),
    );
    assertAlmostEquals(result.mean, weightedClassMean(perClass, counts), 1e-9);
    assertAlmostEquals(result.classMean, classMean(perClass), 1e-9);
  }));
});

Deno.test("a seed gives one interval, and it lies around the estimate's neighbourhood", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 30 }),
      fc.nat(),
      (values, seed) => {
        const one = bootstrap(values, mean, { seed, resamples: 50 });
        assertEquals(one, bootstrap(values, mean, { seed, resamples: 50 }));
        assert(one.low <= one.high);
        assert(one.low >= Math.min(...values) && one.high <= Math.max(...values));
        assertEquals(one.estimate, mean(values));
      },
    ),
    { numRuns: 30 },
  );
});

Deno.test("several statistics at once have the intervals they have alone", () => {
  const values = [3, 1, 4, 1, 5, 9, 2, 6];
  const largest = (sample: readonly number[]) => Math.max(...sample);
  const options = { seed: 11, resamples: 200 };
  assertEquals(bootstrapEach(values, (sample) => [mean(sample), largest(sample)], options), [
    bootstrap(values, mean, options),
    bootstrap(values, largest, options),
  ]);
});

Deno.test("a bootstrap interval of a mean is as wide as theory has it", () => {
  const values = Array.from({ length: 400 }, (_, i) => i % 2);
  const { low, high } = bootstrap(values, mean, { seed: 7, resamples: 2000 });
  // 1.96 standard errors of a fair coin thrown 400 times.
  assertAlmostEquals(low, 0.5 - 1.96 * 0.025, 0.006);
  assertAlmostEquals(high, 0.5 + 1.96 * 0.025, 0.006);
});

Deno.test("resamples without a value are left out, and unusable requests are refused", () => {
  const metric = groupedMeansMetric().add({ score: 1, group: "a" }).add({ score: 0, group: "b" });
  const interval = metric.interval((one) => one.groups.a?.mean ?? NaN, { seed: 1, resamples: 100 });
  assert(interval.defined < 100 && interval.defined > 50);
  assertEquals([interval.low, interval.high], [1, 1]);
  assertThrows(() => bootstrap([], mean, { seed: 1 }), InputError);
  assertThrows(() => bootstrap([1], mean, { seed: 1, resamples: 0 }), InputError);
  assertThrows(() => bootstrap([1], mean, { seed: -1 }), RangeError);
});

Deno.test("quantiles and rounding as numpy and Python do them", () => {
  assertEquals(quantile([1, 2, 3, 10], 0.5), 2.5);
  assertEquals(quantile([1, 2, 3, 10], 1), 10);
  assertEquals([0.5, 1.5, 2.5, -0.5].map((value) => roundHalfEven(value)), [0, 2, 2, -0]);
  assertEquals([0.125, 0.375, 2.675, 61.115].map((value) => roundHalfEven(value, 2)), [
    0.12,
    0.38,
    2.67,
    61.12,
  ]);
});
