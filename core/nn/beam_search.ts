/**
 * Beam search with the scoring of transformers 4.30 (`generation/beam_search.py`, `BeamSearchScorer` and `BeamHypotheses`): sums of
 * log probabilities, divided by a power of the length when an answer ends.
 *
 * @module
 */

/** How answers are searched for. */
export interface BeamOptions {
  /** Answers that are followed at once, and kept: at least 1. */
  readonly beams: number;
  /** Most tokens to generate, at least 1. */
  readonly maxNewTokens: number;
  /** Ends an answer; it counts for the sum and not for the length. */
  readonly stopToken: number;
  /** Exponent of the length that an answer's sum is divided by; above 0 favours long answers. Default 1. */
  readonly lengthPenalty?: number;
  /**
   * When to stop once as many answers have ended as there are beams: at once (true), when the best beam at its present length cannot
   * become better than the worst of them (false), or cannot at any length (`never`). Default false.
   */
  readonly earlyStopping?: boolean | "never";
  /** Tokens that count for the length besides the generated ones. Default 1: transformers puts a beginning token before them. */
  readonly initialLength?: number;
  /** Ends the search after the step in progress: the beams are then taken as they are, as at the limit. */
  readonly signal?: AbortSignal;
}

/** The most probable next tokens of a beam, in falling order. */
export interface BeamCandidates {
  /** Token ids. */
  readonly tokens: ArrayLike<number>;
  /** Natural logarithms of their probabilities; -Infinity for tokens that are not allowed. */
  readonly scores: ArrayLike<number>;
}

/** A model that follows several beams. */
export interface BeamModel {
  /**
   * Candidates after the prompt.
   *
   * @param count How many of a beam are wanted; fewer only where the vocabulary has no more.
   */
  start(count: number): Promise<BeamCandidates>;
  /**
   * Moves on: beam i becomes what was beam `parents[i]` with `tokens[i]` behind.
   *
   * @returns Candidates of every beam.
   */
  advance(
    parents: readonly number[],
    tokens: readonly number[],
    count: number,
  ): Promise<readonly BeamCandidates[]>;
}

/** An answer that was found. */
export interface BeamAnswer {
  /** Tokens without the stop token. */
  readonly tokens: readonly number[];
  /** Sum of the log probabilities divided by length to the power of the penalty. */
  readonly score: number;
  /** The stop token ended it; otherwise the limit did. */
  readonly stopped: boolean;
}

/** The options without the signal, all of them decided. */
type Scoring = Required<Omit<BeamOptions, "signal">>;

/** The best answers so far, as many as there are beams. */
class Answers {
  readonly kept: BeamAnswer[] = [];
  readonly #options: Scoring;

  constructor(options: Scoring) {
    this.#options = options;
  }

  #lengthOf(tokens: number): number {
    const { initialLength, lengthPenalty } = this.#options;
    return (initialLength + tokens) ** lengthPenalty;
  }

  add(tokens: readonly number[], sum: number, stopped: boolean): void {
    const { beams } = this.#options;
    const score = sum / this.#lengthOf(tokens.length);
    if (this.kept.length >= beams && !(score > this.#worst())) return;
    this.kept.push({ tokens, score, stopped });
    if (this.kept.length > beams) this.kept.splice(this.#indexOfWorst(), 1);
  }

  #indexOfWorst(): number {
    return this.kept.reduce((at, { score }, i) => score < this.kept[at]!.score ? i : at, 0);
  }

  #worst(): number {
    return this.kept[this.#indexOfWorst()]!.score;
  }

  /** Whether no beam can change what is kept. */
  isDone(bestSum: number, tokens: number): boolean {
    const { beams, earlyStopping, lengthPenalty, maxNewTokens } = this.#options;
    if (this.kept.length < beams) return false;
    if (earlyStopping === true) return true;
    const longest = earlyStopping === "never" && lengthPenalty > 0;
    return this.#worst() >= bestSum / this.#lengthOf(longest ? maxNewTokens : tokens);
  }
}

interface Beam {
  readonly tokens: readonly number[];
  readonly sum: number;
}

interface Step {
  readonly parent: number;
  readonly token: number;
  readonly sum: number;
}

/** The best continuations of all beams together, in falling order. */
function rank(
  beams: readonly Beam[],
  candidates: readonly BeamCandidates[],
  count: number,
): Step[] {
  const steps = beams.flatMap(({ sum }, parent) => {
    const { tokens, scores } = candidates[parent]!;
    return Array.from(
      { length: tokens.length },
      (_, i) => ({ parent, token: tokens[i]!, sum: sum + scores[i]! }),
    );
  }).filter(({ sum }) => sum > -Infinity);
  return steps.sort((a, b) => b.sum - a.sum || a.parent - b.parent).slice(0, count);
}

/**
 * Searches for the most probable answers. Of the 2 * beams best continuations those that end become answers if they are among the
 * first `beams`; of the others the first `beams` are followed.
 *
 * @returns Answers in falling order of their score; at least one unless nothing is allowed, at most as many as beams.
 * @throws {RangeError} for options out of range.
 */
export async function beamSearch(model: BeamModel, options: BeamOptions): Promise<BeamAnswer[]> {
  const { beams: width, maxNewTokens, stopToken, signal } = options;
  const full = { lengthPenalty: 1, earlyStopping: false, initialLength: 1, ...options };
  if (
    !Number.isSafeInteger(width) || width < 1 || !Number.isSafeInteger(maxNewTokens) ||
    maxNewTokens < 1
  ) {
    throw new RangeError(
      `Cannot search with ${width} beams for ${maxNewTokens} tokens: expected whole numbers of at least 1`,
    );
  }
  const answers = new Answers(full as Scoring);
  const count = 2 * width;
  let beams: Beam[] = [{ tokens: [], sum: 0 }];
  let candidates: readonly BeamCandidates[] = [await model.start(count)];
  for (let length = 0;; length++) {
    const steps = rank(beams, candidates, count);
    const next: (Step & Beam)[] = [];
    for (const [place, step] of steps.entries()) {
      const { tokens } = beams[step.parent]!;
      if (step.token === stopToken) {
        if (place < width) answers.add(tokens, step.sum, true);
        continue;
      }
      next.push({ ...step, tokens: [...tokens, step.token] });
      if (next.length === width) break;
    }
    beams = next;
    if (next.length === 0 || answers.isDone(steps[0]!.sum, length)) break;
    // Where the host itself computes nothing else gives signals a chance to arrive.
    if (signal) await new Promise((resolve) => setTimeout(resolve, 0));
    if (length + 1 === maxNewTokens || signal?.aborted) {
      for (const { tokens, sum } of beams) answers.add(tokens, sum, false);
      break;
    }
    candidates = await model.advance(
      next.map(({ parent }) => parent),
      next.map(({ token }) => token),
      count,
    );
  }
  // Of equal scores the one that came last is the best, as in the official sort.
  return answers.kept.map((answer, i) => ({ answer, i }))
    .sort((a, b) => b.answer.score - a.answer.score || b.i - a.i).map(({ answer }) => answer);
}
