/**
 * Models for tests of searches and draws, whose distributions are written down.
 *
 * @module
 */
import type { BeamModel } from "./beam_search.ts";

/** Log probabilities of all tokens after a beginning. */
export type Distribution = (tokens: readonly number[]) => Promise<number[]> | number[];

/** Candidates from whole distributions. */
export function modelOf(distribution: Distribution): BeamModel {
  let beams: number[][] = [[]];
  const best = async (tokens: readonly number[], count: number) => {
    const all = (await distribution(tokens)).map((score, token) => ({ score, token }))
      .sort((a, b) => b.score - a.score).slice(0, count);
    return { tokens: all.map(({ token }) => token), scores: all.map(({ score }) => score) };
  };
  return {
    start: (count) => best([], count),
    advance(parents, tokens, count) {
      beams = parents.map((parent, i) => [...beams[parent]!, tokens[i]!]);
      return Promise.all(beams.map((one) => best(one, count)));
    },
  };
}
