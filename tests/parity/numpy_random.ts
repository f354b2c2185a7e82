/**
 * Whole numbers as numpy's `RandomState` draws them: the Mersenne twister (Matsumoto and Nishimura, 1998), to repeat a
 * reference whose confidence intervals come from it.
 *
 * @module
 */

/** numpy's `RandomState(seed)`, for whole numbers below 2^32. */
export class NumpyRandom {
  readonly #state = new Uint32Array(624);
  #at = 624;

  constructor(seed: number) {
    this.#state[0] = seed;
    for (let i = 1; i < 624; i++) {
      const before = this.#state[i - 1] ^ (this.#state[i - 1] >>> 30);
      this.#state[i] = Math.imul(1812433253, before) + i;
    }
  }

  #word(): number {
    if (this.#at === 624) this.#refill();
    let word = this.#state[this.#at++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  #refill(): void {
    const state = this.#state;
    for (let i = 0; i < 624; i++) {
      const joined = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
      state[i] = state[(i + 397) % 624] ^ (joined >>> 1) ^ ((joined & 1) * 0x9908b0df);
    }
    this.#at = 0;
  }

  /** `count` draws from 0 to `size - 1`: masked words, those that are too large thrown away. */
  choices(size: number, count: number): number[] {
    if (size === 1) return new Array<number>(count).fill(0);
    const mask = 2 ** Math.ceil(Math.log2(size)) - 1;
    return Array.from({ length: count }, () => {
      let value = (this.#word() & mask) >>> 0;
      while (value >= size) value = (this.#word() & mask) >>> 0;
      return value;
    });
  }
}
