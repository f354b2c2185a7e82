/**
 * Refuses a stage that cannot fit, before anything of it is on the device.
 *
 * @module
 */
import { type Device, DeviceError, type PreparedStage, type StageLoad } from "@medvlm/core";
import { totalBytes, type TrainingMemory } from "@medvlm/core/train";
import { dtypes } from "../memory_plan.ts";
import { formatBytes } from "../terminal.ts";

/** What a plan on paper leaves out: rounding of buffers to their classes, those kept for reuse, the program itself. */
const margin = 1.3;

/** Bytes that a plan takes, with room for what it leaves out. */
export function plannedBytes(memory: TrainingMemory): number {
  return Math.ceil(margin * totalBytes(memory));
}

/** The plan in words. */
export function memoryText(memory: TrainingMemory): string {
  const { frozen, trained, gradients, moments, activations, working } = memory;
  const parts = [
    [frozen, "frozen"],
    [trained, "trained"],
    [gradients + moments, "for the optimiser"],
    [activations + working, "for activations"],
  ] as const;
  return `${formatBytes(totalBytes(memory))} (${
    parts.map(([bytes, what]) => `${formatBytes(Math.round(bytes))} ${what}`).join(", ")
  })`;
}

/** Other settings with which a stage would fit, as flags. */
function waysOut(
  stage: PreparedStage,
  load: StageLoad,
  accumulation: number,
  available: number,
): string[] {
  const fits = (other: Partial<StageLoad>) =>
    plannedBytes(stage.memory({ ...load, ...other })) <= available;
  const recompute = { recompute: true };
  if (!load.recompute && fits(recompute)) return ["--recompute"];
  const smaller = Array.from({ length: 20 }, (_, n) => 2 ** (n + 1)).find((factor) =>
    load.batch % factor === 0 && fits({ ...recompute, batch: load.batch / factor })
  );
  if (smaller !== undefined) return [`--recompute --accumulation ${accumulation * smaller}`];
  const narrower = dtypes.find((dtype) => fits({ ...recompute, batch: 1, dtype }));
  const alone = `--accumulation ${accumulation * load.batch}`;
  return narrower === undefined ? [] : [`--dtype ${narrower} --recompute ${alone}`];
}

/**
 * Compares the plan of a stage with main memory. The memory of a graphics card is not known in advance; there the device
 * itself reports when it is full.
 *
 * @param available Bytes of free main memory.
 * @throws {DeviceError} code `OUT_OF_MEMORY` with the bytes needed, the bytes available and the ways out.
 */
export function checkTrainingMemory(
  stage: PreparedStage,
  load: StageLoad,
  accumulation: number,
  device: Pick<Device, "kind" | "capabilities">,
  available: number,
): void {
  if (device.kind === "webgpu" && !device.capabilities.software) return;
  const memory = stage.memory(load);
  if (plannedBytes(memory) <= available) return;
  const ways = [
    ...waysOut(stage, load, accumulation, available),
    "a machine with a GPU or more memory",
  ];
  throw new DeviceError(
    "OUT_OF_MEMORY",
    `Cannot train stage ${stage.stage.name} as ${load.dtype}: it needs about ${
      memoryText(memory)
    } and ${formatBytes(available)} of main memory are available; use ${ways.join(", or ")}`,
  );
}
