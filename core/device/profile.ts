/**
 * Sums of time, arithmetic and traffic per kernel.
 *
 * @module
 */
import type { Cost, ProfileRow } from "./device.ts";

/** Accumulates one row per kernel. */
export class ProfileTable {
  readonly #rows = new Map<
    string,
    { count: number; milliseconds: number; flops: number; bytes: number }
  >();

  add(name: string, milliseconds: number, cost: Cost | undefined): void {
    let row = this.#rows.get(name);
    if (row === undefined) {
      this.#rows.set(name, row = { count: 0, milliseconds: 0, flops: 0, bytes: 0 });
    }
    row.count++;
    row.milliseconds += milliseconds;
    row.flops += cost?.flops ?? 0;
    row.bytes += cost?.bytes ?? 0;
  }

  clear(): void {
    this.#rows.clear();
  }

  /** Rows sorted by time, slowest first. */
  rows(): ProfileRow[] {
    return [...this.#rows].map(([name, row]) => ({ name, ...row })).sort((a, b) =>
      b.milliseconds - a.milliseconds
    );
  }
}
