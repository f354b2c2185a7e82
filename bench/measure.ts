/**
 * Interleaved timing: every contender gets a turn per round, so that a machine that slows down slows all of them.
 *
 * @module
 */

/** Something that can be run many times with one wait at the end. */
export interface Contender {
  /** Queues the work `times` times and resolves when the last of them has finished. */
  run(times: number): Promise<void>;
}

/** Milliseconds per run. */
export interface Timing {
  /** Median over the turns. */
  readonly median: number;
  /** Fastest turn. */
  readonly best: number;
  /** Every turn, in order. */
  readonly turns: readonly number[];
  /** Runs per turn. */
  readonly runs: number;
}

/** How long to measure. */
export interface MeasureOptions {
  /** Time for all turns of all contenders together; at least three rounds are made. */
  readonly seconds: number;
  /** Length of a turn that runs are repeated to fill: long beside the time that one wait takes. Default 0.3. */
  readonly turnSeconds?: number;
}

/** Rounds at least. */
const leastRounds = 3;
/** Runs per turn at most. */
const mostRuns = 20_000;

/** Median of some numbers. NaN when there are none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]!
    : (sorted[middle - 1] ?? NaN) / 2 + (sorted[middle] ?? NaN) / 2;
}

/**
 * How many times as long a contender took as another, turn by turn, so that what slows the machine down for a while
 * cancels: the median over the rounds of two timings of the same measurement.
 */
export function pairedRatio(timing: Timing, base: Timing): number {
  return median(timing.turns.map((time, round) => time / base.turns[round]!));
}

async function milliseconds(contender: Contender, times: number): Promise<number> {
  const start = performance.now();
  await contender.run(times);
  return performance.now() - start;
}

/** Warms a contender up and finds how many runs fill a turn. */
async function calibrate(contender: Contender, turn: number): Promise<number> {
  let runs = 1;
  // One wait costs about ten milliseconds whatever ran, so that short runs take a few steps to be seen.
  for (let step = 0; step < 4; step++) {
    const each = await milliseconds(contender, runs) / runs;
    const wanted = Math.min(mostRuns, Math.max(1, Math.round(turn / each)));
    if (wanted <= 1.5 * runs) return wanted;
    runs = wanted;
  }
  return runs;
}

/**
 * Times contenders in turns: A, B, C, A, B, C, …
 *
 * Each is warmed up first and its number of runs per turn chosen such that a turn lasts `turnSeconds`.
 *
 * @returns One timing per contender, in their order.
 */
export async function interleave(
  contenders: readonly Contender[],
  { seconds, turnSeconds = 0.3 }: MeasureOptions,
): Promise<Timing[]> {
  const runs: number[] = [];
  for (const contender of contenders) runs.push(await calibrate(contender, 1000 * turnSeconds));
  const samples = contenders.map((): number[] => []);
  const end = performance.now() + 1000 * seconds;
  for (let round = 0; round < leastRounds || performance.now() < end; round++) {
    for (const [index, contender] of contenders.entries()) {
      samples[index]!.push(await milliseconds(contender, runs[index]!) / runs[index]!);
    }
  }
  return samples.map((times, index) => ({
    median: median(times),
    best: Math.min(...times),
    turns: times,
    runs: runs[index]!,
  }));
}
