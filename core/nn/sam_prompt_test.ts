import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { tensor } from "../tensor/tensor.ts";
import { initialParameters, type Parameters } from "./parameters.ts";
import {
  addDensePrompt,
  densePositions,
  placePrompts,
  type SamPrompt,
  samPromptParameters,
  samPromptTokens,
} from "./sam_prompt.ts";

const width = 12, maskChannels = 4, side = 40;

async function parameters(device: Device): Promise<Parameters> {
  const specs = samPromptParameters({ width, maskChannels }, "prompt_encoder.", "F32").map(
    (spec) => ({ ...spec, init: { kind: "normal" as const, std: 1 } }),
  );
  return await initialParameters(device, specs, 5);
}

async function floats(p: Parameters, name: string): Promise<Float32Array> {
  return await p.tensor(`prompt_encoder.${name}`).readFloats();
}

/** `PositionEmbeddingRandom.forward_with_coords` of one point. */
function features(gaussian: Float32Array, x: number, y: number): number[] {
  const half = gaussian.length / 2;
  const angles = Array.from({ length: half }, (_, f) => {
    const u = 2 * ((x + 0.5) / side) - 1, v = 2 * ((y + 0.5) / side) - 1;
    return 2 * Math.PI * (u * gaussian[f]! + v * gaussian[half + f]!);
  });
  return [...angles.map(Math.sin), ...angles.map(Math.cos)];
}

const sum = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a, (value, i) => value + b[i]!);

