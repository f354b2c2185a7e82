/**
 * Random parts for datasets that come without.
 *
 * @module
 */
import { philox4x32, seedWords, uniformOf } from "@medvlm/core/tensor";
import type { Split } from "./reader.ts";

/** Marks the draws of this module among those of the same seed. */
const STREAM = 0x73706c74;

/**
 * Divides patients at random into 70 % training, 10 % validation and 20 % test, as PFMVG does for MS-CXR. The result
 * depends on the set of patients and the seed only, not on their order. Sizes are rounded; the rest is for testing.
 *
 * @param seed Whole number from 0 to 2^53 - 1.
 */
export function splitPatients(patients: Iterable<string>, seed: number): Map<string, Split> {
  const order = [...new Set(patients)].sort();
  const key = seedWords(seed);
  for (let last = order.length - 1; last > 0; last--) {
    const [word] = philox4x32([last, 0, STREAM, 0], key);
    const other = Math.floor(uniformOf(word) * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  const train = Math.round(order.length * 0.7);
  const validate = train + Math.round(order.length * 0.1);
  return new Map(
    order.map((patient, index) => [
      patient,
      index < train ? "train" : index < validate ? "validate" : "test",
    ]),
  );
}
