/**
 * PFMVG: phrases of radiology reports grounded by boxes written as text, two-stage tuning of MiniGPT-v2.
 *
 * @example Look for a finding
 * ```ts ignore
 * import { openDevice } from "@medvlm/core";
 * import { pfmvg } from "@medvlm/pfmvg";
 *
 * await using model = await pfmvg.init(pfmvg.presets.tiny, { device: await openDevice(), seed: 0 });
 * for await (const event of model.answer({ image, prompt: "left pneumothorax" })) console.log(event);
 * ```
 *
 * @module
 */
import type { Plugin } from "@medvlm/core";
import { familyPlugin, type MinigptConfig } from "@medvlm/core/minigpt";
import { ask } from "./grounding.ts";
import { published } from "./published.ts";
import { stageOf, stages } from "./stages.ts";
import { teach } from "./teaching.ts";

export type { PfmvgOptions } from "./grounding.ts";

/** The plugin. */
export const pfmvg: Plugin<MinigptConfig> = familyPlugin({
  name: "pfmvg",
  paper: {
    title:
      "Parameter-Efficient Fine-Tuning Medical Multimodal Large Language Models for Medical Visual Grounding",
    authors: "Jinlong He, Pengfei Li, Gang Liu, Shenjun Zhong",
    year: 2024,
    venue: "arXiv 2410.23822",
    code: "jinlHe/PeFoMed",
    weights: "none published; MiniGPT-v2's are a derivative of LLaMA 2, whose licence applies",
  },
  tasks: ["ground-box", "caption", "report"],
  searchOptions: ["beams", "lengthPenalty", "consensus", "constrained"],
  stages,
  trainingData: "ms_cxr",
  published,
  ask,
  teach,
  stageOf,
});
