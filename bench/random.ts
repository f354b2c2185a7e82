/**
 * Seeded inputs, the same for every contender.
 *
 * @module
 */

/**
 * Uniform numbers in [-1, 1), 24 bits each (xorshift32, Marsaglia 2003).
 *
 * @param seed A non-zero integer.
 */
export function uniforms(count: number, seed: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  let state = Math.imul(seed, 2654435761) | 1;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[i] = (state >> 8) / 2 ** 23;
  }
  return values;
}
