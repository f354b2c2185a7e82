import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { consensus, drawAnswers } from "./answer_draws.ts";
import { modelOf } from "./beam_testing.ts";

const options = { draws: 4000, maxNewTokens: 3, stopToken: 0, seed: 5 };
/** The end or one of two tokens; behind token 2 only token 1; behind that the end. */
const language = (tokens: readonly number[]) =>
  (tokens.length === 0 ? [0.2, 0.3, 0.5] : tokens.at(-1) === 2 ? [0, 1, 0] : [1, 0, 0]).map(
    Math.log,
  );

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

Deno.test("low temperatures draw the most probable answer, a mass only what reaches it", async () => {
  for (const few of [{ temperature: 0.01 }, { topP: 0.5 }]) {
    const answers = await drawAnswers(modelOf(language), { ...options, ...few });
    assert(answers.every(({ tokens }) => tokens.join() === "2,1"));
  }
  const two = await drawAnswers(modelOf(language), { ...options, topP: 0.6 });
  const texts = two.map(({ tokens }) => tokens.join());
  assertEquals(new Set(texts), new Set(["1", "2,1"]));
  assertAlmostEquals(texts.filter((one) => one === "1").length / 4000, 0.375, 0.031);
});

Deno.test("the limit, a dead end and a signal end answers without the stop token", async () => {
  const endless = modelOf(() => [-Infinity, -1, -1]);
  const [long] = await drawAnswers(endless, { ...options, draws: 1 });
  assertEquals([long!.tokens.length, long!.stopped], [3, false]);
  const dead = modelOf((tokens) => [-Infinity, tokens.length === 0 ? 0 : -Infinity]);
  assertEquals(await drawAnswers(dead, { ...options, draws: 2 }), [
    { tokens: [1], stopped: false },
    { tokens: [1], stopped: false },
  ]);
  const signal = AbortSignal.abort();
  const [one] = await drawAnswers(endless, { ...options, draws: 1, maxNewTokens: 100, signal });
  assertEquals(one!.tokens.length, 1);
  for (const wrong of [{ draws: 0 }, { maxNewTokens: 0.5 }, { temperature: 0 }, { topP: 0 }]) {
    await assertRejects(() => drawAnswers(endless, { ...options, ...wrong }), RangeError);
  }
});

Deno.test("the consensus is what the others are nearest to, the first of equals", () => {
  const near = (a: number, b: number) => -Math.abs(a - b);
  assertEquals(consensus([9, 1, 5, 4, 6], near), 5);
  assertEquals(consensus([2, 1], near), 2);
  assertEquals(consensus(["alone"], () => NaN), "alone");
});
