/**
 * `doctor`: what this machine has, what will run where, and what to do about the rest.
 *
 * @module
 */
import { openDevice, type Plugin } from "@medvlm/core";
import type { Device } from "@medvlm/core/device";
import { parameterBytes } from "@medvlm/core/nn";
import type { Command } from "./flags.ts";
import { dtypes, fittingDtypes, neededBytes } from "./memory_plan.ts";
import { loadPlugin, pluginNames } from "./plugins.ts";
import { formatBytes, formatTable, type Terminal } from "./terminal.ts";

/** The flags of `doctor`. */
export const doctorCommand = {
  name: "doctor",
  about: "Shows the adapter, its limits and features, what will run where, and advice.",
  flags: {
    json: { kind: "switch", about: "print one JSON document and nothing else" },
    debug: { kind: "switch", about: "stack traces with errors" },
  },
} as const satisfies Command;

/** Whether the weights of a preset fit. */
export interface PresetReport {
  /** Name of the plugin. */
  readonly plugin: string;
  /** Name of the preset. */
  readonly preset: string;
  /** Number of weights. */
  readonly parameters: number;
  /** Bytes of the weights on the device by storage. */
  readonly bytes: Readonly<Record<string, number>>;
  /** Storages that fit into the main memory that is free now. */
  readonly fits: readonly string[];
}

/** Everything `doctor` finds out. */
export interface DoctorReport {
  /** Version of Deno, operating system and processor family. */
  readonly runtime: { readonly deno: string; readonly os: string; readonly arch: string };
  /** Bytes of main memory. */
  readonly memory: { readonly total: number; readonly available: number };
  /** Where `--device auto` computes. */
  readonly backend: Device["kind"];
  /** The WebGPU adapter, if any; `software` when it is a CPU emulating a GPU. */
  readonly adapter:
    | { readonly name: string; readonly vendor: string; readonly software: boolean }
    | null;
  /** Why there is no WebGPU device although something answered; null when nothing went wrong. */
  readonly problem: string | null;
  /** Features of the device, those included that the runtime does not list. */
  readonly features: readonly string[];
  /** Smallest and largest subgroup size, where subgroups work. */
  readonly subgroupSizes: readonly [number, number] | null;
  /** Numeric limits of the device; empty without WebGPU. */
  readonly limits: Readonly<Record<string, number>>;
  /** What the presets of every plugin need. */
  readonly presets: readonly PresetReport[];
  /** What to do, one sentence each, without full stop. */
  readonly advice: readonly string[];
}

async function openBest(): Promise<{ device: Device; problem: string | null }> {
  try {
    return { device: await openDevice({ device: "auto" }), problem: null };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return { device: await openDevice({ device: "wasm" }), problem };
  }
}

function presetReports(plugin: Plugin<unknown>, available: number): PresetReport[] {
  return Object.entries(plugin.presets).map(([preset, config]) => {
    const specs = plugin.params(config);
    return {
      plugin: plugin.name,
      preset,
      parameters: specs.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
      bytes: Object.fromEntries(dtypes.map((dtype) => [dtype, parameterBytes(specs, dtype)])),
      fits: fittingDtypes(plugin, config, available),
    };
  });
}

