import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import type { Device } from "../device/mod.ts";
import { deviceTest, normals } from "../kernels/kernel_testing.ts";
import { gatherRows, linear, tensor } from "../tensor/mod.ts";
import { type BeamOptions, beamSearch } from "./beam_search.ts";
import { type Distribution, modelOf } from "./beam_testing.ts";
import { type GenerateSetup, Generation } from "./generate.ts";
import { denseFeedForward, denseFeedForwardParameters, llama, llamaParameters } from "./llama.ts";
import { LlamaBeams } from "./llama_beams.ts";
import { initialParameters } from "./parameters.ts";

const logSoftmax = (logits: ArrayLike<number>) => {
  const peak = Math.max(...Array.from(logits));
  const sum = Math.log(Array.from(logits, (one) => Math.exp(one - peak)).reduce((a, b) => a + b));
  return Array.from(logits, (one) => one - peak - sum);
};

interface Found {
  score: number;
  tokens: number[];
}

/**
 * The search once more, in double precision and over whole distributions, written after the published loop: all rows from the
 * beginning, those that do not exist yet at -1e9; hypotheses with their worst score beside them.
 */
async function reference(distribution: Distribution, options: BeamOptions): Promise<Found[]> {
  const { beams: width, maxNewTokens, stopToken, lengthPenalty = 1, earlyStopping = false } =
    options;
  const initial = options.initialLength ?? 1, maxLength = initial + maxNewTokens;
  let rows = Array.from({ length: width }, () => [] as number[]);
  let sums: number[] = rows.map((_, i) => i === 0 ? 0 : -1e9);
  let kept: Found[] = [], worst = 1e9;
  const add = (tokens: number[], sum: number) => {
    const score = sum / (initial + tokens.length) ** lengthPenalty;
    if (kept.length >= width && score <= worst) return;
    kept.push({ score, tokens });
    if (kept.length > width) {
      const sorted = [...kept].sort((a, b) => a.score - b.score);
      kept = kept.filter((one) => one !== sorted[0]);
      worst = sorted[1]!.score;
    } else worst = Math.min(score, worst);
  };
  for (;;) {
    const length = initial + rows[0]!.length;
    const all: { sum: number; row: number; token: number }[] = [];
    for (const [row, tokens] of rows.entries()) {
      const scores = await distribution(tokens);
      scores.forEach((score, token) => all.push({ sum: sums[row]! + score, row, token }));
    }
    all.sort((a, b) => b.sum - a.sum);
    const next: typeof all = [];
    for (const [place, one] of all.slice(0, 2 * width).entries()) {
      if (one.token === stopToken) {
        if (place < width) add(rows[one.row]!, one.sum);
      } else if (next.push(one) === width) break;
    }
    rows = next.map(({ row, token }) => [...rows[row]!, token]);
    sums = next.map(({ sum }) => sum);
    if (kept.length >= width) {
      if (earlyStopping === true) break;
      const at = earlyStopping === "never" && lengthPenalty > 0 ? maxLength : length;
      if (worst >= all[0]!.sum / at ** lengthPenalty) break;
    }
    if (length + 1 === maxLength) {
      rows.forEach((tokens, i) => add(tokens, sums[i]!));
      break;
    }
  }
  return kept.sort((a, b) => b.score - a.score);
}

/** A fixed random distribution for every beginning. */
function randomLanguage(seed: number, vocabulary: number): Distribution {
  return (tokens) => {
    const key = tokens.reduce((hash, token) => (hash * 31 + token + 7) % 1000003, seed);
    return logSoftmax(normals(vocabulary, key).map((one) => 2 * one));
  };
}

