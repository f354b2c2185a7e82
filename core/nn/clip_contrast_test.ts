import { assertEquals } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { slice } from "../tensor/movement.ts";
import { differentiate } from "../tensor/tape.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import {
  clipContrastParameters,
  clipImageEmbedding,
  clipLoss,
  clipSimilarities,
  clipTextEmbedding,
} from "./clip_contrast.ts";
import { clipTexts } from "./clip_text.ts";
import { clipVision, clipVisionParameters } from "./clip_vision.ts";
import { normLayer, projection } from "./layers.ts";
import { initialParameters, type Parameters } from "./parameters.ts";

const blocks = { heads: 3, layers: 2, activation: "quickGelu", epsilon: 1e-5 } as const;
const vision = { ...blocks, hiddenSize: 15, intermediateSize: 22, imageSize: 15, patchSize: 5 };
const contrast = {
  projectionWidth: 7,
  text: { ...blocks, hiddenSize: 12, intermediateSize: 17, vocabulary: 19, maxPositions: 9 },
};
const texts = clipTexts([[1, 5, 18, 2], [1, 2], [1, 7, 7, 3, 0, 11, 2]], contrast.text);

async function models(device: Device): Promise<[tower: Parameters, rest: Parameters]> {
  return [
    await initialParameters(device, clipVisionParameters(vision, "vision_model.", "F32"), 3),
    await initialParameters(device, clipContrastParameters(contrast, 15, "", "F32"), 4),
  ];
}

deviceTest(
  "an image is read at its class token, as if all tokens were carried on",
  async (device) => {
    const [tower, rest] = await models(device);
    {
      using _scope = device.scope();
      const p = tower.at("vision_model.");
      const pixels = tensor(device, normals(3 * 3 * 15 * 15, 1), [3, 3, 15, 15]);
      const classes = slice(clipVision(p, pixels, vision), 1, 0, 1).reshape(3, 15);
      const expected = projection(
        rest.at(""),
        "visual_projection",
        normLayer(p, "post_layernorm", classes, 1e-5),
      );
      const actual = clipImageEmbedding(p, rest.at(""), pixels, vision);
      assertEquals(actual.shape, [3, 7]);
      assertCloseTo(await actual.readFloats(), await expected.readFloats());
    }
    tower.dispose();
    rest.dispose();
  },
);

deviceTest("similarities start at cosines over 0.07 and never exceed 100", async (device) => {
  const [tower, rest] = await models(device);
  {
    using _scope = device.scope();
    const x = tensor(device, normals(2 * 7, 5), [2, 7]);
    const own = async () => {
      const values = await clipSimilarities(rest.at(""), x, x).readFloats();
      return [values[0]!, values[3]!];
    };
    assertCloseTo(await own(), [1 / 0.07, 1 / 0.07], { rtol: 1e-4 });
    rest.tensor("logit_scale").write(Float32Array.of(9));
    assertCloseTo(await own(), [100, 100], { rtol: 1e-4 });
  }
  tower.dispose();
  rest.dispose();
});

deviceTest("the contrastive loss has the slopes of its values", async (device) => {
  const [tower, rest] = await models(device);
  const pixels = tensor(device, normals(3 * 3 * 15 * 15, 1), [3, 3, 15, 15]);
  const loss = (): Tensor =>
    clipLoss(
      rest.at(""),
      clipImageEmbedding(tower.at("vision_model."), rest.at(""), pixels, vision),
      clipTextEmbedding(rest.at(""), texts, contrast.text),
    );
  const measure = async () => {
    using _scope = device.scope();
    return (await loss().readFloats())[0]!;
  };
  const all = [tower, rest].flatMap((p) =>
    p.specs.map(({ name }) => ({ name, value: p.value(name) }))
  );
  const { value, gradients } = differentiate(device, all.map(({ value }) => value), loss);
  for (const [i, { name, value }] of all.entries()) {
    const gradient = await gradients[i]!.readFloats(), before = await value.readFloats();
    // Along its own gradient the loss changes fastest: large enough to stand out from rounding.
    const length = Math.hypot(...gradient);
    const step = 1e-2 * Math.min(1, Math.hypot(...before) + 0.1);
    const at = async (sign: number) => {
      value.write(before.map((x, j) => x + sign * step * gradient[j]! / length));
      return await measure();
    };
    if (length > 1e-3) {
      const slope = (await at(1) - await at(-1)) / (2 * step);
      assertCloseTo([slope], [length], { atol: 2e-3, rtol: 0.03, nmse: 1e-2, what: name });
    }
    value.write(before);
    gradients[i]!.dispose();
  }
  for (const one of [value, pixels, tower, rest]) one.dispose();
});
