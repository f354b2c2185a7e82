/**
 * Several answers drawn at random, and the one among them that the others agree with most: minimum Bayes risk (Kumar and Byrne,
 * 2004; by sampling as Eikema and Aziz, 2020). Where a model is unsure its most probable answer may be an unusual one; of a box
 * whose edges are known roughly, one in the middle of what is likely overlaps more.
 *
 * @module
 */
import { philox4x32, seedWords, uniformOf } from "../tensor/random.ts";
import type { BeamCandidates, BeamModel } from "./beam_search.ts";

/** How answers are drawn. */
export interface DrawOptions {
  /** Answers to draw, at least 1. */
  readonly draws: number;
  /** Most tokens of each, at least 1. */
  readonly maxNewTokens: number;
  /** Ends an answer. */
  readonly stopToken: number;
  /** Divides the logarithms of probabilities; above 0. Default 1. */
  readonly temperature?: number;
  /** Keeps the most probable tokens that together reach this mass, in (0, 1]. Default 1: all candidates. */
  readonly topP?: number;
  /** Of the random numbers: the same seed and the same candidates give the same answers. */
  readonly seed: number;
  /** Ends the drawing after the step in progress: answers are then taken as they are, as at the limit. */
  readonly signal?: AbortSignal | undefined;
}

/** An answer that was drawn. */
export interface DrawnAnswer {
  /** Tokens without the stop token. */
  readonly tokens: readonly number[];
  /** The stop token ended it; otherwise the limit did. */
  readonly stopped: boolean;
}

/** Most probable tokens that are drawn from. */
const candidateCount = 64;
/** Marks the random numbers of answers. */
const ANSWER_DRAWS = 0x64726177;

/** A token by its probability among the candidates, which come in falling order; undefined when none is allowed. */
function pick(
  { tokens, scores }: BeamCandidates,
  { temperature = 1, topP = 1 }: Pick<DrawOptions, "temperature" | "topP">,
  uniform: number,
): number | undefined {
  const peak = scores[0] ?? -Infinity;
  if (peak === -Infinity) return undefined;
  const shares = Array.from(scores, (score) => Math.exp((score - peak) / temperature));
  const mass = topP * shares.reduce((sum, share) => sum + share, 0);
  let before = 0;
  const kept = shares.filter((share) => {
    const keeps = before < mass;
    before += share;
    return keeps;
  });
  let rest = uniform * kept.reduce((sum, share) => sum + share, 0);
  const at = kept.findIndex((share) => (rest -= share) < 0);
  return tokens[at === -1 ? 0 : at]!;
}

/**
 * Draws answers token by token, all side by side, each token among the 64 most probable. An answer that may not go on ends without the stop token.
 *
 * @returns As many as were asked for, in the order of their random numbers.
 * @throws {RangeError} for options out of range.
 */
export async function drawAnswers(model: BeamModel, options: DrawOptions): Promise<DrawnAnswer[]> {
  const { draws, maxNewTokens, stopToken, temperature = 1, topP = 1, seed, signal } = options;
  const whole = (value: number) => Number.isSafeInteger(value) && value >= 1;
  if (!whole(draws) || !whole(maxNewTokens) || !(temperature > 0) || !(topP > 0 && topP <= 1)) {
    throw new RangeError(
      `Cannot draw ${draws} answers of ${maxNewTokens} tokens at temperature ${temperature} from a mass of ${topP}: expected whole numbers of at least 1, a temperature above 0, a mass above 0 and at most 1`,
    );
  }
  const key = seedWords(seed);
  const answers = Array.from({ length: draws }, () => ({ tokens: [] as number[], stopped: false }));
  /** Draws the next token of the answers that go on; says which of them still do. */
  const next = (going: readonly number[], candidates: readonly BeamCandidates[], step: number) =>
    going.filter((draw, beam) => {
      const [word] = philox4x32([step, draw, 0, ANSWER_DRAWS], key);
      const token = pick(candidates[beam]!, options, uniformOf(word));
      const answer = answers[draw]!;
      if (token === stopToken) answer.stopped = true;
      else if (token !== undefined) answer.tokens.push(token);
      return token !== stopToken && token !== undefined;
    });
  const first = await model.start(candidateCount);
  let beams = answers.map((_, draw) => draw);
  let going = next(beams, beams.map(() => first), 0);
  let parents = going.map(() => 0);
  for (let step = 1; step < maxNewTokens && going.length > 0; step++) {
    // Where the host itself computes nothing else gives signals a chance to arrive.
    if (signal) await new Promise((resolve) => setTimeout(resolve, 0));
    if (signal?.aborted) break;
    const tokens = going.map((draw) => answers[draw]!.tokens.at(-1)!);
    beams = going;
    going = next(beams, await model.advance(parents, tokens, candidateCount), step);
    parents = going.map((draw) => beams.indexOf(draw));
  }
  return answers;
}

/**
 * The answer that agrees best with the others, on average; of several the first.
 *
 * @param agreement Of an answer with another, the larger the better.
 */
export function consensus<T>(answers: readonly T[], agreement: (one: T, other: T) => number): T {
  const means = answers.map((one, i) =>
    answers.reduce((sum, other, j) => i === j ? sum : sum + agreement(one, other), 0)
  );
  return answers[means.indexOf(Math.max(...means))]!;
}
