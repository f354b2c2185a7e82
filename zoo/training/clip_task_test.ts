import { assertEquals } from "@std/assert";
import { type Device, openDevice } from "@medvlm/core/device";
import { clipContrastParameters, clipVisionParameters, initialParameters } from "@medvlm/core/nn";
import { type StepRecord, Trainer } from "@medvlm/core/train";
import { probeClip } from "./clip_probe.ts";
import { type ClipModel, clipTask } from "./clip_task.ts";

const vocabulary = 211;

/** Words as numbers: enough to tell reports apart. */
function tokenise(text: string): number[] {
  const words = text.toLowerCase().match(/[a-z]+/g) ?? [];
  const number = (word: string) =>
    2 + [...word].reduce((sum, letter) => (31 * sum + letter.charCodeAt(0)) % (vocabulary - 2), 7);
  return [0, ...words.map(number), 1];
}

async function smallModel(device: Device): Promise<ClipModel> {
  const blocks = { activation: "quickGelu", epsilon: 1e-5, heads: 2 } as const;
  const visionConfig = {
    ...blocks,
    hiddenSize: 32,
    intermediateSize: 64,
    layers: 2,
    imageSize: 32,
    patchSize: 8,
  };
  const contrastConfig = {
    projectionWidth: 24,
    text: {
      ...blocks,
      hiddenSize: 24,
      intermediateSize: 48,
      layers: 1,
      vocabulary,
      maxPositions: 48,
    },
  };
  return {
    vision: await initialParameters(
      device,
      clipVisionParameters(visionConfig, "vision_model.", "F32"),
      1,
    ),
    visionPrefix: "vision_model.",
    visionConfig,
    contrast: await initialParameters(
      device,
      clipContrastParameters(contrastConfig, 32, "", "F32"),
      2,
    ),
    contrastConfig,
    input: {
      side: 32,
      statistics: { mean: [0.5, 0.5, 0.5], std: [0.3, 0.3, 0.3] },
      scale: 1 / 255,
    },
    tokenise,
  };
}

Deno.test({
  name: "the contrast of eight pictures with their reports is learned by heart",
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    await using device = await openDevice();
    const model = await smallModel(device);
    const source = {
      size: 32,
      seed: 5,
      count: 8,
      prevalence: { normal: 0, each: 0.5 },
    };
    const task = clipTask(model, { source, batch: 8, seed: 1, wordings: 2 });
    const records: StepRecord[] = [];
    {
      const rate = (step: number) => 3e-3 * Math.min(1, (step + 1) / 10);
      using trainer = new Trainer(device, task, { steps: 60, rate, optimiser: { maxNorm: 1 } });
      for await (const record of trainer.run()) records.push(record);
    }
    const mean = (part: StepRecord[]) =>
      part.reduce((sum, { loss }) => sum + loss, 0) / part.length;
    assertEquals(records[0]!.loss > 1, true);
    assertEquals(mean(records.slice(-5)) < 0.05, true);
    // The same pictures: every one finds its report.
    const probe = await probeClip(model, { ...source, split: "train" });
    assertEquals([probe.imageToText, probe.textToImage, probe.sameFindings], [1, 1, 1]);
    assertEquals(probe.count, 8);

    // Batches depend on the step alone.
    const [first, again, other] = await Promise.all([3, 3, 4].map((step) => task.batches(step)));
    assertEquals(first, again);
    assertEquals(String(first![0]!.texts.ids) === String(other![0]!.texts.ids), false);
    model.vision.dispose();
    model.contrast.dispose();
  },
});
