import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError, openCheckpoint } from "@medvlm/core";
import { checkpointSource, memoryFolder } from "@medvlm/core/checkpoint";
import { initialParameters, loadParameters, Parameters, TraceCollector } from "@medvlm/core/nn";
import { tensor } from "@medvlm/core/tensor";
import { assertCloseTo, deviceTest, normals } from "../../core/kernels/kernel_testing.ts";
import { checkGradients } from "../../core/tensor/gradient_testing.ts";
import { assembleBase } from "./assembly.ts";
import { type MedplibConfig, paper, presets } from "./config.ts";
import { readMedplibConfig } from "./config_files.ts";
import { compressRows, imageRowCount, maskRows, visualStack } from "./icl.ts";
import {
  inContextConfig,
  type ModuleValues,
  referenceCompressor,
  referenceMaskEncoder,
} from "./icl_testing.ts";
import { embedPrompt } from "./language.ts";
import { medplib } from "./mod.ts";
import type { MedplibModel } from "./model.ts";
import { inContextParameters, medplibParameters, names } from "./params.ts";
import { imagePlaceholder } from "./prompt.ts";
import { trainingBatch } from "./training_batch.ts";

/** The modules of a model of this width. */
function sized(hiddenSize: number, counts: Pick<MedplibConfig, "imageTokens" | "maskTokens">) {
  return { ...presets.tiny, llama: { ...presets.tiny.llama, hiddenSize }, ...counts };
}

async function valuesOf(p: Parameters, prefix: string): Promise<ModuleValues> {
  const values = new Map<string, Float32Array>();
  for (const { name } of p.specs) values.set(name, await p.value(name).readFloats());
  return (name) => values.get(prefix + name)!;
}

Deno.test("the modules have the published names and shapes, and no release has to have them", () => {
  const shapes = (config: MedplibConfig) =>
    Object.fromEntries(inContextParameters(config).map(({ name, shape }) => [name, shape]));
  assertEquals(shapes(paper), {});
  assertEquals(shapes({ ...paper, imageTokens: 256, maskTokens: 64 }), {
    "model.mm_token_compressor.norm.weight": [4096],
    "model.mm_token_compressor.norm.bias": [4096],
    "model.mm_token_compressor.proj.weight": [4096, 4096],
    "model.mm_token_compressor.proj.bias": [4096],
    "model.mask_encoder.encoder.0.weight": [64, 1, 3, 3],
    "model.mask_encoder.encoder.0.bias": [64],
    "model.mask_encoder.encoder.2.weight": [128, 64, 3, 3],
    "model.mask_encoder.encoder.2.bias": [128],
    "model.mask_encoder.encoder.4.weight": [256, 128, 3, 3],
    "model.mask_encoder.encoder.4.bias": [256],
    "model.mask_encoder.encoder.6.weight": [256, 256, 3, 3],
    "model.mask_encoder.encoder.6.bias": [256],
    "model.mask_encoder.proj.weight": [4096, 256],
    "model.mask_encoder.proj.bias": [4096],
    "model.mask_encoder.norm.weight": [4096],
    "model.mask_encoder.norm.bias": [4096],
  });
  assertEquals([imageRowCount(paper), imageRowCount(inContextConfig)], [576, 4]);
  assertEquals(
    medplibParameters(inContextConfig).length - medplibParameters({
      ...inContextConfig,
      imageTokens: undefined,
      maskTokens: undefined,
    }).length,
    16,
  );
});

for (const [patches, count, width] of [[49, 9, 13], [7, 7, 5], [5, 3, 1], [1, 1, 3]] as const) {
  deviceTest(`${patches} rows of width ${width} are compressed to ${count}`, async (device) => {
    const config = sized(width, { imageTokens: count });
    const p = await initialParameters(device, inContextParameters(config), 3);
    const of = await valuesOf(p, names.compressor);
    const images = 2, x = normals(images * patches * width, 5);
    const rows = tensor(device, x, [images * patches, width]);
    const y = compressRows(p, rows, images, count);
    assertEquals(y.shape, [images * count, width]);
    const expected = Array.from({ length: images }, (_, b) => {
      const own = x.subarray(b * patches * width, (b + 1) * patches * width);
      return [...referenceCompressor(own, width, count, of)];
    }).flat();
    assertCloseTo(await y.readFloats(), expected, { atol: 2e-5, rtol: 1e-4, nmse: 1e-9 });
    p.dispose();
  });
}

deviceTest("gradients pass through the compressor", async (device) => {
  const p = await initialParameters(device, inContextParameters(sized(6, { imageTokens: 4 })), 9);
  const of = await valuesOf(p, names.compressor);
  await checkGradients(device, {
    inputs: { x: { shape: [7, 6] } },
    operation: ({ x }) => compressRows(p, x, 1, 4),
    reference: ({ x }) => referenceCompressor(x, 6, 4, of),
  });
  p.dispose();
});

