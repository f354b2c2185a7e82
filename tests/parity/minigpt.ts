/**
 * The kinds of reference cases of the base that PFMVG and PeFoMed share.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import type { Report } from "./harness.ts";
import { runLlama } from "./minigpt_decoder.ts";
import { runLora } from "./minigpt_lora.ts";
import { runMinigptPipeline } from "./minigpt_pipeline.ts";
import { runManifest, runMinigptPreprocess, runMinigptTokenizer } from "./minigpt_host.ts";
import { runEvaVit } from "./minigpt_vision.ts";

/** How each kind is compared: the folder of the case, the report and the device. */
export const minigptKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  "tokenizer": runMinigptTokenizer,
  "preprocess": runMinigptPreprocess,
  "manifest": runManifest,
  "vit": runEvaVit,
  "llama": runLlama,
  "lora": runLora,
  "pipeline": runMinigptPipeline,
};
