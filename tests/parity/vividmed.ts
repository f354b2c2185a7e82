/**
 * Reference cases of VividMed.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import type { Report } from "./harness.ts";
import { runMatchingLoss } from "./vividmed_losses.ts";

/** How each kind is compared: the folder of the case, the report and the device. */
export const vividmedKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  "matching-loss": runMatchingLoss,
};
