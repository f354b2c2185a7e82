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
  #block = 0;
  #words: readonly number[] = [];

  /**
   * @param seed Whole number from 0 to 2^53 - 1.
   * @param stream 0 to 2^32 - 1, such as the number of a picture.
   */
  constructor(seed: number, stream: number) {
    this.#key = seedWords(seed);
    this.#stream = stream;
  }

  /** Uniform in (low, high). */
  uniform(low = 0, high = 1): number {
    if (this.#words.length === 0) {
      this.#words = philox4x32([this.#block++, 0, this.#stream, 0x7068], this.#key);
    }
    const [word, ...rest] = this.#words as [number, ...number[]];
    this.#words = rest;
    return low + (high - low) * uniformOf(word);
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

  /** Standard normal. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}

/** Smooth noise in [-1, 1] over the plane: bicubic-like interpolation of a lattice of draws, several octaves. */
export class Noise {
  readonly #lattice: Float32Array;
  readonly #side: number;

  constructor(random: Random, side = 32) {
    this.#side = side;
    this.#lattice = Float32Array.from({ length: side * side }, () => random.uniform(-1, 1));
  }

  #at(x: number, y: number): number {
    const side = this.#side;
    const left = Math.floor(x), top = Math.floor(y);
    const smooth = (t: number) => t * t * (3 - 2 * t);
    const u = smooth(x - left), v = smooth(y - top);
    const cell = (i: number, j: number) =>
      this.#lattice[((j % side + side) % side) * side + (i % side + side) % side]!;
    const upper = cell(left, top) * (1 - u) + cell(left + 1, top) * u;
    const lower = cell(left, top + 1) * (1 - u) + cell(left + 1, top + 1) * u;
    return upper * (1 - v) + lower * v;
  }

  /** Noise at a place of the unit square, with `frequency` cells across, halving in weight per octave. */
  value(x: number, y: number, frequency: number, octaves = 3): number {
    let sum = 0, weight = 0;
    for (let octave = 0, scale = 1; octave < octaves; octave++, scale /= 2) {
      const cells = frequency * 2 ** octave;
      sum += scale * this.#at(x * cells + 7.3 * octave, y * cells + 3.1 * octave);
      weight += scale;
    }
    return sum / weight;
  }
}
