/**
 * Draws by shares.
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
