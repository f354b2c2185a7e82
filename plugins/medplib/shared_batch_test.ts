import { assertEquals, assertThrows } from "@std/assert";
import { initialParameters, rowsInUse } from "@medvlm/core/nn";
import { differentiate } from "@medvlm/core/tensor";
import { AdamW } from "@medvlm/core/train";
import { assertCloseTo, deviceTest, normals } from "../../core/kernels/kernel_testing.ts";
import { denseConfig } from "./assembly.ts";
import { presets } from "./config.ts";
import { gridPositions } from "./grounding.ts";
import { medplibParameters, names } from "./params.ts";
import { imagePlaceholder, regionPlaceholder } from "./prompt.ts";
import { sharedBatch } from "./shared_batch.ts";
import { StageTraining } from "./training.ts";
import { type TrainingBatch, trainingBatch } from "./training_batch.ts";
import type { TrainingSample } from "./training_sample.ts";

const seg = 31, pad = 0;
const whole = denseConfig(presets.tiny);
const config = { ...whole, llama: { ...whole.llama, layers: 2 } };
const { clip: { imageSize }, sam: { imageSize: side } } = config;

/** A text of tokens before its picture, tokens behind it, and an answer. */
function sample(
  picture: number,
  before: readonly number[],
  behind: readonly number[],
  answer: readonly number[],
): TrainingSample {
  const ids = [...before, imagePlaceholder, ...behind, ...answer];
  const from = ids.length - answer.length;
  const isRegion = behind.includes(regionPlaceholder), isMask = answer.includes(seg);
  return {
    ids,
    labels: ids.map((id, i) => i < from ? -100 : id),
    clipPixels: normals(3 * imageSize ** 2, picture),
    ...(isRegion ? { cells: [[picture, 2], [3, 5]] as const } : {}),
    masks: isMask
      ? [{
        width: 40,
        height: 40,
        data: Uint8Array.from({ length: 1600 }, (_, i) => i % (3 + answer[0]!) === 0 ? 1 : 0),
      }]
      : [],
    ...(isMask
      ? {
        samPixels: normals(3 * side ** 2, 50 + picture),
        resized: { width: side, height: side },
      }
      : {}),
  };
}

const pictures = [
  [
    sample(1, [1, 5, 9], [7, 8], [12]),
    sample(1, [1, 5, 9], [7, regionPlaceholder, 8, 40, 41], [13, 14, 2]),
    sample(1, [1, 5, 9], [9], [5, 6, seg, 2]),
  ],
  [sample(2, [1, 6, 9], [7, 7, 7], [4, seg, 2])],
  [
    sample(3, [1, 5, 9], [22, 8], [11, 2]),
    sample(3, [1, 5, 9], [7, 8, 9, 10, 11], [12, seg]),
    sample(3, [1, 5, 9], [7], [3, seg, 2]),
  ],
];

deviceTest("what samples share is learned from as if each had its own", async (device) => {
  const p = await initialParameters(device, medplibParameters(config), 3);
  const positions = await gridPositions(p.at(names.sam), config);
  using training = new StageTraining(
    p,
    config,
    {
      name: "all",
      purpose: "test",
      source: "test",
      after: "base",
      trains: ["model."],
      losses: { ce: 1, bce: 1, dice: 0.5, iou: 0.25, focal: 0 },
      schedule: { kind: "constant", rate: 1e-3 },
      betas: [0.9, 0.98],
      weightDecay: 0,
      batch: 1,
      epochs: 1,
      maxTokens: 100,
      data: [],
      experts: false,
    },
    positions,
    { seed: 1 },
  );
  using optimiser = new AdamW(device, [{ parameters: training.trained.trained }]);
  const measure = async (batch: TrainingBatch) => {
    using _scope = device.scope();
    const { value, gradients } = differentiate(
      device,
      optimiser.leaves,
      () => training.loss(batch, 0, 0).total,
    );
    const read: Float32Array[] = [];
    for (const one of gradients) read.push(await one?.readFloats() ?? new Float32Array());
    return { loss: (await value.readFloats())[0]!, read };
  };
  const own = await measure(trainingBatch(pictures.flat(), config, { seg, pad }));
  const shared = await measure(sharedBatch(pictures, config, { seg, pad }));
  assertCloseTo([shared.loss], [own.loss], { rtol: 1e-5, what: "loss" });
  training.trained.trained.forEach(({ name }, i) => {
    // All keys moving alike changes nothing: their bias has no gradient but rounding.
    if (name.endsWith("k_proj.bias")) return;
    assertCloseTo(shared.read[i]!, own.read[i]!, { nmse: 1e-7, atol: 1e-4, what: name });
  });
  positions.dispose();
  p.dispose();
});

Deno.test("prefixes come before all other rows, and each picture is encoded once", () => {
  const batch = sharedBatch(pictures, config, { seg, pad });
  const imageRows = (imageSize / config.clip.patchSize) ** 2;
  assertEquals(batch.size, 7);
  assertEquals(batch.length, 8);
  assertEquals(batch.prefixes!.rows, 3 + imageRows);
  assertEquals([...batch.prefixes!.of], [0, 0, 0, 1, 2, 2, 2]);
  assertEquals([batch.visual.images, batch.samPixels.length], [3, 3 * 3 * side ** 2]);
  assertEquals(batch.masks.map(({ sample, picture }) => [sample, picture]), [
    [2, 0],
    [3, 1],
    [5, 2],
    [6, 2],
  ]);
  const tokenAt = (row: number) => batch.tokens[batch.source[row]!];
  for (const { row } of batch.masks) assertEquals(tokenAt(row + 1), seg);
  batch.targetRows.forEach((row, i) => assertEquals(tokenAt(row + 1), batch.targets[i]));
  assertEquals(rowsInUse(batch), 3 * batch.prefixes!.rows + 3 + 8 + 5 + 6 + 4 + 7 + 4);
  assertEquals([...batch.lengths].map((length) => length - batch.prefixes!.rows), [
    ...[3, 8, 5, 6, 4, 7, 4],
  ]);
});

Deno.test("texts that begin differently share nothing", () => {
  const differ = [[sample(1, [1, 5], [7], [2]), sample(1, [1, 6], [7], [2])]];
  const lengths = [[sample(1, [1, 5], [7], [2])], [sample(2, [1, 5, 6], [7], [2])]];
  const none = [[{ ...sample(1, [1], [7], [2]), ids: [1, 7, 2] }]];
  for (const pictures of [differ, lengths, none]) {
    assertThrows(() => sharedBatch(pictures, config, { seg, pad }), RangeError, "share");
  }
  assertThrows(
    () => sharedBatch([[sample(1, [1], [], [2])]], config, { seg, pad }),
    RangeError,
    "at once",
  );
});