deviceTest("gradients reach the first convolution of the mask encoder", async (device) => {
  const [side, count, width] = [5, 1, 3];
  const made = await initialParameters(
    device,
    inContextParameters(sized(width, { maskTokens: count })),
    13,
  );
  const of = await valuesOf(made, names.maskEncoder);
  const mask = Float32Array.from({ length: side * side }, (_, i) => i % 3 === 0 ? 1 : 0);
  const first = `${names.maskEncoder}encoder.0.bias`;
  const planes = tensor(device, mask, [1, 1, side, side]);
  await checkGradients(device, {
    inputs: { bias: { shape: [64] } },
    operation: ({ bias }) => {
      const values = made.specs.map(({ name }) =>
        [name, name === first ? bias : made.value(name)] as const
      );
      return maskRows(new Parameters(device, made.specs, new Map(values)), planes, count);
    },
    reference: ({ bias }) =>
      referenceMaskEncoder(
        mask,
        side,
        count,
        (name) => name === "encoder.0.bias" ? bias : of(name),
      ).rows,
  });
  made.dispose();
});

deviceTest(
  "a checkpoint without the modules starts in-context training with new ones",
  async (device) => {
    const { imageTokens: _, maskTokens: __, ...without } = inContextConfig;
    const p = await initialParameters(device, medplibParameters(without), 8);
    const language = checkpointSource(
      "release",
      new Map([...p.entries()].map((entry) => [entry.name, entry])),
    );
    const assembled = await assembleBase({ language }, inContextConfig, 5);
    const again = await loadParameters(device, medplibParameters(inContextConfig), assembled);
    const headOf = (one: Parameters) => one.value("lm_head.weight").readFloats();
    assertEquals(await headOf(again), await headOf(p));
    const norm = await again.value(`${names.compressor}norm.weight`).readFloats();
    assertEquals([...new Set(norm)], [1]);
    const conv = await again.value(`${names.maskEncoder}encoder.6.weight`).readFloats();
    const bound = 1 / Math.sqrt(256 * 9);
    assert(conv.every((value) => Math.abs(value) <= bound));
    assert(conv.some((value) => value > 0.9 * bound));
    p.dispose();
    again.dispose();
  },
);

for (const [side, count, width] of [[37, 5, 7], [17, 4, 3], [1, 1, 5], [33, 2, 1]] as const) {
  deviceTest(`masks of ${side} pixels a side become ${count} rows`, async (device) => {
    const p = await initialParameters(
      device,
      inContextParameters(sized(width, { maskTokens: count })),
      7,
    );
    const of = await valuesOf(p, names.maskEncoder);
    const masks = normals(2 * side * side, 11).map((value) => value > 0 ? 1 : 0);
    const collected = new TraceCollector();
    const input = tensor(device, masks, [2, 1, side, side]);
    const y = maskRows(p, input, count, collected.trace);
    assertEquals(y.shape, [2 * count, width]);
    const expected = [0, 1].map((m) =>
      referenceMaskEncoder(masks.subarray(m * side * side, (m + 1) * side * side), side, count, of)
    );
    const conv = (await collected.values("mask_encoder_conv"))!;
    assertCloseTo(conv, expected.flatMap(({ conv }) => [...conv]), { nmse: 1e-9, what: "conv" });
    // The norm enlarges the differences of rows that hardly vary.
    const tolerance = { atol: 2e-3, rtol: 1e-3, nmse: 1e-6, what: "rows" };
    assertCloseTo(await y.readFloats(), expected.flatMap(({ rows }) => [...rows]), tolerance);
    p.dispose();
  });
}

const { clip: { imageSize: side } } = inContextConfig;
const image = (value: number) =>
  ({ kind: "image", pixels: new Float32Array(3 * side * side).fill(value) }) as const;
const mask = (value: number) =>
  ({ kind: "mask", plane: new Float32Array(side * side).fill(value) }) as const;

Deno.test("rows of images come before rows of masks, each input has its own", () => {
  const stack = visualStack([image(1), mask(2), image(3), mask(4)], inContextConfig);
  assertEquals([stack.images, stack.masks], [2, 2]);
  assertEquals(stack.spans, [
    { start: 0, length: 4 },
    { start: 8, length: 3 },
    { start: 4, length: 4 },
    { start: 11, length: 3 },
  ]);
  assertEquals([...new Set(stack.pixels)], [1, 3]);
  assertEquals([...new Set(stack.planes)], [2, 4]);
  const without = { ...inContextConfig, maskTokens: undefined };
  assertThrows(() => visualStack([mask(1)], without), InputError, "no mask encoder");
});

