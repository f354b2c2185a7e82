import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { splitPatients } from "./split.ts";

const names = (count: number) => Array.from({ length: count }, (_, index) => `p${index}`);

function sizes(patients: string[], seed: number): number[] {
  const parts = [...splitPatients(patients, seed).values()];
  return ["train", "validate", "test"].map((part) => parts.filter((one) => one === part).length);
}

Deno.test("seven, one and two of ten patients", () => {
  assertEquals(sizes(names(10), 0), [7, 1, 2]);
  assertEquals(sizes(names(851), 5), [596, 85, 170]);
  assertEquals(sizes([], 5), [0, 0, 0]);
  assertEquals(sizes(["a"], 5), [1, 0, 0]);
});

Deno.test("the parts depend on the patients and the seed alone", () => {
  fc.assert(fc.property(
    fc.uniqueArray(fc.string(), { maxLength: 60 }),
    fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
    (patients, seed) => {
      const parts = splitPatients(patients, seed);
      const again = splitPatients([...patients].reverse().flatMap((one) => [one, one]), seed);
      assertEquals([...again].sort(), [...parts].sort());
      assertEquals(parts.size, patients.length);
    },
  ));
  assertNotEquals([...splitPatients(names(50), 1)], [...splitPatients(names(50), 2)]);
});

Deno.test("every patient reaches every part about as often as it should", () => {
  const counts = { train: 0, validate: 0, test: 0 };
  const draws = 2000;
  for (let seed = 0; seed < draws; seed++) counts[splitPatients(names(10), seed).get("p3")!]++;
  // Four standard deviations of a binomial draw.
  const near = (count: number, share: number) =>
    Math.abs(count / draws - share) < 4 * Math.sqrt(share * (1 - share) / draws);
  assert(near(counts.train, 0.7) && near(counts.validate, 0.1) && near(counts.test, 0.2));
});
