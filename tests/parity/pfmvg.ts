/**
 * Kinds of reference cases of PFMVG.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import type { Report } from "./harness.ts";
import { runReferTrain } from "./minigpt_training.ts";
import { runBoxCodec } from "./pfmvg_boxes.ts";
import { runReferEval } from "./pfmvg_refer.ts";

/** How each kind is compared: the folder of the case, the report and the device. */
export const pfmvgKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  "box-codec": runBoxCodec,
  "refer-eval": runReferEval,
  "refer-train": runReferTrain,
};