Deno.test("the answers and scores of the published search", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(100000),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 9 }),
      fc.constantFrom(-0.5, 0, 1, 2),
      fc.constantFrom(true, false, "never" as const),
      async (seed, beams, maxNewTokens, lengthPenalty, earlyStopping) => {
        const language = randomLanguage(seed, 13);
        const options = { beams, maxNewTokens, stopToken: 2, lengthPenalty, earlyStopping };
        const found = await beamSearch(modelOf(language), options);
        const expected = await reference(language, options);
        assertEquals(found.map(({ tokens }) => tokens), expected.map(({ tokens }) => tokens));
        found.forEach(({ score }, i) => assertAlmostEquals(score, expected[i]!.score, 1e-12));
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("a signal ends the search after the step in progress, with the beams as they are", async () => {
  const stop = new AbortController();
  const language: Distribution = (tokens) => {
    if (tokens.length === 2) stop.abort();
    return [-0.1, -3, -Infinity];
  };
  const [best] = await beamSearch(modelOf(language), {
    beams: 2,
    maxNewTokens: 100,
    stopToken: 2,
    signal: stop.signal,
  });
  assertEquals([best!.tokens, best!.stopped], [[0, 0, 0], false]);
});

Deno.test("one beam is greedy; forbidden tokens are never followed", async () => {
  const language = randomLanguage(5, 11);
  const [greedy] = await beamSearch(modelOf(language), {
    beams: 1,
    maxNewTokens: 6,
    stopToken: 10,
  });
  let tokens: number[] = [];
  for (let n = 0; n < greedy!.tokens.length; n++) {
    const scores = await language(tokens);
    tokens = [...tokens, scores.indexOf(Math.max(...scores))];
  }
  assertEquals(greedy!.tokens, tokens);
  const only: Distribution = (tokens) =>
    Array.from({ length: 5 }, (_, i) => i === tokens.length % 5 ? -0.1 : -Infinity);
  const found = await beamSearch(modelOf(only), { beams: 3, maxNewTokens: 8, stopToken: 4 });
  assertEquals(found.map((one) => [one.tokens, one.stopped]), [[[0, 1, 2, 3], true]]);
  await assertRejects(
    () => beamSearch(modelOf(only), { beams: 0, maxNewTokens: 1, stopToken: 0 }),
    RangeError,
  );
});

const config = {
  vocabulary: 37,
  hiddenSize: 24,
  intermediateSize: 40,
  layers: 2,
  heads: 3,
  keyHeads: 3,
  maxPositions: 64,
  epsilon: 1e-5,
  theta: 10000,
};

async function smallModel(device: Device, seed: number) {
  const specs = llamaParameters(
    config,
    "F32",
    (_, prefix) => denseFeedForwardParameters(config, prefix, "F32"),
  );
  const parameters = await initialParameters(device, specs, seed, {});
  const head = parameters.weight("lm_head.weight");
  const setup: GenerateSetup = {
    device,
    config,
    model: parameters.at("model."),
    embedding: parameters.weight("model.embed_tokens.weight"),
    head,
    feedForward: denseFeedForward,
  };
  return { parameters, setup };
}

/** Distributions of the decoder without any cache. */
function wholeDecoder(setup: GenerateSetup, prompt: readonly number[]): Distribution {
  return async (tokens) => {
    const { device, model, embedding, head, feedForward } = setup;
    const index = tensor(device, Uint32Array.from([...prompt, ...tokens]));
    const positions = tensor(
      device,
      Uint32Array.from({ length: index.size }, (_, i) => i),
    );
    let logits;
    {
      using scope = device.scope();
      const final = llama(model, gatherRows(embedding, index), config, {
        batch: 1,
        positions,
        feedForward,
      });
      logits = scope.keep(linear(final, head));
    }
    const values = await logits.readFloats();
    for (const one of [index, positions, logits]) one.dispose();
    return logSoftmax(values.subarray(values.length - config.vocabulary));
  };
}

deviceTest("beams of the decoder, caches copied where they part", async (device) => {
  const { parameters, setup } = await smallModel(device, 3);
  const prompt = [1, 5, 9, 4];
  const index = tensor(device, Uint32Array.from(prompt));
  const rows = gatherRows(setup.embedding, index);
  for (const [beams, lengthPenalty] of [[3, 1], [5, 0]] as const) {
    const options = { beams, maxNewTokens: 7, stopToken: 2, lengthPenalty };
    using model = new LlamaBeams(setup, rows, beams, options.maxNewTokens);
    const found = await beamSearch(model, options);
    const expected = await reference(wholeDecoder(setup, prompt), options);
    assertEquals(found.map(({ tokens }) => tokens), expected.map(({ tokens }) => tokens));
    found.forEach(({ score }, i) => assertAlmostEquals(score, expected[i]!.score, 1e-4));
  }
  for (const one of [index, rows]) one.dispose();
  parameters.dispose();
});

/** Tokens 3, 7 or 8, then the same again or the end. */
const grammar = (() => {
  const vocabulary = config.vocabulary, states = 3, classes = 3, no = 0xffffffff;
  const classOf = new Uint32Array(vocabulary);
  for (const id of [3, 7, 8]) classOf[id] = 1;
  classOf[2] = 2;
  // Rows: the start, behind a token, behind the end.
  const next = Uint32Array.from([no, 1, no, no, 1, 2, no, no, 2]);
  return { states, classes, start: 0, classOf, next };
})();

deviceTest(
  "constrained generation stays in its grammar, greedy, drawn and in beams",
  async (device) => {
    const { parameters, setup } = await smallModel(device, 8);
    const index = tensor(device, Uint32Array.from([1, 5, 9]));
    const rows = gatherRows(setup.embedding, index);
    const inside = (tokens: readonly number[]) => /^([378],)+(2,)?$/.test(`${tokens.join()},`);
    for (const temperature of [0, 1, 5]) {
      using generation = new Generation(setup, rows, {
        maxNewTokens: 12,
        temperature,
        topP: 1,
        seed: 4,
        stopToken: 2,
        constraint: grammar,
      });
      const tokens: number[] = [];
      for await (const token of generation.tokens()) tokens.push(token);
      assert(inside(tokens), tokens.join());
    }
    using model = new LlamaBeams(setup, rows, 4, 6, grammar);
    const found = await beamSearch(model, { beams: 4, maxNewTokens: 6, stopToken: 2 });
    assert(found.length > 1 && found.every(({ tokens }) => inside(tokens)));
    for (const one of [index, rows]) one.dispose();
    parameters.dispose();
  },
);
