/**
 * Prepared training data that is drawn from again and again: made when first wanted, then kept.
 *
 * @module
 */
import { type ChestPhantom, chestPhantom, type Prevalence, splitIndex } from "../phantoms/mod.ts";
import { Random } from "../phantoms/random.ts";

/** A fixed number of entries, each made once. */
export class Pool<T> {
  readonly #entries: (T | undefined)[];
  readonly #make: (n: number) => T;

  /**
   * @param size Entries, at least 1: what they hold stays in memory.
   * @param make Makes entry n; the same one for the same n.
   */
  constructor(size: number, make: (n: number) => T) {
    if (!Number.isSafeInteger(size) || size < 1) {
      throw new RangeError(`Cannot draw from a pool of ${size} entries: expected at least 1`);
    }
    this.#entries = Array.from({ length: size });
    this.#make = make;
  }

  /** Number of entries. */
  get size(): number {
    return this.#entries.length;
  }

  /** Entry n, from 0 on. */
  at(n: number): T {
    return this.#entries[n] ??= this.#make(n);
  }

  /** So many entries, all different as long as there are enough. */
  draw(random: Random, count: number): T[] {
    const chosen = new Set<number>();
    const drawn: T[] = [];
    while (drawn.length < count) {
      const n = random.whole(0, this.size - 1);
      if (chosen.has(n)) continue;
      chosen.add(n);
      drawn.push(this.at(n));
      if (chosen.size === this.size) chosen.clear();
    }
    return drawn;
  }
}

/** Which chest phantoms make a pool. */
export interface PhantomSource {
  /** Side of the pictures in pixels. */
  readonly size: number;
  /** Seed of the pictures. */
  readonly seed: number;
  /** How many. */
  readonly count: number;
  /** Part they are from. Default `train`. */
  readonly split?: "train" | "validate" | "test";
  /** Default: that of {@linkcode chestPhantom}. */
  readonly prevalence?: Prevalence;
}

/** A pool of what `prepare` keeps of each phantom. */
export function phantomPool<T>(
  { size, seed, count, split = "train", prevalence }: PhantomSource,
  prepare: (phantom: ChestPhantom) => T,
): Pool<T> {
  return new Pool(count, (n) =>
    prepare(chestPhantom({
      size,
      seed,
      index: splitIndex(split, n),
      ...(prevalence === undefined ? {} : { prevalence }),
    })));
}

/** The draws of a training step; those for other purposes are independent. */
export function stepRandom(seed: number, step: number, purpose: number): Random {
  return new Random(seed, step, purpose);
}
