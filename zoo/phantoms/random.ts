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

  /** Uniform in (low, high). */
  uniform(low = 0, high = 1): number {
    if (this.#used === this.#words.length) {
      this.#words = philox4x32([this.#block++, 0, this.#stream, this.#purpose], this.#key);
      this.#used = 0;
    }
    return low + (high - low) * uniformOf(this.#words[this.#used++]);
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
    this.#lattice = Float32Array.from({ length: 4 ** bits }, () => random.uniform(-1, 1));
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
}