Deno.test("a batch with examples takes rows of each image and mask in the order of the text", () => {
  const seg = 9, pad = 0, at = imagePlaceholder;
  const truth = { width: 1, height: 1, data: new Uint8Array([1]) };
  const shared = {
    clipPixels: image(0).pixels,
    samPixels: new Float32Array(1),
    resized: { width: 1, height: 1 },
  };
  const samples = [
    { ...shared, ids: [1, at, 2], labels: [-100, -100, 2], masks: [] },
    {
      ...shared,
      // The first <SEG> belongs to an example.
      ids: [1, at, at, seg, at, 3, seg],
      labels: [-100, -100, -100, -100, -100, -100, seg],
      inputs: [image(1), mask(1), image(2)],
      masks: [truth],
    },
  ];
  const batch = trainingBatch(samples, inContextConfig, { seg, pad });
  assertEquals([batch.size, batch.length], [2, 15]);
  // 6 tokens of the first text, padding included, and 4 of the second; then 3 images of 4 rows, and a mask of 3.
  const rows = (start: number, length: number) => Array.from({ length }, (_, i) => start + i);
  assertEquals([...batch.source], [
    ...[0, ...rows(10, 4), 1, 2, 3, 4, 5, ...new Array(5).fill(-1)],
    ...[6, ...rows(14, 4), ...rows(22, 3), 7, ...rows(18, 4), 8, 9],
  ]);
  assertEquals([...batch.tokens], [1, 2, 0, 0, 0, 0, 1, 9, 3, 9]);
  assertEquals([...batch.lengths], [6, 15]);
  assertEquals(batch.masks.map(({ row }) => row), [15 + 13]);
  assertEquals([...batch.targetRows], [4, 28]);
  assertEquals([...batch.targets], [2, 9]);
  for (const inputs of [[image(1), mask(1)], [image(1), mask(1), image(2), image(3)]]) {
    assertThrows(
      () => trainingBatch([{ ...samples[1]!, inputs }], inContextConfig, { seg, pad }),
      InputError,
      "3 image placeholders",
    );
  }
});

deviceTest("a prompt takes every image where its placeholder is", async (device) => {
  const p = await initialParameters(device, medplibParameters(inContextConfig), 1);
  const table = await p.value("model.embed_tokens.weight").readFloats();
  const width = inContextConfig.llama.hiddenSize;
  const all = normals(5 * width, 2);
  const rows = tensor(device, all, [5, width]);
  const pieces = [{ tensor: rows, start: 2, length: 3 }, { tensor: rows, start: 0, length: 1 }];
  const ids = [imagePlaceholder, 7, imagePlaceholder, 8];
  const embedded = await embedPrompt(p, ids, pieces, undefined).readFloats();
  const token = (id: number) => table.subarray(id * width, (id + 1) * width);
  const expected = [
    ...all.subarray(2 * width),
    ...token(7),
    ...all.subarray(0, width),
    ...token(8),
  ];
  assertEquals([...embedded], expected);
  assertThrows(
    () => embedPrompt(p, ids, pieces.slice(1), undefined),
    InputError,
    "2 image placeholders and 1 images",
  );
  p.dispose();
});

deviceTest(
  "a model with in-context modules is saved, and loads again with them",
  async (device) => {
    await using model = await medplib.init(inContextConfig, { device, seed: 4 });
    const saved = memoryFolder("saved");
    await (model as MedplibModel).save(saved, "official");
    using tensors = await openCheckpoint(saved);
    const config = await readMedplibConfig({ folder: saved, tensors });
    assertEquals([config.imageTokens, config.maskTokens], [4, 3]);
    await using again = await medplib.load({ folder: saved, tensors }, { device });
    assertEquals(again.weightBytes, model.weightBytes);
    const mode = "separate";
    const picture = {
      width: 5,
      height: 7,
      channels: 1,
      bitDepth: 8,
      data: Uint8Array.from({ length: 35 }, (_, i) => 7 * i),
    } as const;
    const half = { width: 5, height: 7, data: picture.data.map((value) => value > 100 ? 1 : 0) };
    const request = { image: picture, examples: [{ image: picture, mask: half }], mode } as const;
    const tokens: (readonly number[])[] = [];
    for (const one of [model, again] as MedplibModel[]) {
      for await (const event of one.answerInContext(request, { maxNewTokens: 3 })) {
        if (event.type !== "done") continue;
        tokens.push(event.answer.tokens);
        const [phrase] = event.answer.phrases;
        assertEquals([phrase?.masks[0]?.width, phrase?.masks[0]?.height], [5, 7]);
      }
    }
    assertEquals(tokens.length, 2);
    assertEquals(tokens[0]!.length > 0, true);
    assertEquals(tokens[0], tokens[1]);
  },
);
