/**
 * The conditions beside every measurement.
 *
 * @module
 */
import { cpus } from "node:os";
import type { Device } from "../core/device/mod.ts";
import { peerVersion } from "./peer.ts";

/** Where and with what a measurement was made. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  /** Runnable processes over the last minute, from before the measurement. */
  readonly load: number;
  readonly system: string;
  /** Adapter of our device; the peer asks for the same one. */
  readonly adapter: string;
  /** The adapter is a CPU. */
  readonly software: boolean;
  readonly versions: { readonly deno: string; readonly onnxruntimeWeb: string };
}

/** Describes this machine and the device. */
export function describeMachine(device: Device): Machine {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryGiB: Math.round(Deno.systemMemoryInfo().total / 2 ** 30),
    load: Math.round(100 * Deno.loadavg()[0]!) / 100,
    system: `${Deno.build.os} ${Deno.osRelease()} ${Deno.build.arch}`,
    adapter: device.info.name,
    software: device.capabilities.software,
    versions: { deno: Deno.version.deno, onnxruntimeWeb: peerVersion },
  };
}

/** The machine in a line or two. */
export function machineText(
  { cpu, cores, memoryGiB, load, system, adapter, versions }: Machine,
): string {
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, load ${load}, ${system}\n` +
    `adapter ${adapter}; Deno ${versions.deno}, onnxruntime-web ${versions.onnxruntimeWeb} (wasm: 1 thread)`;
}

/** A name for files of results: adapter and cores, no host name. */
export function machineSlug({ adapter, cores }: Machine): string {
  const words = `${adapter.replace(/\(.*?\)/g, "")} ${cores} cores`;
  return words.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
}
