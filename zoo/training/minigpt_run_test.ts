import { assertEquals } from "@std/assert";
import { HostDevice } from "@medvlm/core/device";
import { tiny } from "@medvlm/core/minigpt";
import { isStep } from "@medvlm/core/train";
import { pefomed } from "@medvlm/pefomed";
import { pfmvg } from "@medvlm/pfmvg";
import { minigptCard, reportPefomed, reportPfmvg } from "./minigpt_card.ts";
import { minigptRecipe } from "./minigpt_recipe.ts";
import { basePart, trainMinigpt } from "./minigpt_run.ts";
import { patchPart } from "./patch_task.ts";

/** The recipe with almost nothing of everything: what is tested is that the parts fit together. */
const few = { steps: 1, batch: 2 };
const recipe = {
  ...minigptRecipe,
  phantoms: { size: 112, count: 12 },
  language: { ...minigptRecipe.language, ...few },
  patches: minigptRecipe.patches.map((one) => ({
    ...one,
    ...few,
    ...one.imageSize === undefined ? {} : { imageSize: 56 },
  })),
  words: { ...minigptRecipe.words, ...few },
  base: minigptRecipe.base.map((one) => ({ ...one, ...few, each: 3 })),
  own: {
    pfmvg: minigptRecipe.own.pfmvg.map((one) => ({ ...one, ...few, each: 3 })),
    pefomed: minigptRecipe.own.pefomed.map((one) => ({ ...one, ...few, each: 3 })),
  },
  stages: Object.fromEntries(
    Object.entries(minigptRecipe.stages).map(([system, stages]) => [
      system,
      Object.fromEntries(Object.entries(stages).map(([name, one]) => [name, { ...one, ...few }])),
    ]),
  ) as typeof minigptRecipe.stages,
};
const config = {
  ...tiny,
  llama: { ...tiny.llama, hiddenSize: 32, intermediateSize: 48, layers: 1, heads: 2, keyHeads: 2 },
  vision: {
    ...tiny.vision,
    hiddenSize: 24,
    intermediateSize: 32,
    layers: 1,
    heads: 2,
    imageSize: 112,
    storedGrid: 4,
  },
  adapters: { ...tiny.adapters, rank: 2, dropout: 0 },
};

Deno.test("one base serves the stages of both systems, and the finished models are measured", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const device = new HostDevice();
    const done: string[] = [];
    const train = (plugin: typeof pfmvg) =>
      trainMinigpt({
        device,
        folder,
        plugin,
        config,
        recipe,
        progress: (part, line) => {
          if (isStep(line)) done.push(part);
        },
      });
    assertEquals(await train(pfmvg), true);
    assertEquals(await train(pefomed), true);
    assertEquals(done, [
      "language",
      ...recipe.patches.map((_, cycle) => patchPart(cycle)),
      "words",
      ...recipe.base.map((_, cycle) => basePart(cycle)),
      "pfmvg-base",
      "pfmvg-captioning",
      "pfmvg-grounding",
      "pfmvg-grounding-alone",
      "pefomed-base",
      "pefomed-base-2",
      "pefomed-base-3",
      "pefomed-captioning",
      "pefomed-vqa-rad",
      "pefomed-report",
    ]);
    const source = { size: 112, seed: 1, split: "test", count: 2 } as const;
    for (
      const [plugin, report, figures] of [
        [pfmvg, reportPfmvg, ["boxes: mean IoU", "| stage 2 |", "| both stages |", "phantoms |"]],
        [pefomed, reportPefomed, ["closed questions: right answers", "BLEU-4, 5 references"]],
      ] as const
    ) {
      const run = { folder, device, plugin };
      const card = await minigptCard(run, await report(run, { source }), 1000);
      for (const figure of figures) assertEquals(card.includes(figure), true, figure);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
