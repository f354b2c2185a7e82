/**
 * Compares what a model needs with what there is, before anything is loaded.
 *
 * @module
 */
import { type Device, DeviceError, type Plugin, type WeightStorage } from "@medvlm/core";
import { parameterBytes } from "@medvlm/core/nn";
import { formatBytes } from "./terminal.ts";

/** Storage of the large matrices, widest first. */
export const dtypes = ["f32", "f16", "q8", "q4"] as const satisfies readonly WeightStorage[];

/** Most bytes kept for activations, the cache and the program itself. */
const largestReserve = 512 * 2 ** 20;

/** Bytes of main memory a model of these sizes takes on a device that computes in main memory. */
export function neededBytes<C>(plugin: Plugin<C>, config: C, dtype: WeightStorage): number {
  const weights = parameterBytes(plugin.params(config), dtype);
  return weights + Math.min(largestReserve, Math.ceil(weights / 4));
}

/** The storages in which a model fits into `available` bytes. */
export function fittingDtypes<C>(
  plugin: Plugin<C>,
  config: C,
  available: number,
): WeightStorage[] {
  return dtypes.filter((dtype) => neededBytes(plugin, config, dtype) <= available);
}

/**
 * Refuses a model that cannot fit. The memory of a graphics card is not known in advance; there the device itself
 * reports when it is full.
 *
 * @param available Bytes of free main memory.
 * @throws {DeviceError} code `OUT_OF_MEMORY` with the bytes needed, the bytes available and the ways out.
 */
export function checkMemory<C>(
  plugin: Plugin<C>,
  config: C,
  dtype: WeightStorage,
  device: Pick<Device, "kind" | "capabilities">,
  available: number,
): void {
  if (device.kind === "webgpu" && !device.capabilities.software) return;
  const needed = neededBytes(plugin, config, dtype);
  if (needed <= available) return;
  const narrower = fittingDtypes(plugin, config, available);
  const presets = Object.entries(plugin.presets)
    .filter(([, preset]) => neededBytes(plugin, preset, dtype) <= available)
    .map(([name]) => name);
  const ways = [
    narrower.length > 0 ? `--dtype ${narrower[0]}` : "",
    presets.length > 0 ? `--preset ${presets.at(-1)}` : "",
    "a machine with a GPU or more memory",
  ].filter((way) => way !== "");
  throw new DeviceError(
    "OUT_OF_MEMORY",
    `Cannot load ${plugin.name} as ${dtype}: it needs ${formatBytes(needed)} and ${
      formatBytes(available)
    } of main memory are available; use ${ways.join(", or ")}`,
  );
}
