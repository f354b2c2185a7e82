import { assertEquals } from "@std/assert";
import { openFolder } from "@medvlm/core";
import { openCheckpoint } from "@medvlm/core/checkpoint";
import { HostDevice } from "@medvlm/core/device";
import { isStep } from "@medvlm/core/train";
import { medplib } from "@medvlm/medplib";
import { type MedplibConfig, type MedplibModel, presets } from "@medvlm/medplib/parts";
import { modelCard } from "./medplib_card.ts";
import { type MedplibRecipe, medplibRecipe, type StageRecipe } from "./medplib_recipe.ts";
import { releaseMedplib } from "./medplib_release.ts";
import { measureMedplib } from "./medplib_report.ts";
import { partWeights, talkPart, trainMedplib } from "./medplib_run.ts";
import { patchPart } from "./patch_task.ts";

/** The recipe with almost nothing of everything: what is tested is that the parts fit together. */
const few = { steps: 1, batch: 2 };
const fewer = (one: StageRecipe) => ({ ...one, ...few, each: 2 });
const recipe: MedplibRecipe = {
  ...medplibRecipe,
  phantoms: { size: 48, count: 12 },
  sam: { ...medplibRecipe.sam, ...few, masks: 1 },
  concepts: { ...medplibRecipe.concepts, ...few, masks: 1 },
  language: { ...medplibRecipe.language, ...few },
  clip: { ...medplibRecipe.clip, ...few },
  patches: medplibRecipe.patches.map((one) => ({ ...one, ...few })),
  words: { ...medplibRecipe.words, ...few },
  conversations: medplibRecipe.conversations.map(fewer),
  stages: Object.fromEntries(
    Object.entries(medplibRecipe.stages).map(([name, one]) => [name, fewer(one)]),
  ),
};
const { tiny } = presets;
const config: MedplibConfig = {
  ...tiny,
  llama: { ...tiny.llama, hiddenSize: 32, intermediateSize: 48, layers: 1, heads: 2, keyHeads: 2 },
  moe: { ...tiny.moe, layers: [0], experts: [2] },
  clip: { ...tiny.clip, hiddenSize: 24, intermediateSize: 32, layers: 2, heads: 2, imageSize: 56 },
  sam: {
    ...tiny.sam,
    imageSize: 64,
    patchSize: 8,
    width: 16,
    depth: 2,
    heads: 2,
    window: 4,
    globalBlocks: [1],
    outputWidth: 16,
  },
  samDecoder: { ...tiny.samDecoder, width: 16, heads: 2, mlpWidth: 32, iouWidth: 16 },
};

Deno.test("the parts of the recipe build on each other, and the finished model is measured", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const device = new HostDevice();
    const done: string[] = [];
    const train = () =>
      trainMedplib({
        device,
        folder,
        config,
        recipe,
        progress: (part, line) => {
          if (isStep(line)) done.push(part);
        },
      });
    assertEquals(await train(), true);
    const parts = [
      "sam",
      "concepts",
      "language",
      "clip",
      ...recipe.patches.map((_, cycle) => patchPart(cycle)),
      "words",
      ...recipe.conversations.map((_, round) => talkPart(round)),
      "alignment",
      "recognition",
      "grounding",
      "experts",
    ];
    assertEquals(done, parts);
    assertEquals(await train(), true);
    assertEquals(done, parts, "nothing is done twice");

    const release = `${folder}/release`;
    const bytes = await releaseMedplib(`${folder}/experts/${partWeights}`, config, release);
    const source = await openFolder(release);
    using tensors = await openCheckpoint(source);
    await using model = await medplib.load({ folder: source, tensors }, { device });
    const phantoms = { size: 48, seed: 1, split: "test", count: 2 } as const;
    const report = await measureMedplib(model as MedplibModel, phantoms);
    const card = await modelCard(folder, report, device.info.name, bytes);
    for (const text of ["| experts |", "closed questions: right answers", "masks: mean Dice"]) {
      assertEquals(card.includes(text), true, text);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
