import { assertEquals, assertThrows } from "@std/assert";
import { assertCloseTo, deviceTest } from "../kernels/kernel_testing.ts";
import type { Device } from "../device/mod.ts";
import { clipText, type ClipTextConfig, clipTextParameters, clipTexts } from "./clip_text.ts";
import { initialParameters, type Parameters } from "./parameters.ts";

const config: ClipTextConfig = {
  hiddenSize: 21,
  intermediateSize: 37,
  layers: 2,
  heads: 3,
  activation: "quickGelu",
  epsilon: 1e-5,
  vocabulary: 29,
  maxPositions: 11,
};

/** Random values for everything, biases and norms too, large enough to matter. */
async function parameters(device: Device): Promise<Parameters> {
  const specs = clipTextParameters(config, "text_model.", "F32").map((spec) => ({
    ...spec,
    init: { kind: "normal" as const, std: 0.4 },
  }));
  return await initialParameters(device, specs, 3);
}

type Values = (name: string) => Float64Array;

async function valuesOf(p: Parameters): Promise<Values> {
  const values = new Map<string, Float64Array>();
  for (const { name } of p.specs) {
    values.set(name, Float64Array.from(await p.value(name).readFloats()));
  }
  return (name) => values.get(`text_model.${name}`)!;
}

function normed(x: Float64Array, weight: Float64Array, bias: Float64Array): Float64Array {
  const mean = x.reduce((sum, one) => sum + one, 0) / x.length;
  const variance = x.reduce((sum, one) => sum + (one - mean) ** 2, 0) / x.length;
  return x.map((one, c) =>
    (one - mean) / Math.sqrt(variance + config.epsilon) * weight[c]! + bias[c]!
  );
}

function layer(values: Values, name: string, x: Float64Array): Float64Array {
  const weight = values(`${name}.weight`), bias = values(`${name}.bias`);
  return bias.map((start, row) =>
    x.reduce((sum, one, column) => sum + one * weight[row * x.length + column]!, start)
  );
}

/** The tower on one text, token by token, in double precision. */
function reference(values: Values, ids: readonly number[]): Float64Array {
  const width = config.hiddenSize, size = width / config.heads;
  const table = values("embeddings.token_embedding.weight");
  const positions = values("embeddings.position_embedding.weight");
  let rows = ids.map((id, t) =>
    Float64Array.from(
      { length: width },
      (_, c) => table[id * width + c]! + positions[t * width + c]!,
    )
  );
  const norm = (name: string, x: Float64Array) =>
    normed(x, values(`${name}.weight`), values(`${name}.bias`));
  for (let n = 0; n < config.layers; n++) {
    const at = `encoder.layers.${n}.`;
    const inputs = rows.map((x) => norm(`${at}layer_norm1`, x));
    const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((name) =>
      inputs.map((x) => layer(values, `${at}self_attn.${name}`, x))
    ) as [Float64Array[], Float64Array[], Float64Array[]];
    rows = rows.map((x, t) => {
      const mixed = new Float64Array(width);
      for (let h = 0; h < config.heads; h++) {
        const scores = k.slice(0, t + 1).map((key) => {
          let dot = 0;
          for (let c = h * size; c < (h + 1) * size; c++) dot += q[t]![c]! * key[c]!;
          return Math.exp(dot / Math.sqrt(size));
        });
        const sum = scores.reduce((all, one) => all + one, 0);
        scores.forEach((score, s) => {
          for (let c = h * size; c < (h + 1) * size; c++) mixed[c]! += score / sum * v[s]![c]!;
        });
      }
      const out = layer(values, `${at}self_attn.out_proj`, mixed);
      const attended = x.map((one, c) => one + out[c]!);
      const inner = layer(values, `${at}mlp.fc1`, norm(`${at}layer_norm2`, attended))
        .map((one) => one / (1 + Math.exp(-1.702 * one)));
      const added = layer(values, `${at}mlp.fc2`, inner);
      return attended.map((one, c) => one + added[c]!);
    });
  }
  return norm("final_layer_norm", rows.at(-1)!);
}

const texts = [[1, 5, 28, 2], [1, 2], [1, 7, 7, 3, 0, 11, 2], [4]];

deviceTest(
  "the text tower equals double precision at the end token of each text",
  async (device) => {
    const p = await parameters(device);
    const values = await valuesOf(p);
    const y = clipText(p.at("text_model."), clipTexts(texts, config), config);
    assertEquals(y.shape, [texts.length, config.hiddenSize]);
    const expected = texts.flatMap((ids) => [...reference(values, ids)]);
    assertCloseTo(await y.readFloats(), expected, { atol: 1e-4, rtol: 1e-4, nmse: 1e-9 });
    y.dispose();
    p.dispose();
  },
);

Deno.test("long texts are cut and keep their end token", () => {
  const long = Array.from({ length: 40 }, (_, i) => i % 20);
  const { ids, ends } = clipTexts([[1, 2], [...long, 25]], config);
  assertEquals([...ends], [1, config.maxPositions - 1]);
  assertEquals([...ids.slice(config.maxPositions)], [
    ...long.slice(0, config.maxPositions - 1),
    25,
  ]);
  assertThrows(() => clipTexts([[1], []], config), RangeError, "without tokens");
});

deviceTest("texts beyond the table of positions are refused", async (device) => {
  const p = await parameters(device);
  const ids = new Int32Array(2 * (config.maxPositions + 1)), ends = Int32Array.of(3, 4);
  assertThrows(
    () => clipText(p.at("text_model."), { ids, ends }, config),
    RangeError,
    "equal lengths of at most 11",
  );
  p.dispose();
});
