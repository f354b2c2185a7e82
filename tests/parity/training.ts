/**
 * Kinds of reference cases of training: losses, matching, optimisers.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import type { Report } from "./harness.ts";
import { lossKinds } from "./training_losses.ts";

/** How each kind is compared: the folder of the case, the report and the device. */
export const trainingKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  ...lossKinds,
};
