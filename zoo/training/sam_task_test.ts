import { assertEquals } from "@std/assert";
import { type Device, openDevice } from "@medvlm/core/device";
import {
  initialParameters,
  samDecoderParameters,
  samEncoderParameters,
  samPromptParameters,
} from "@medvlm/core/nn";
import { Trainer } from "@medvlm/core/train";
import { conceptEmbeddings, conceptNames } from "./concepts.ts";
import { probeSam } from "./sam_probe.ts";
import { samGroups, type SamModel, samPlaces, samTask } from "./sam_task.ts";

async function smallModel(device: Device): Promise<SamModel> {
  const encoder = {
    imageSize: 32,
    patchSize: 4,
    width: 32,
    depth: 2,
    heads: 2,
    mlpRatio: 2,
    window: 4,
    globalBlocks: [1],
    outputWidth: 32,
    adapter: true,
  };
  const decoder = {
    depth: 2,
    heads: 2,
    mlpWidth: 64,
    maskTokens: 2,
    iouLayers: 2,
    iouWidth: 16,
    width: 32,
  };
  const specs = [
    ...samEncoderParameters(encoder, "sam.image_encoder.", "F32"),
    ...samPromptParameters({ width: 32, maskChannels: 4 }, "sam.prompt_encoder.", "F32"),
    ...samDecoderParameters(decoder, "sam.mask_decoder.", "F32"),
  ];
  return {
    parameters: await initialParameters(device, specs, 1),
    prefix: "sam.",
    encoder,
    decoder,
    input: { side: 32, statistics: { mean: [100, 100, 100], std: [60, 60, 60] }, scale: 1 },
  };
}

Deno.test({
  name: "the masks of four pictures are learned by heart",
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    await using device = await openDevice();
    const model = await smallModel(device);
    const places = await samPlaces(model);
    // Normal pictures: four structures each, none of a few pixels only.
    const source = { size: 32, seed: 5, count: 4, prevalence: { normal: 1, each: 0 } };
    const task = samTask(model, places, {
      source,
      pictures: 4,
      masks: 4,
      seed: 1,
      boxShare: 1,
      weightDecay: 0,
    });
    let first = NaN, last = NaN, iou = NaN;
    {
      const rate = (step: number) => 3e-3 * Math.min((step + 1) / 10, 1, (200 - step) / 60);
      using trainer = new Trainer(device, task, { steps: 200, rate, optimiser: { maxNorm: 1 } });
      for await (const { step, loss, terms } of trainer.run()) {
        if (step === 0) first = loss;
        [last, iou] = [loss, terms.iou!];
      }
    }
    assertEquals(last < first / 10, true);
    assertEquals(iou < 0.01, true);
    const probe = await probeSam(model, places, { ...source, split: "train" });
    assertEquals(Object.keys(probe.classes).sort(), ["aorta", "heart", "left lung", "right lung"]);
    assertEquals(probe.classes.heart!.masks, 4);
    assertEquals(probe.dice > 0.95, true, `Dice ${JSON.stringify(probe)}`);
    places.grid.dispose();
    model.parameters.dispose();
  },
});

Deno.test({
  name: "what the single mask does not depend on is not trained",
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    await using device = await openDevice({ device: "wasm" });
    const model = await smallModel(device);
    const names = samGroups(model, 0.1).flatMap(({ parameters }) =>
      parameters.map(({ name }) => name)
    );
    const untouched = model.parameters.specs.map(({ name }) => name).filter((name) =>
      !names.includes(name)
    );
    assertEquals(
      untouched.map((name) => name.replace(/\.(weight|bias)$/, "")).filter((name, i, all) =>
        all.indexOf(name) === i
      ),
      [
        "sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ...[0, 1, 3, 4, 6].map((n) => `sam.prompt_encoder.mask_downscaling.${n}`),
        ...[0, 1, 2].map((n) => `sam.mask_decoder.output_hypernetworks_mlps.1.layers.${n}`),
      ],
    );
    model.parameters.dispose();
  },
});

Deno.test({
  name: "things are learned by their names too",
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    await using device = await openDevice();
    const plain = await smallModel(device);
    const concepts = conceptEmbeddings(device, plain.decoder.width, 3);
    assertEquals(concepts.shape, [conceptNames.length, 32]);
    const model = { ...plain, concepts };
    const places = await samPlaces(model);
    const source = { size: 32, seed: 5, count: 4, prevalence: { normal: 1, each: 0 } };
    const task = samTask(model, places, { source, pictures: 4, masks: 3, nameShare: 1, seed: 2 });
    const [batch] = await task.batches(0);
    // Rows of the table, those of the normal structures only.
    const asked = batch!.prompts as Int32Array;
    assertEquals([asked.length, asked.every((row) => row >= 0 && row < 5)], [12, true]);
    const before = await probeSam(model, places, source, "name");
    using trainer = new Trainer(device, task, { steps: 120, rate: () => 5e-3 });
    for await (const _ of trainer.run());
    const after = await probeSam(model, places, source, "name");
    assertEquals(Object.keys(after.classes), [
      "lungs",
      "right lung",
      "left lung",
      "heart",
      "aorta",
    ]);
    assertEquals(
      after.dice > before.dice + 0.4,
      true,
      `${before.dice} ${after.dice}`,
    );
  },
});