function adviceFor(
  device: Device,
  problem: string | null,
  available: number,
  plugins: readonly Plugin<unknown>[],
): string[] {
  const advice: string[] = [];
  if (device.kind === "wasm") {
    advice.push(
      problem === null
        ? "No usable WebGPU adapter was found, so everything runs on the CPU (wasm), slowly: install a Vulkan driver (on Debian or Ubuntu: apt-get install mesa-vulkan-drivers libvulkan1), or the driver of your GPU"
        : `The WebGPU device could not be opened (${problem}), so everything runs on the CPU (wasm), slowly: update the GPU driver`,
    );
  } else if (device.capabilities.software) {
    advice.push(
      "The adapter is a CPU emulating a GPU: fine for tests and the small presets; install the driver of your GPU for the published sizes",
    );
  } else {
    advice.push(
      "WebGPU does not report the memory of the GPU: a model that does not fit is refused while it loads; then use a narrower --dtype",
    );
  }
  if (device.kind === "webgpu" && !device.capabilities.subgroups) {
    advice.push("The adapter has no subgroups: kernels use workgroup memory instead");
  }
  if (device.kind === "wasm" || device.capabilities.software) {
    for (const plugin of plugins) {
      const { paper } = plugin.presets;
      if (paper === undefined || neededBytes(plugin, paper, "f32") <= available) continue;
      const fitting = fittingDtypes(plugin, paper, available);
      advice.push(
        fitting.length > 0
          ? `The published sizes of ${plugin.name} fit the free memory as ${
            fitting.join(" or ")
          }: use --dtype ${fitting[0]}`
          : `The published sizes of ${plugin.name} need ${
            formatBytes(neededBytes(plugin, paper, "q4"))
          } even as q4: use a machine with more memory or a GPU`,
      );
    }
  }
  return advice;
}

/** Looks at the machine. Never fails because there is no adapter. */
export async function examine(): Promise<DoctorReport> {
  const { total, available } = Deno.systemMemoryInfo();
  const plugins = await Promise.all(pluginNames.map(loadPlugin));
  const { device: opened, problem } = await openBest();
  await using device = opened;
  const { info, capabilities, kind } = device;
  return {
    runtime: { deno: Deno.version.deno, os: Deno.build.os, arch: Deno.build.arch },
    memory: { total, available },
    backend: kind,
    adapter: kind === "webgpu"
      ? { name: info.name, vendor: info.vendor, software: capabilities.software }
      : null,
    problem,
    features: info.features,
    subgroupSizes: capabilities.subgroups ? capabilities.subgroupSizes : null,
    limits: info.limits,
    presets: plugins.flatMap((plugin) => presetReports(plugin, available)),
    advice: adviceFor(device, problem, available, plugins),
  };
}

function count(parameters: number): string {
  return parameters >= 1e9
    ? `${(parameters / 1e9).toFixed(2)} B`
    : `${(parameters / 1e6).toFixed(2)} M`;
}

/** The report for readers. */
export function doctorText(report: DoctorReport): string {
  const { runtime, memory, adapter, subgroupSizes } = report;
  const limits = Object.entries(report.limits).map(([name, value]) => [
    `  ${name}`,
    /Size$|StorageSize$/.test(name) && value > 65536 ? formatBytes(value) : `${value}`,
  ]);
  const presets = report.presets.map(({ plugin, preset, parameters, bytes, fits }) => [
    `  ${plugin} ${preset}`,
    count(parameters),
    ...dtypes.map((dtype) => formatBytes(bytes[dtype]) + (fits.includes(dtype) ? " +" : " -")),
  ]);
  return [
    `Runtime:   Deno ${runtime.deno}, ${runtime.os} ${runtime.arch}`,
    `Memory:    ${formatBytes(memory.available)} of ${formatBytes(memory.total)} available`,
    `Adapter:   ${adapter ? `${adapter.name}${adapter.software ? " (software)" : ""}` : "none"}`,
    `Backend:   ${report.backend}: --device auto computes ${
      report.backend === "webgpu" ? "through WebGPU" : "on the CPU"
    }`,
    `Features:  ${report.features.join(", ") || "none"}${
      subgroupSizes ? ` (subgroups of ${[...new Set(subgroupSizes)].join(" to ")})` : ""
    }`,
    limits.length > 0 ? `Limits:\n${formatTable(limits).trimEnd()}` : "",
    `Weights (+ fits the free main memory, - does not):\n${
      formatTable([["  preset", "parameters", ...dtypes], ...presets]).trimEnd()
    }`,
    `Advice:\n${report.advice.map((line) => `  - ${line}.`).join("\n") || "  none"}`,
  ].filter((part) => part !== "").join("\n") + "\n";
}

/** Prints the report. */
export async function doctor(json: boolean, terminal: Terminal): Promise<void> {
  const report = await examine();
  terminal.out(json ? JSON.stringify(report, null, 2) + "\n" : doctorText(report));
}
