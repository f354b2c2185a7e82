/**
 * Draws by shares and by groups, and batches of lessons by both.
 *
 * @module
 */
import type { Random } from "../phantoms/random.ts";
import { type BalancedKind, poolBalance } from "./balance.ts";
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

/** A picture with everything that is said about it. */
interface Taught<K, L> {
  readonly lessons: ReadonlyMap<K, readonly L[]>;
}

/** A few tokens, a box or the like, sentences. */
export type AnswerLength = "short" | "middle" | "long";

/** How a batch is drawn. */
export interface BatchDraw<K extends string, L> {
  /** Kinds of lesson with their shares. */
  readonly mix: Readonly<Partial<Record<K, number>>>;
  /**
   * How long the answers of a kind are. Only kinds of one length share a batch: others would be padded to the longest, and of a loss
   * that is the mean over tokens a short answer would have next to nothing.
   */
  readonly lengthOf: (kind: K) => AnswerLength;
  /** How many pictures. */
  readonly pictures: number;
  /** Most lessons about a picture; of those with long answers it has one. */
  readonly each: number;
  /** One of a picture's lessons of a kind. */
  readonly pick: (some: readonly L[], kind: K) => L;
  /** A kind whose lessons, and pictures by what they have of it, are drawn in balance when it is in the mix. */
  readonly balanced?: BalancedKind<K, L>;
}

/**
 * Pictures with different lessons by their shares, all with answers of one length. A kind that a picture lacks leaves its share to
 * the others.
 *
 * @throws {RangeError} when hardly any picture has one of the kinds.
 */
export function drawBatch<K extends string, L, P extends Taught<K, L>>(
  pool: Pool<P>,
  { mix, lengthOf, pictures, each, pick, balanced }: BatchDraw<K, L>,
  random: Random,
): { readonly picture: P; readonly lessons: readonly L[] }[] {
  const all = Object.entries(mix) as [K, number][];
  const length = lengthOf(drawKind(all, random)), most = length === "long" ? 1 : each;
  const alike = all.filter(([kind]) => lengthOf(kind) === length);
  const balance = balanced !== undefined && mix[balanced.kind] !== undefined
    ? poolBalance(pool, balanced)
    : undefined;
  return Array.from({ length: pictures }, () => {
    for (let tries = 0; tries < 1000; tries++) {
      const picture = pool.at(random.whole(0, pool.size - 1));
      const own = alike.filter(([kind]) => picture.lessons.has(kind));
      if (own.length === 0 || balance?.takes(picture, random) === false) continue;
      const chosen = new Set<L>();
      for (let n = 0; chosen.size < most && n < 4 * most; n++) {
        const kind = drawKind(own, random);
        const some = picture.lessons.get(kind)!;
        const even = balance !== undefined && balance.kind === kind;
        chosen.add(even ? balance.pick(some, random) : pick(some, kind));
      }
      return { picture, lessons: [...chosen] };
    }
    const kinds = alike.map(([kind]) => kind).join(", ");
    throw new RangeError(`Cannot find a lesson of kind ${kinds} in ${pool.size} pictures`);
  });
}
