/**
 * Counting runs of tokens.
 *
 * @module
 */

/** How often every run of `order` tokens occurs. Tokens must not contain white space. */
export function ngramCounts(tokens: readonly string[], order: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + order <= tokens.length; i++) {
    const gram = tokens.slice(i, i + order).join(" ");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

/** Sum over the runs of one count table of the smaller of the two counts. */
export function clippedOverlap(
  counts: ReadonlyMap<string, number>,
  others: ReadonlyMap<string, number>,
): number {
  let shared = 0;
  for (const [gram, count] of counts) shared += Math.min(count, others.get(gram) ?? 0);
  return shared;
}

/** Per run, the largest count over several tables. */
export function largestCounts(tables: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const largest = new Map<string, number>();
  for (const table of tables) {
    for (const [gram, count] of table) largest.set(gram, Math.max(count, largest.get(gram) ?? 0));
  }
  return largest;
}
