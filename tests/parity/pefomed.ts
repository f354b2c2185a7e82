/**
 * Kinds of reference cases of PeFoMed.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import type { Report } from "./harness.ts";
import { runPefomedTrain } from "./minigpt_training.ts";
import { runVqaGenerate } from "./pefomed_generate.ts";
import { pefomedTextKinds } from "./pefomed_texts.ts";

/** How each kind is compared: the folder of the case, the report and the device. */
export const pefomedKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  ...pefomedTextKinds,
  "vqa-generate": runVqaGenerate,
  "train": runPefomedTrain,
};
