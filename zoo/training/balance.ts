/**
 * Draws under which what is asked, without a look at the picture, tells nothing. Most findings are absent: drawn as they come, the
 * question alone would answer itself more often than not, and that is what a model learns first.
 *
 * @module
 */
import type { Random } from "../phantoms/random.ts";
import type { Pool } from "./pool.ts";

/** A kind of lesson that is drawn in balance. */
export interface BalancedKind<K, L> {
  /** Which. */
  readonly kind: K;
  /** Question and answer of a lesson. */
  readonly key: (lesson: L) => string;
}

/** What is said about a picture. */
interface Taught<K, L> {
  readonly lessons: ReadonlyMap<K, readonly L[]>;
}

/**
 * Weights under which, over many pictures, no answer to a question is much more frequent than another, nor any question. A
 * lesson's weight is one over how many there are like it.
 */
export class Balance<K, L> {
  /** The kind of its lessons. */
  readonly kind: K;
  readonly #key: (lesson: L) => string;
  readonly #counts = new Map<string, number>();
  readonly #most: number;

  /** @param sample Pictures like those that will be drawn from. */
  constructor(sample: readonly Taught<K, L>[], { kind, key }: BalancedKind<K, L>) {
    this.kind = kind;
    this.#key = key;
    for (const lesson of sample.flatMap((picture) => this.#lessons(picture))) {
      this.#counts.set(key(lesson), (this.#counts.get(key(lesson)) ?? 0) + 1);
    }
    this.#most = Math.max(...sample.map((picture) => this.#total(picture)));
  }

  #lessons({ lessons }: Taught<K, L>): readonly L[] {
    return lessons.get(this.kind) ?? [];
  }

  #weight(lesson: L): number {
    return 1 / (this.#counts.get(this.#key(lesson)) ?? 1);
  }

  #total(picture: Taught<K, L>): number {
    return this.#lessons(picture).reduce((sum, lesson) => sum + this.#weight(lesson), 0);
  }

  /** Whether to take a picture: the more often, the more weight its lessons have. */
  takes(picture: Taught<K, L>, random: Random): boolean {
    return random.chance(Math.min(1, this.#total(picture) / this.#most));
  }

  /** One of a picture's lessons by their weights. @param some At least one. */
  pick(some: readonly L[], random: Random): L {
    const weights = some.map((lesson) => this.#weight(lesson));
    let left = random.uniform(0, weights.reduce((sum, weight) => sum + weight, 0));
    return some.find((_, n) => (left -= weights[n]!) < 0) ?? some.at(-1)!;
  }
}

/** Pictures that tell how frequent the lessons of a pool are. */
const sampled = 400;
const balances = new WeakMap<object, unknown>();

/** The balance of a pool, which has one such kind. */
export function poolBalance<K, L>(
  pool: Pool<Taught<K, L>>,
  balanced: BalancedKind<K, L>,
): Balance<K, L> {
  let known = balances.get(pool) as Balance<K, L> | undefined;
  if (known === undefined) {
    const sample = Array.from({ length: Math.min(pool.size, sampled) }, (_, n) => pool.at(n));
    known = new Balance(sample, balanced);
    balances.set(pool, known);
  }
  return known;
}