deviceTest("points and boxes become the tokens of the official encoder", async (device) => {
  const p = await parameters(device);
  const gaussian = await floats(p, "pe_layer.positional_encoding_gaussian_matrix");
  const [outside, inside, upper, lower] = await Promise.all(
    [0, 1, 2, 3].map((n) => floats(p, `point_embeddings.${n}.weight`)),
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const none = await floats(p, "not_a_point_embed.weight");
  const tokens = async (prompts: SamPrompt[]) => {
    using _scope = device.scope();
    const y = samPromptTokens(p.at("prompt_encoder."), placePrompts(prompts, gaussian, side));
    return { shape: y.shape, values: await y.readFloats() };
  };

  const points = await tokens([
    { points: [{ x: 3, y: 17, inside: true }, { x: 39.5, y: 0, inside: false }] },
    { points: [{ x: 20, y: 20, inside: false }, { x: 1, y: 2, inside: true }] },
  ]);
  assertEquals(points.shape, [2, 3, width]);
  assertCloseTo(
    points.values,
    [
      sum(features(gaussian, 3, 17), inside),
      sum(features(gaussian, 39.5, 0), outside),
      none,
      sum(features(gaussian, 20, 20), outside),
      sum(features(gaussian, 1, 2), inside),
      none,
    ].flatMap((row) => [...row]),
  );

  const boxes = await tokens([{ box: [1, 2, 30, 35], points: [{ x: 5, y: 6, inside: true }] }]);
  assertEquals(boxes.shape, [1, 3, width]);
  assertCloseTo(
    boxes.values,
    [
      sum(features(gaussian, 5, 6), inside),
      sum(features(gaussian, 1, 2), upper),
      sum(features(gaussian, 30, 35), lower),
    ].flat(),
  );
  p.dispose();
});

Deno.test("the grid's features are those of points at cell centres", () => {
  const gaussian = normals(width, 8);
  const rows = densePositions(gaussian, 4, 5);
  for (const [y, x] of [[0, 0], [3, 1], [2, 4]] as const) {
    const own = rows.subarray((5 * y + x) * width, (5 * y + x + 1) * width);
    // Cell centres in pixels of an input of 40: 8 pixels a column, 10 a row.
    assertCloseTo(own, features(gaussian, 8 * x + 3.5, 10 * y + 4.5), { atol: 1e-5 });
  }
});

Deno.test("prompts of different forms, and empty ones, are refused", () => {
  const gaussian = normals(width, 8);
  const box = [0, 0, 9, 9] as const, points = [{ x: 1, y: 1, inside: true }];
  for (const prompts of [[{ box }, { points }], [{}], [{ box }, { box, points }]]) {
    assertThrows(() => placePrompts(prompts, gaussian, side), RangeError, "prompts together");
  }
});

deviceTest("a dense prompt: the row of no mask, or the downscaled mask", async (device) => {
  const p = await parameters(device);
  {
    using _scope = device.scope();
    const image = normals(2 * width * 3 * 5, 9), scope = p.at("prompt_encoder.");
    const embeddings = tensor(device, image, [2, width, 3, 5]);
    const row = await floats(p, "no_mask_embed.weight");
    assertCloseTo(
      await addDensePrompt(scope, embeddings).readFloats(),
      Array.from(image, (value, i) => value + row[Math.floor(i / 15) % width]!),
    );

    const masks = normals(2 * 12 * 20, 10);
    const dense = await addDensePrompt(scope, embeddings, tensor(device, masks, [2, 1, 12, 20]))
      .readFloats();
    const down = await Promise.all(
      [0, 1, 3, 4, 6].map(async (n) => ({
        weight: await floats(p, `mask_downscaling.${n}.weight`),
        bias: await floats(p, `mask_downscaling.${n}.bias`),
      })),
    );
    const expected = maskReference(masks, 2, 12, 20, down).map((value, i) => value + image[i]!);
    assertCloseTo(dense, expected, { atol: 1e-4, rtol: 1e-4 });
    assertThrows(
      () => addDensePrompt(scope, embeddings, tensor(device, masks, [2, 1, 20, 12])),
      RangeError,
      "expected [2, 1, 12, 20]",
    );
  }
  p.dispose();
});

interface Affine {
  weight: Float32Array;
  bias: Float32Array;
}

/** Strided convolution, norm over channels and GELU, twice, then a pointwise convolution, in double precision. */
function maskReference(
  masks: ArrayLike<number>,
  batch: number,
  height: number,
  columns: number,
  [first, norm1, second, norm2, last]: Affine[],
): number[] {
  let planes = { data: Array.from(masks), channels: 1, height, columns };
  const convolve = ({ weight, bias }: Affine, size: number) => {
    const { data, channels } = planes;
    const out = bias.length, h = planes.height / size, w = planes.columns / size;
    const next = new Array<number>(batch * out * h * w);
    for (let b = 0; b < batch; b++) {
      for (let o = 0; o < out; o++) {
        for (let y = 0; y < h; y++) {
          for (let x = 0; x < w; x++) {
            let total = bias[o]!;
            for (let c = 0; c < channels; c++) {
              for (let dy = 0; dy < size; dy++) {
                for (let dx = 0; dx < size; dx++) {
                  total += weight[((o * channels + c) * size + dy) * size + dx]! *
                    data[
                      ((b * channels + c) * planes.height + size * y + dy) * planes.columns +
                      size * x + dx
                    ]!;
                }
              }
            }
            next[((b * out + o) * h + y) * w + x] = total;
          }
        }
      }
    }
    planes = { data: next, channels: out, height: h, columns: w };
  };
  const normalise = ({ weight, bias }: Affine) => {
    const { data, channels } = planes, pixels = planes.height * planes.columns;
    for (let b = 0; b < batch; b++) {
      for (let i = 0; i < pixels; i++) {
        const at = (c: number) => (b * channels + c) * pixels + i;
        const values = Array.from({ length: channels }, (_, c) => data[at(c)]!);
        const mean = values.reduce((all, one) => all + one, 0) / channels;
        const variance = values.reduce((all, one) => all + (one - mean) ** 2, 0) / channels;
        values.forEach((value, c) => {
          const x = (value - mean) / Math.sqrt(variance + 1e-6) * weight[c]! + bias[c]!;
          data[at(c)] = 0.5 * x * (1 + erf(x / Math.SQRT2));
        });
      }
    }
  };
  convolve(first!, 2);
  normalise(norm1!);
  convolve(second!, 2);
  normalise(norm2!);
  convolve(last!, 1);
  return planes.data;
}

/** Error function by its series, which converges everywhere. */
function erf(x: number): number {
  let term = x, total = x;
  for (let n = 1; n < 200; n++) {
    term *= -x * x / n;
    total += term / (2 * n + 1);
  }
  return Math.max(-1, Math.min(1, 2 / Math.sqrt(Math.PI) * total));
}
