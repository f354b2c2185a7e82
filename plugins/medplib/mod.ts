/**
 * MedPLIB (AAAI 2025): a mixture-of-experts vision-language model that answers questions about medical images, reads
 * regions, and grounds its answers in pixels through SAM-Med2D.
 *
 * @example Answer a question
 * ```ts ignore
 * import { openDevice } from "@medvlm/core";
 * import { medplib } from "@medvlm/medplib";
 *
 * await using model = await medplib.init(medplib.presets.tiny, { device: await openDevice(), seed: 0 });
 * for await (const event of model.answer({ image, prompt: "Segment the left lung." })) console.log(event);
 * ```
 *
 * @module
 */
import {
  type CheckpointFolder,
  type LoadOptions,
  type Model,
  type Plugin,
  readJson,
} from "@medvlm/core";
import { memoryFolder } from "@medvlm/core/checkpoint";
import { initialParameters, loadParameters } from "@medvlm/core/nn";
import { loadLlamaTokenizer } from "@medvlm/core/text";
import { type MedplibConfig, presets } from "./config.ts";
import { readMedplibConfig } from "./config_files.ts";
import { MedplibModel, searchOptions } from "./model.ts";
import { ignoredNames, medplibParameters } from "./params.ts";
import { makeCompanions, readCompanions } from "./release_files.ts";
import { prepareStage } from "./stage_run.ts";
import { parts } from "./stage_start.ts";
import { stages } from "./stages.ts";

export type { MedplibConfig, MoeConfig } from "./config.ts";

async function load(
  checkpoint: CheckpointFolder,
  { device, config, ...options }: LoadOptions & { config?: MedplibConfig },
): Promise<Model> {
  const { folder, tensors } = checkpoint;
  const sizes = config ?? await readMedplibConfig(checkpoint);
  const tokenizer = await loadLlamaTokenizer(folder, { behaviour: "4.31-legacy" });
  const parameters = await loadParameters(device, medplibParameters(sizes), tensors, {
    ...options,
    ignore: ignoredNames,
  });
  const companions = await readCompanions(folder, await readJson(folder, "config.json"));
  return await MedplibModel.create(sizes, parameters, tokenizer, companions, false);
}

async function init(
  config: MedplibConfig,
  { device, seed, ...options }: LoadOptions & { seed: number },
): Promise<Model> {
  const companions = makeCompanions(config);
  const tokenizer = await loadLlamaTokenizer(
    memoryFolder("built-in tokenizer", companions as Map<string, Uint8Array<ArrayBuffer>>),
    { behaviour: "4.31-legacy" },
  );
  const parameters = await initialParameters(device, medplibParameters(config), seed, options);
  return await MedplibModel.create(config, parameters, tokenizer, companions, true);
}

/** The plugin. */
export const medplib: Plugin<MedplibConfig> = {
  name: "medplib",
  paper: {
    title: "Towards a Multimodal Large Language Model with Pixel-Level Insight for Biomedicine",
    authors:
      "Xiaoshuang Huang, Lingdong Shen, Jia Liu, Fangxin Shang, Hongxiang Li, Haifeng Huang, Yehui Yang",
    year: 2025,
    venue: "AAAI",
    code: "ShawnHuang497/MedPLIB",
    weights:
      "Huangxs/MedPLIB-7b-2e on Hugging Face; a derivative of LLaMA 2, whose licence applies",
  },
  tasks: ["vqa", "region-vqa", "ground-mask"],
  searchOptions,
  presets,
  stages,
  parts,
  trainingData: "mecovqa",
  params: medplibParameters,
  readConfig: readMedplibConfig,
  load,
  init,
  prepareStage,
};
