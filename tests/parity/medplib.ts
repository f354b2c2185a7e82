/**
 * MedPLIB's kinds of reference cases.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import type { Report } from "./harness.ts";
import { runMoeLayer } from "./medplib_moe.ts";
import { runClipTower, runRegionSampler, runSamDecoder, runSamEncoder } from "./medplib_parts.ts";
import { runIclModules } from "./medplib_icl.ts";
import { runLlmMoe } from "./medplib_decoder.ts";
import { runPipeline } from "./medplib_pipeline.ts";
import { runMaskPostprocess, runMedplibPreprocess } from "./medplib_preprocess.ts";
import { runMedplibTokenizer } from "./medplib_tokenizer.ts";
import { runTrainStage2, runTrainStage4 } from "./medplib_training.ts";
import { runMaskLosses } from "./training_losses.ts";

/** How each kind is compared: the folder of the case, the report and the device. */
export const medplibKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  "tokenizer": runMedplibTokenizer,
  "preprocess": runMedplibPreprocess,
  "clip-tower": runClipTower,
  "region-sampler": runRegionSampler,
  "moe-layer": runMoeLayer,
  "llm-moe": runLlmMoe,
  "sam-med2d-encoder": runSamEncoder,
  "sam-mask-decoder": runSamDecoder,
  "mask-postprocess": runMaskPostprocess,
  "mask-losses": runMaskLosses,
  "pipeline-vqa": runPipeline,
  "pipeline-region": runPipeline,
  "pipeline-seg": runPipeline,
  "train-stage2": runTrainStage2,
  "train-stage4": runTrainStage4,
  "icl-modules": runIclModules,
};
