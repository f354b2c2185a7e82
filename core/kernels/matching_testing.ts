/**
 * What the tests of matching share.
 *
 * @module
 */

/** The least total over all complete assignments, by trying them all: for up to 8 on the smaller side. */
export function leastTotal(costs: ArrayLike<number>, rows: number, columns: number): number {
  const small = Math.min(rows, columns), large = Math.max(rows, columns);
  const cost = (i: number, j: number) =>
    rows <= columns ? costs[i * columns + j]! : costs[j * columns + i]!;
  const taken = new Array<boolean>(large).fill(false);
  const from = (i: number): number => {
    if (i === small) return 0;
    let least = Infinity;
    for (let j = 0; j < large; j++) {
      if (taken[j]) continue;
      taken[j] = true;
      least = Math.min(least, cost(i, j) + from(i + 1));
      taken[j] = false;
    }
    return least;
  };
  return from(0);
}
