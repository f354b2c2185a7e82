/**
 * Where the rows of a batch lie whose samples share their beginnings, and which of them count.
 *
 * @module
 */

/** A sample behind its beginning. */
export interface Continuation {
  /** Where its rows come from: a token by its number, or -1 - n for row n of what follows the tokens. */
  readonly rows: readonly number[];
  /** Token ids that the rows stand for; negative where they do not count. */
  readonly labels: readonly number[];
}

/** A beginning and the samples that go on from it. */
export interface SharedStart {
  /** Where its rows come from, as in {@linkcode Continuation}. */
  readonly rows: readonly number[];
  /** The samples, at least one. */
  readonly continuations: readonly Continuation[];
}

/** A batch on the host. Row numbers count through the beginnings and then through [B, T]. */
export interface SharedLayout {
  /** Samples, B. */
  readonly size: number;
  /** Rows per sample behind its beginning, T. */
  readonly length: number;
  /** How many beginnings, rows of each, and the one of each sample [B]. */
  readonly prefixes: {
    readonly count: number;
    readonly rows: number;
    readonly of: Int32Array<ArrayBuffer>;
  };
  /** Where each row of the batch comes from: a token, then what follows the tokens. */
  readonly source: Int32Array<ArrayBuffer>;
  /** Rows in use of each sample [B], its beginning included. */
  readonly lengths: Uint32Array<ArrayBuffer>;
  /** Rows whose prediction counts, each before the row with the label. */
  readonly targetRows: Int32Array<ArrayBuffer>;
  /** Token ids beside `targetRows`. */
  readonly targets: Int32Array<ArrayBuffer>;
}

/**
 * Lays a batch out: all beginnings, then all samples with padding behind them.
 *
 * @param starts Beginnings, all as long.
 * @param tokens Number of tokens, behind which other rows follow.
 * @param pad The padding token's number among them.
 * @throws {RangeError} when beginnings differ in length, or when a first row behind one counts: the row before it is shared.
 */
export function sharedLayout(
  starts: readonly SharedStart[],
  tokens: number,
  pad: number,
): SharedLayout {
  const rows = starts[0]!.rows.length;
  if (starts.some((start) => start.rows.length !== rows)) {
    throw new RangeError("Cannot share beginnings of different lengths in a batch");
  }
  const samples = starts.flatMap(({ continuations }, g) =>
    continuations.map((one) => ({ ...one, g }))
  );
  const length = Math.max(...samples.map((one) => one.rows.length));
  const first = starts.length * rows;
  const source = new Int32Array(first + samples.length * length).fill(pad);
  const place = (some: readonly number[], at: number) =>
    source.set(some.map((row) => row >= 0 ? row : tokens - 1 - row), at);
  starts.forEach((start, g) => place(start.rows, g * rows));
  const targetRows: number[] = [], targets: number[] = [];
  samples.forEach(({ rows: own, labels }, b) => {
    const start = first + b * length;
    place(own, start);
    labels.forEach((label, i) => {
      if (label < 0) return;
      if (i === 0) throw new RangeError("Cannot share a beginning that an answer follows at once");
      targetRows.push(start + i - 1);
      targets.push(label);
    });
  });
  return {
    size: samples.length,
    length,
    prefixes: { count: starts.length, rows, of: Int32Array.from(samples, ({ g }) => g) },
    source,
    lengths: Uint32Array.from(samples, (one) => rows + one.rows.length),
    targetRows: Int32Array.from(targetRows),
    targets: Int32Array.from(targets),
  };
}

/** Where the rows of a batch lie that may have shared beginnings. */
export type MaybeShared<K extends keyof SharedLayout> = Pick<SharedLayout, K> & {
  /** How many shared beginnings, and rows of each. */
  readonly prefixes?: Pick<SharedLayout["prefixes"], "count" | "rows">;
};

/** The sample that a row of a batch belongs to; for rows behind shared beginnings. */
export function sampleOf(
  { prefixes = { count: 0, rows: 0 }, length }: MaybeShared<"length">,
  row: number,
): number {
  return Math.floor((row - prefixes.count * prefixes.rows) / length);
}

/** Rows of a batch that are in use, those of a shared beginning once. */
export function rowsInUse({ prefixes, lengths }: MaybeShared<"lengths">): number {
  const all = lengths.reduce((sum, length) => sum + length, 0);
  return prefixes === undefined ? all : all - (lengths.length - prefixes.count) * prefixes.rows;
}
