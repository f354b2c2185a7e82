import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { type SampleOptions, type SamplerState, sampleToken } from "../tensor/sampling.ts";
import { empty, tensor } from "../tensor/tensor.ts";
import { deviceTest, normals } from "./kernel_testing.ts";
import { philox4x32, seedWords, uniformOf } from "./random.ts";
import { variants } from "./variant_testing.ts";

function stateOf(device: Device, capacity: number, step = 0): SamplerState {
  const word = (value: number) => tensor(device, Uint32Array.of(value));
  return {
    token: word(0),
    position: word(10 + step),
    length: word(20 + step),
    step: word(step),
    ring: empty(device, [capacity], "u32", "ring"),
  };
}

/** The tokens of `steps` steps from the first one on, sampled by one recording replayed. */
async function tokensOf(
  device: Device,
  logits: ArrayLike<number>,
  options: SampleOptions,
  steps: number,
): Promise<number[]> {
  using scope = device.scope();
  const state = stateOf(device, steps);
  const x = tensor(device, Float32Array.from(logits), [1, logits.length]);
  scope.keep(state.ring);
  using recording = device.record(() => sampleToken(x, state, options));
  for (let i = 0; i < steps; i++) recording.replay();
  const tokens = [...await state.ring.read()];
  state.ring.dispose();
  return tokens;
}

/** Tokens kept by top-k and top-p, with their probabilities, by sorting everything. */
function kept(
  logits: ArrayLike<number>,
  { temperature, topP, topK = 0 }: SampleOptions,
): { token: number; weight: number }[] {
  const peak = Array.from(logits).reduce((a, b) => Math.max(a, b), -Infinity);
  let tokens = Array.from(logits, (logit, token) => ({
    token,
    logit,
    weight: Math.fround(Math.exp((logit - peak) / temperature)),
  })).sort((a, b) => b.logit - a.logit || a.token - b.token);
  if (topK > 0) {
    const least = tokens[Math.min(topK, tokens.length) - 1]!.logit;
    tokens = tokens.filter(({ logit }) => logit >= least);
  }
  const total = tokens.reduce((sum, { weight }) => sum + weight, 0);
  let before = 0;
  return tokens.filter(({ weight }, n) => {
    const keep = n === 0 || topP >= 1 || before < topP * total;
    before += weight;
    return keep && weight > 0;
  }).sort((a, b) => a.token - b.token);
}

/** Tokens that a step may choose: the drawn one, and its neighbours where the draw is within float32 rounding of them. */
function allowed(
  tokens: readonly { token: number; weight: number }[],
  seed: number,
  step: number,
): number[] {
  const total = tokens.reduce((sum, { weight }) => sum + weight, 0);
  const words = philox4x32([step, 0, 0x73616d70, 0], seedWords(seed));
  const goal = uniformOf(words[0]) * total, slack = 2e-5 * total;
  let before = 0;
  return tokens.filter(({ weight }) => {
    const fits = before <= goal + slack && before + weight >= goal - slack;
    before += weight;
    return fits;
  }).map(({ token }) => token);
}

const cases: [number, Omit<SampleOptions, "seed">][] = [
  [1, { temperature: 1, topP: 1 }],
  [2, { temperature: 1, topP: 0.9 }],
  [7, { temperature: 0.7, topP: 0.5 }],
  [8, { temperature: 1, topP: 0.01 }],
  [9, { temperature: 2, topP: 0.95 }],
  [31, { temperature: 1, topP: 1, topK: 3 }],
  [32, { temperature: 0.2, topP: 0.7 }],
  [33, { temperature: 1, topP: 0.8, topK: 10 }],
  [63, { temperature: 5, topP: 0.999 }],
  [64, { temperature: 1, topP: 0.9 }],
  [65, { temperature: 1, topP: 0.3, topK: 1 }],
  [100, { temperature: 100, topP: 0.99 }],
  [127, { temperature: 1, topP: 0.9, topK: 500 }],
  [129, { temperature: 0.5, topP: 0.75 }],
  [257, { temperature: 1, topP: 0.6, topK: 40 }],
  [1000, { temperature: 1, topP: 1 }],
  [1024, { temperature: 1.5, topP: 0.9 }],
  [4099, { temperature: 1, topP: 0.85 }],
  [32000, { temperature: 0.2, topP: 0.9 }],
  [32000, { temperature: 1, topP: 0.95, topK: 50 }],
  [32007, { temperature: 2, topP: 1 }],
  [100000, { temperature: 1, topP: 0.9, topK: 1000 }],
];

