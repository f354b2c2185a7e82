/**
 * Draws by shares and by groups.
 *
 * @module
 */
import type { Random } from "../phantoms/random.ts";

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
