/**
 * PeFoMed: questions about medical images and reports of chest X-rays, parameter-efficient tuning of MiniGPT-v2.
 *
 * @example Ask a question
 * ```ts ignore
 * import { openDevice } from "@medvlm/core";
 * import { pefomed } from "@medvlm/pefomed";
 *
 * await using model = await pefomed.init(pefomed.presets.tiny, { device: await openDevice(), seed: 0 });
 * for await (const event of model.answer({ image, prompt: "Is there an effusion?" })) console.log(event);
 * ```
 *
 * @module
 */
import type { Plugin } from "@medvlm/core";
import { familyPlugin, type MinigptConfig } from "@medvlm/core/minigpt";
import { ask, searchOptions } from "./asking.ts";
import { published } from "./published.ts";
import { stageOf, stages } from "./stages.ts";
import { teach } from "./teaching.ts";

export type { PefomedOptions } from "./asking.ts";

/** The plugin. */
export const pefomed: Plugin<MinigptConfig> = familyPlugin({
  name: "pefomed",
  paper: {
    title:
      "PeFoMed: Parameter Efficient Fine-tuning of Multimodal Large Language Models for Medical Imaging",
    authors: "Gang Liu, Jinlong He, Pengfei Li, Genrong He, Zhaolin Chen, Shenjun Zhong",
    year: 2024,
    venue: "arXiv 2401.02797",
    code: "jinlHe/PeFoMed",
    weights: "SmallBosser/PeFoMed on Hugging Face; a derivative of LLaMA 2, whose licence applies",
  },
  tasks: ["vqa", "report", "caption"],
  searchOptions,
  stages,
  trainingData: "vqa_rad",
  published,
  ask,
  teach,
  stageOf,
});