deviceTest("sampled tokens follow the uniform numbers", async (device) => {
  for (const [order, { name, device: variant }] of variants(device).entries()) {
    for (const [index, [size, settings]] of cases.entries()) {
      // The device's own variant takes all cases, the others every third.
      if (order > 0 && index % 3 !== order - 1) continue;
      const options = { ...settings, seed: 2 ** 33 + index };
      const noise = normals(size, index + 1);
      // Every third case is coarse, so that equal logits meet the edges.
      const logits = noise.map((value) => index % 3 === 2 ? Math.round(2 * value) : 3 * value);
      const steps = size > 5000 ? 4 : 24;
      const tokens = await tokensOf(variant, logits, options, steps);
      const survivors = kept(logits, options);
      tokens.forEach((token, step) => {
        const possible = allowed(survivors, options.seed, step);
        assert(
          possible.includes(token),
          `${name} ${size} ${
            JSON.stringify(settings)
          } step ${step}: ${token}, expected ${possible}`,
        );
      });
    }
  }
});

deviceTest("the state moves on and the ring turns", async (device) => {
  for (const { device: variant } of variants(device)) {
    for (const temperature of [0, 0.00009, 1]) {
      const logits = tensor(variant, [0, -3, 900, 5, 900, 1], [1, 6]);
      const state = stateOf(variant, 3, 4);
      const before = device.memory.created;
      using recording = device.record(() =>
        sampleToken(logits, state, { temperature, topP: 0.4, seed: 1 })
      );
      recording.replay();
      const { created } = device.memory;
      assert(created <= before + 1);
      recording.replay();
      assertEquals(device.memory.created, created);
      assertEquals([...await state.token.read()], [2]);
      assertEquals([...await state.step.read()], [6]);
      assertEquals([...await state.position.read()], [16]);
      assertEquals([...await state.length.read()], [26]);
      assertEquals([...(await state.ring.read()).subarray(1)], [2, 2]);
    }
  }
});

deviceTest("frequencies follow the probabilities", async (device) => {
  const probabilities = [0.5, 0.05, 0.3, 0.15], steps = 1500;
  const tokens = await tokensOf(
    device,
    probabilities.map(Math.log),
    { temperature: 1, topP: 1, seed: 77 },
    steps,
  );
  probabilities.forEach((probability, token) => {
    const frequency = tokens.filter((chosen) => chosen === token).length / steps;
    // Four standard deviations.
    assert(
      Math.abs(frequency - probability) < 4 * Math.sqrt(probability / steps),
      `${token}: ${frequency}`,
    );
  });
  const again = await tokensOf(device, probabilities.map(Math.log), {
    temperature: 1,
    topP: 1,
    seed: 77,
  }, 50);
  assertEquals(again, tokens.slice(0, 50));
  const other = await tokensOf(device, probabilities.map(Math.log), {
    temperature: 1,
    topP: 1,
    seed: 78,
  }, 50);
  assert(other.some((token, step) => token !== tokens[step]));
});

deviceTest("masks, infinities and what is no number are never chosen", async (device) => {
  for (const { name, device: variant } of variants(device)) {
    for (const topP of [1, 0.9]) {
      for (const topK of [0, 4]) {
        const options = { temperature: 0.5, topP, topK, seed: 3 };
        for (const mask of [-3e38, -1e30, -Infinity, NaN]) {
          const logits = Array.from({ length: 70 }, (_, i) => i % 10 === 3 ? 1 : mask);
          const tokens = await tokensOf(variant, logits, options, 12);
          assert(
            tokens.every((token) => token % 10 === 3),
            `${name} ${topP} ${topK} ${mask}: ${tokens}`,
          );
        }
        const huge = await tokensOf(variant, [1, -3e38, 3e38, 0], options, 4);
        assertEquals(huge, [2, 2, 2, 2]);
        const nothing = await tokensOf(variant, new Array(9).fill(NaN), options, 2);
        assertEquals(nothing, [0, 0]);
      }
    }
  }
});

deviceTest("sampling refuses what it cannot do", (device) => {
  const logits = tensor(device, [1, 2], [1, 2]), state = stateOf(device, 2);
  const good = { temperature: 1, topP: 1, seed: 0 };
  assertThrows(() => sampleToken(logits, state, { ...good, temperature: -1 }), RangeError, "-1");
  assertThrows(() => sampleToken(logits, state, { ...good, topP: 0 }), RangeError, "topP 0");
  assertThrows(() => sampleToken(logits, state, { ...good, topK: 1.5 }), RangeError, "1.5");
  assertThrows(() => sampleToken(logits, state, { ...good, seed: 0.5 }), RangeError, "seed");
  assertThrows(() => sampleToken(logits.reshape(2, 1), state, good), RangeError, "[1, V]");
  assertThrows(
    () => sampleToken(logits, { ...state, step: logits }, good),
    RangeError,
    "step f32 [1, 2]",
  );
  return Promise.resolve();
});
