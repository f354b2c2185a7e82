/**
 * Which phantoms are for training and which are held out.
 *
 * @module
 */

/** Part of a collection of phantoms. */
export type Split = "train" | "validate" | "test";

/** First index of each part; each has 2^30 of them. */
const STARTS: Readonly<Record<Split, number>> = { train: 0, validate: 2 ** 30, test: 2 ** 31 };

/**
 * Index of the phantom that is number `n` of a part. Parts have no index in common, whatever the seed.
 *
 * @param n Whole number from 0 to 2^30 - 1.
 * @throws {RangeError} for other numbers.
 */
export function splitIndex(split: Split, n: number): number {
  if (!Number.isInteger(n) || n < 0 || n >= 2 ** 30) {
    throw new RangeError(`Cannot draw phantom ${n} of a part: expected a whole number below 2^30`);
  }
  return STARTS[split] + n;
}

/**
 * How many of `count` phantoms belong to each part: a tenth to validate, two tenths to test, the rest to train. What would
 * belong to a part that is not wanted goes to the first that is, and all to train when none is.
 */
export function splitCounts(
  count: number,
  parts: readonly Split[] = ["train", "validate", "test"],
): Readonly<Record<Split, number>> {
  const rest = parts[0] ?? "train";
  const counts = { train: 0, validate: 0, test: 0 };
  if (parts.includes("validate")) counts.validate = Math.round(0.1 * count);
  if (parts.includes("test")) counts.test = Math.round(0.2 * count);
  counts[rest] = 0;
  counts[rest] = count - counts.train - counts.validate - counts.test;
  return counts;
}
