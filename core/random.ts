/**
 * Counter-based random numbers on the host: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011). The kernels in `kernels/random.ts` draw the same bits.
 *
 * @module
 */

/** Four words. */
export type Words = readonly [number, number, number, number];

/** High 32 bits of the product of two words. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff, aHigh = a >>> 16, bLow = b & 0xffff, bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const other = aLow * bHigh + (middle % 65536);
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(other / 65536)) >>> 0;
}

/** Ten rounds of Philox on a counter of four words under a key of two. */
export function philox4x32([a, b, c, d]: Words, [k, l]: readonly [number, number]): Words {
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, a), low0 = Math.imul(0xd2511f53, a) >>> 0;
    const high1 = multiplyHigh(0xcd9e8d57, c), low1 = Math.imul(0xcd9e8d57, c) >>> 0;
    [a, b, c, d] = [(high1 ^ b ^ k) >>> 0, low1, (high0 ^ d ^ l) >>> 0, low0];
    k = (k + 0x9e3779b9) >>> 0;
    l = (l + 0xbb67ae85) >>> 0;
  }
  return [a >>> 0, b >>> 0, c >>> 0, d >>> 0];
}

/** A word as a number strictly between 0 and 1, exact in float32 (23 bits and a half). */
export function uniformOf(word: number): number {
  return ((word >>> 9) + 0.5) * 2 ** -23;
}

/** The two words of a seed: a whole number from 0 to 2^53 - 1. @throws {RangeError} for other numbers. */
export function seedWords(seed: number): readonly [number, number] {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`Cannot use the seed ${seed}: expected a whole number from 0 to 2^53 - 1`);
  }
  return [seed >>> 0, Math.floor(seed / 2 ** 32)];
}
