/**
 * Draws by shares, by groups and by weights, and batches of lessons by them.
 *
 * @module
 */
import type { Random } from "../phantoms/random.ts";
import type { Pool } from "./pool.ts";

/** One of some kinds, each as often as its share of all says. @param shares At least one, none negative. */
export function drawKind<K extends string>(
  shares: readonly (readonly [K, number])[],
  random: Random,
): K {
  let left = random.uniform(0, shares.reduce((sum, [, share]) => sum + share, 0));
  for (const [kind, share] of shares) {
    left -= share;
    if (left < 0) return kind;
  }
  return shares.at(-1)![0];
}

/** Those of some that are alike in something: every such group is as likely, whatever its size. */
export function pickAlike<T>(some: readonly T[], key: (one: T) => string, random: Random): T[] {
  return random.pick([...Map.groupBy(some, key).values()]);
}

/**
 * Draws under which, over many pictures, no answer to a question is much more frequent than another, nor any question: what is
 * asked, without a look at the picture, then tells nothing. A lesson's weight is one over how many there are like it.
 */
export class Balance<L> {
  readonly #key: (lesson: L) => string;
  readonly #counts = new Map<string, number>();
  readonly #most: number;

  /**
   * @param sample Lessons of some pictures, like those that will be drawn from.
   * @param key Question and answer of a lesson.
   */
  constructor(sample: readonly (readonly L[])[], key: (lesson: L) => string) {
    this.#key = key;
    for (const lesson of sample.flat()) {
      this.#counts.set(key(lesson), (this.#counts.get(key(lesson)) ?? 0) + 1);
    }
    this.#most = Math.max(...sample.map((lessons) => this.#total(lessons)));
  }

  #weight(lesson: L): number {
    return 1 / (this.#counts.get(this.#key(lesson)) ?? 1);
  }

  #total(lessons: readonly L[]): number {
    return lessons.reduce((sum, lesson) => sum + this.#weight(lesson), 0);
  }

  /** Whether to take a picture: the more often, the more weight its lessons have. */
  takes(lessons: readonly L[], random: Random): boolean {
    return random.chance(Math.min(1, this.#total(lessons) / this.#most));
  }

  /** One of a picture's lessons by their weights. @param some At least one. */
  pick(some: readonly L[], random: Random): L {
    const shares = some.map((lesson, n) => [String(n), this.#weight(lesson)] as const);
    return some[Number(drawKind(shares, random))]!;
  }
}

/** A picture with everything that is said about it. */
interface Taught<K, L> {
  readonly lessons: ReadonlyMap<K, readonly L[]>;
}

/** Pictures that tell how frequent the lessons of a pool are. */
const balanceSample = 400;
const balances = new WeakMap<object, Balance<unknown>>();

/**
 * The balance of a pool's lessons of one kind; a pool has one.
 *
 * @param key Question and answer of a lesson.
 */
export function poolBalance<K, L>(
  pool: Pool<Taught<K, L>>,
  kind: K,
  key: (lesson: L) => string,
): Balance<L> {
  let known = balances.get(pool) as Balance<L> | undefined;
  if (known === undefined) {
    const pictures = Array.from(
      { length: Math.min(pool.size, balanceSample) },
      (_, n) => pool.at(n),
    );
    known = new Balance(pictures.map(({ lessons }) => lessons.get(kind) ?? []), key);
    balances.set(pool, known as Balance<unknown>);
  }
  return known;
}

/** How a batch is drawn. */
export interface BatchDraw<K extends string, L> {
  /** Kinds of lesson with their shares. */
  readonly mix: Readonly<Partial<Record<K, number>>>;
  /** Kinds with long answers: they share no batch with others, which would be padded to their length. */
  readonly long: ReadonlySet<K>;
  /** How many pictures. */
  readonly pictures: number;
  /** Most lessons with short answers about a picture; of those with long answers it has one. */
  readonly each: number;
  /** One of a picture's lessons of a kind. */
  readonly pick: (some: readonly L[], kind: K) => L;
  /** Whether to take a picture that came up. Default: each. */
  readonly takes?: (lessons: ReadonlyMap<K, readonly L[]>) => boolean;
}

/**
 * Pictures with different lessons by their shares, all with short answers or all with a long one. A kind that a picture lacks leaves
 * its share to the others.
 *
 * @throws {RangeError} when hardly any picture has one of the kinds.
 */
export function drawBatch<K extends string, L, P extends Taught<K, L>>(
  pool: Pool<P>,
  { mix, long, pictures, each, pick, takes = () => true }: BatchDraw<K, L>,
  random: Random,
): { readonly picture: P; readonly lessons: readonly L[] }[] {
  const all = Object.entries(mix) as [K, number][];
  const isLong = long.has(drawKind(all, random)), most = isLong ? 1 : each;
  const alike = all.filter(([kind]) => long.has(kind) === isLong);
  return Array.from({ length: pictures }, () => {
    for (let tries = 0; tries < 1000; tries++) {
      const picture = pool.at(random.whole(0, pool.size - 1));
      const own = alike.filter(([kind]) => picture.lessons.has(kind));
      if (own.length === 0 || !takes(picture.lessons)) continue;
      const chosen = new Set<L>();
      for (let n = 0; chosen.size < most && n < 4 * most; n++) {
        const kind = drawKind(own, random);
        chosen.add(pick(picture.lessons.get(kind)!, kind));
      }
      return { picture, lessons: [...chosen] };
    }
    const kinds = alike.map(([kind]) => kind).join(", ");
    throw new RangeError(`Cannot find a lesson of kind ${kinds} in ${pool.size} pictures`);
  });
}
