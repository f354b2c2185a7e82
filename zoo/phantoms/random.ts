/**
 * Seeded draws of the phantoms: the same seed gives the same pictures.
 *
 * @module
 */
import { philox4x32, seedWords, uniformOf } from "@medvlm/core/tensor";

/** A sequence of draws from Philox. Sequences of different streams are independent. */
export class Random {
  readonly #key: readonly [number, number];
  readonly #stream: number;
  readonly #purpose: number;
  #block = 0;
  #words: readonly number[] = [];
  #used = 0;
  #spare: number | undefined;

  /**
   * @param seed Whole number from 0 to 2^53 - 1.
   * @param stream 0 to 2^32 - 1, such as the number of a picture.
   * @param purpose 0 to 2^32 - 1: draws for another purpose are independent, such as those of a picture and its texts.
   */
  constructor(seed: number, stream: number, purpose = 0x7068) {
    this.#key = seedWords(seed);
    this.#stream = stream;
    this.#purpose = purpose;
  }

  /** 32 random bits. */
  #word(): number {
    if (this.#used === this.#words.length) {
      this.#words = philox4x32([this.#block++, 0, this.#stream, this.#purpose], this.#key);
      this.#used = 0;
    }
    return this.#words[this.#used++];
  }

  /** Uniform in (low, high). */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * uniformOf(this.#word());
  }

  /**
   * Many words of 32 random bits, for what needs one per pixel: a small fast counting generator (sfc32, in the public
   * domain by C. Doty-Humphrey) that starts from four draws.
   */
  words(count: number): Uint32Array {
    const words = new Uint32Array(count);
    let a = this.#word() | 0,
      b = this.#word() | 0,
      c = this.#word() | 0,
      counter = this.#word() | 0;
    // The first dozen rounds only mix the start.
    for (let n = -12; n < count; n++) {
      const sum = (a + b + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = ((c << 21) | (c >>> 11)) + sum | 0;
      if (n >= 0) words[n] = sum;
    }
    return words;
  }

  /** Many draws that are nearly standard normal: sums of four bytes, so that none is beyond 3.5. */
  normals(count: number): Float32Array {
    const values = new Float32Array(count), words = this.words(count);
    const deviation = Math.sqrt((256 ** 2 - 1) / 3);
    for (let n = 0; n < count; n++) {
      const word = words[n];
      const sum = (word & 255) + (word >>> 8 & 255) + (word >>> 16 & 255) + (word >>> 24);
      values[n] = (sum - 510) / deviation;
    }
    return values;
  }

  /** Whole number from low to high, both included. */
  whole(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }

  /** Whether an event of this probability happens. */
  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  /** One of the choices. */
  pick<T>(choices: readonly T[]): T {
    return choices[this.whole(0, choices.length - 1)]!;
  }

  /** The elements in a random order. */
  shuffled<T>(elements: Iterable<T>): T[] {
    const order = [...elements];
    for (let last = order.length - 1; last > 0; last--) {
      const other = this.whole(0, last);
      [order[last], order[other]] = [order[other], order[last]];
    }
    return order;
  }

  /** Standard normal. */
  normal(): number {
    if (this.#spare !== undefined) {
      const value = this.#spare;
      this.#spare = undefined;
      return value;
    }
    // Box and Muller's method gives two at a time.
    const radius = Math.sqrt(-2 * Math.log(this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}

/** Smooth noise in [-1, 1] over the plane: a lattice of draws, interpolated with zero slope at its points, in several octaves. */
export class Noise {
  readonly #lattice: Float32Array;
  readonly #bits: number;

  /** @param bits The lattice has `2 ** bits` points across and repeats after them. */
  constructor(random: Random, bits = 5) {
    this.#bits = bits;
    const words = random.words(4 ** bits);
    this.#lattice = new Float32Array(words.length);
    for (let n = 0; n < words.length; n++) this.#lattice[n] = 2 * uniformOf(words[n]) - 1;
  }

  #at(x: number, y: number): number {
    const bits = this.#bits, lattice = this.#lattice, last = 2 ** bits - 1;
    const left = Math.floor(x), top = Math.floor(y);
    const fx = x - left, fy = y - top;
    const u = fx * fx * (3 - 2 * fx), v = fy * fy * (3 - 2 * fy);
    const here = (top & last) << bits, below = ((top + 1) & last) << bits;
    const column = left & last, next = (left + 1) & last;
    const upper = lattice[here + column] * (1 - u) + lattice[here + next] * u;
    const lower = lattice[below + column] * (1 - u) + lattice[below + next] * u;
    return upper * (1 - v) + lower * v;
  }

  /** Noise at a place of the unit square, with `frequency` cells across, halving in weight per octave. */
  value(x: number, y: number, frequency: number, octaves = 3): number {
    let sum = 0, weight = 0;
    for (let octave = 0, scale = 1; octave < octaves; octave++, scale /= 2, frequency *= 2) {
      sum += scale * this.#at(x * frequency + 7.3 * octave, y * frequency + 3.1 * octave);
      weight += scale;
    }
    return sum / weight;
  }

  /**
   * The values at the pixels of a picture of `size` x `size`, row by row: those of {@linkcode value}, up to rounding,
   * in a fraction of the time.
   */
  map(size: number, frequency: number, octaves = 3): Float32Array {
    const out = new Float32Array(size * size);
    const bits = this.#bits, lattice = this.#lattice, last = 2 ** bits - 1;
    const columns = new Int32Array(size), weights = new Float32Array(size);
    let sum = 0;
    for (let octave = 0, scale = 1; octave < octaves; octave++, scale /= 2, frequency *= 2) {
      sum += scale;
      for (let k = 0; k < size; k++) {
        const x = (k + 0.5) / size * frequency + 7.3 * octave, left = Math.floor(x), f = x - left;
        columns[k] = left & last;
        weights[k] = f * f * (3 - 2 * f);
      }
      for (let j = 0, i = 0; j < size; j++) {
        const y = (j + 0.5) / size * frequency + 3.1 * octave, top = Math.floor(y), f = y - top;
        const v = f * f * (3 - 2 * f);
        const here = (top & last) << bits, below = ((top + 1) & last) << bits;
        for (let k = 0; k < size; k++, i++) {
          const u = weights[k], column = columns[k], next = (column + 1) & last;
          const upper = lattice[here + column] * (1 - u) + lattice[here + next] * u;
          const lower = lattice[below + column] * (1 - u) + lattice[below + next] * u;
          out[i] += scale * (upper * (1 - v) + lower * v);
        }
      }
    }
    for (let i = 0; i < out.length; i++) out[i] /= sum;
    return out;
  }
}
