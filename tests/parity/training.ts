/**
 * Kinds of reference cases of training: losses, matching, optimisers.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import type { Report } from "./harness.ts";
import { adapterKinds } from "./training_adapters.ts";
import { lossKinds } from "./training_losses.ts";
import { matchingKinds } from "./training_matching.ts";
import { optimiserKinds } from "./training_optimisers.ts";

/** How each kind is compared: the folder of the case, the report and the device. */
export const trainingKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  ...adapterKinds,
  ...lossKinds,
  ...matchingKinds,
  ...optimiserKinds,
};
