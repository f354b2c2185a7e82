import { assertAlmostEquals, assertEquals } from "@std/assert";
import { type Device, openDevice } from "@medvlm/core/device";
import { clipVision, clipVisionParameters, initialParameters } from "@medvlm/core/nn";
import { slice } from "@medvlm/core/tensor";
import { Trainer } from "@medvlm/core/train";
import { chestPhantom } from "../phantoms/mod.ts";
import { conceptNames } from "./concepts.ts";
import {
  freshNames,
  markedPicture,
  type PatchModel,
  patchTask,
  probePatches,
  rareWeights,
} from "./patch_task.ts";
import { thingNames } from "./patch_names.ts";

const clip = {
  hiddenSize: 32,
  intermediateSize: 64,
  layers: 1,
  heads: 2,
  activation: "quickGelu",
  epsilon: 1e-5,
  imageSize: 48,
  patchSize: 8,
} as const;
const input = {
  side: 48,
  statistics: { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
  scale: 1 / 255,
};

async function smallModel(device: Device): Promise<PatchModel> {
  const parameters = await initialParameters(device, clipVisionParameters(clip, "", "F32"), 1);
  return {
    parameters,
    trained: parameters.specs.map(({ name }) => name).filter((name) => !name.startsWith("post_")),
    patches: (pixels) => {
      const hidden = clipVision(parameters.at(""), pixels, clip);
      return slice(hidden, 1, 1, hidden.shape[1]! - 1).reshape(-1, clip.hiddenSize);
    },
    grid: [6, 6],
    ...freshNames(device, thingNames, clip.hiddenSize, 2),
    input,
  };
}

Deno.test("a patch shows what any of its pixels belongs to", () => {
  const phantom = chestPhantom({ size: 48, seed: 3, index: 5 });
  const { marks, picture } = markedPicture(phantom, { input, grid: [6, 6], names: thingNames });
  assertEquals([picture.length, marks.length], [48 * 48, 36 * conceptNames.length]);
  for (const [name, mask] of Object.entries(phantom.structures)) {
    const column = conceptNames.indexOf(name);
    for (let cell = 0; cell < 36; cell++) {
      let shows = 0;
      for (let y = 0; y < 8; y++) {
        for (let x = 0; x < 8; x++) {
          shows |= mask.data[(8 * Math.floor(cell / 6) + y) * 48 + 8 * (cell % 6) + x]!;
        }
      }
      assertEquals(marks[cell * conceptNames.length + column], shows, `${name} in cell ${cell}`);
    }
  }
});

Deno.test({
  name: "what the patches of four pictures show is learned by heart",
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    await using device = await openDevice();
    const model = await smallModel(device);
    const source = { size: 48, seed: 5, count: 4, prevalence: { normal: 1, each: 0 } };
    const task = patchTask(model, { source, batch: 4, seed: 2 });
    using trainer = new Trainer(device, task, { steps: 80, rate: () => 1e-2 });
    const losses: number[] = [];
    for await (const { loss } of trainer.run()) losses.push(loss);
    assertEquals(losses.at(-1)! < losses[0]! / 3, true, `${losses[0]} to ${losses.at(-1)}`);
    const dice = await probePatches(model, { ...source, split: "train" });
    for (const name of ["lungs", "right lung", "left lung", "heart"]) {
      assertEquals(dice[name]! > 0.8, true, `${name} ${dice[name]}`);
    }
  },
});

Deno.test("rare names weigh more where they are, and no name more than another", () => {
  // Of four patches one, three, none and all.
  const targets = Float32Array.of(1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1);
  const weights = rareWeights(targets, 4);
  const of = (name: number) => [0, 1, 2, 3].map((patch) => weights[patch * 4 + name]!);
  for (let name = 0; name < 4; name++) {
    assertAlmostEquals(of(name).reduce((sum, weight) => sum + weight), 4, 1e-5);
  }
  assertAlmostEquals(of(0)[0]! / of(0)[1]!, Math.sqrt(3), 1e-5);
  assertAlmostEquals(of(1)[0]! / of(1)[3]!, Math.sqrt(1 / 3), 1e-5);
  assertEquals([of(2), of(3)], [[1, 1, 1, 1], [1, 1, 1, 1]]);
});
