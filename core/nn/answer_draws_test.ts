import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { consensus, drawAnswers } from "./answer_draws.ts";
import type { BeamModel } from "./beam_search.ts";

/** A model that knows the probabilities of tokens 0, 1, … after a beginning. */
function modelOf(distribution: (tokens: readonly number[]) => readonly number[]): BeamModel {
  let beams: number[][] = [[]];
  const after = (tokens: readonly number[]) => {
    const shares = distribution(tokens);
    const order = shares.map((_, token) => token).sort((a, b) => shares[b]! - shares[a]!);
    return { tokens: order, scores: order.map((token) => Math.log(shares[token]!)) };
  };
  return {
    start: () => Promise.resolve(after([])),
    advance(parents, tokens) {
      beams = parents.map((parent, i) => [...beams[parent]!, tokens[i]!]);
      return Promise.resolve(beams.map(after));
    },
  };
}

const options = { draws: 4000, maxNewTokens: 3, stopToken: 0, seed: 5 };
/** The end or one of two tokens; behind token 2 only token 1; behind that the end. */
const language = (tokens: readonly number[]) =>
  tokens.length === 0 ? [0.2, 0.3, 0.5] : tokens.at(-1) === 2 ? [0, 1, 0] : [1, 0, 0];

Deno.test("answers come as often as they are probable, and the same again", async () => {
  const answers = await drawAnswers(modelOf(language), options);
  const texts = answers.map(({ tokens }) => tokens.join());
  assert(answers.every(({ stopped }) => stopped));
  for (const [text, share] of [["", 0.2], ["1", 0.3], ["2,1", 0.5]] as const) {
    // Four standard deviations of a share of 4000 draws.
    assertAlmostEquals(texts.filter((one) => one === text).length / 4000, share, 0.032);
  }
  assertEquals(await drawAnswers(modelOf(language), options), answers);
  const others = await drawAnswers(modelOf(language), { ...options, seed: 6 });
  assert(others.some(({ tokens }, i) => tokens.join() !== texts[i]));
  const fewer = await drawAnswers(modelOf(language), { ...options, draws: 10 });
  assertEquals(fewer, answers.slice(0, 10));
});

Deno.test("low temperatures draw the most probable answer", async () => {
  const answers = await drawAnswers(modelOf(language), { ...options, temperature: 0.01 });
  assert(answers.every(({ tokens }) => tokens.join() === "2,1"));
});

Deno.test("the limit, a dead end and a signal end answers without the stop token", async () => {
  const endless = modelOf(() => [0, 0.5, 0.5]);
  const [long] = await drawAnswers(endless, { ...options, draws: 1 });
  assertEquals([long!.tokens.length, long!.stopped], [3, false]);
  const dead = modelOf((tokens) => tokens.length === 0 ? [0, 1] : [0, 0]);
  assertEquals(await drawAnswers(dead, { ...options, draws: 2 }), [
    { tokens: [1], stopped: false },
    { tokens: [1], stopped: false },
  ]);
  const signal = AbortSignal.abort();
  const [one] = await drawAnswers(endless, { ...options, draws: 1, maxNewTokens: 100, signal });
  assertEquals(one!.tokens.length, 1);
  for (const wrong of [{ draws: 0 }, { maxNewTokens: 0.5 }, { temperature: 0 }]) {
    await assertRejects(() => drawAnswers(endless, { ...options, ...wrong }), RangeError);
  }
});

Deno.test("the consensus is what the others are nearest to, the first of equals", () => {
  const near = (a: number, b: number) => -Math.abs(a - b);
  assertEquals(consensus([9, 1, 5, 4, 6], near), 5);
  assertEquals(consensus([2, 1], near), 2);
  assertEquals(consensus(["alone"], () => NaN), "alone");
});
