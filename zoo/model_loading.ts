/**
 * From flags to a model on a device: an official checkpoint, or random weights of a preset.
 *
 * @module
 */
import {
  InputError,
  type Model,
  openCheckpoint,
  openFolder,
  type Plugin,
  type WeightStorage,
} from "@medvlm/core";
import type { Device } from "@medvlm/core/device";
import type { FlagTable } from "./flags.ts";
import { checkMemory, dtypes } from "./memory_plan.ts";
import { nearest } from "./nearest.ts";
import { Progress, type Terminal } from "./terminal.ts";

/** Sizes of the random weights where nothing is said and no checkpoint ships. */
export const defaultPreset = "tiny";

/** Flags of the commands that answer with a model: which weights, and where they are put. */
export const weightFlags = {
  checkpoint: {
    kind: "text",
    value: "DIR",
    about:
      "folder of an official checkpoint; without it the small one that ships, or random weights where none does",
  },
  preset: {
    kind: "text",
    value: "NAME",
    about: "random weights of these sizes instead: tiny, small or paper",
  },
  device: {
    kind: "choice",
    choices: ["auto", "webgpu", "wasm"],
    default: "auto",
    about: "where to compute; auto takes WebGPU when there is an adapter",
  },
  dtype: {
    kind: "choice",
    choices: dtypes,
    default: "f32",
    about: "storage of the large matrices",
  },
} as const satisfies FlagTable;

/** One folder per plugin, in the layout its authors release. */
const shipped = new URL("./checkpoints/", import.meta.url);

/** The same options; where they name neither checkpoint nor preset, with the checkpoint that ships for the plugin, if any. */
export async function withShippedWeights<O extends WeightOptions>(
  plugin: string,
  options: O,
): Promise<O> {
  if (options.checkpoint !== undefined || options.preset !== undefined) return options;
  const path = decodeURIComponent(new URL(plugin, shipped).pathname);
  const there = await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false);
  return there ? { ...options, checkpoint: path } : options;
}

/** Which weights, and how they are stored. */
export interface WeightOptions {
  /** Folder of an official checkpoint. Default: random weights of the preset. */
  readonly checkpoint?: string | undefined;
  /** Sizes of the random weights. Default {@linkcode defaultPreset}. */
  readonly preset?: string | undefined;
  /** Storage of the large matrices. Default `f32`. */
  readonly dtype?: WeightStorage | undefined;
  /** Of the random weights. Default 0. */
  readonly seed?: number | undefined;
  /** Stops loading with its reason as the error. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The configuration of a preset.
 *
 * @throws {InputError} code `USAGE` when the plugin has none of this name; the nearest known one is named.
 */
export function presetOf<C>(plugin: Plugin<C>, name: string): C {
  if (Object.hasOwn(plugin.presets, name)) return plugin.presets[name];
  const known = Object.keys(plugin.presets);
  throw new InputError(
    "USAGE",
    `Cannot use --preset ${JSON.stringify(name.slice(0, 60))}: ${plugin.name} has ${
      known.join(", ")
    }; did you mean ${nearest(name, known)}`,
  );
}

/**
 * Checks what can be checked before a device is opened.
 *
 * @throws {InputError} code `USAGE` for a preset beside a checkpoint, or one that does not exist.
 */
export function checkWeights<C>(plugin: Plugin<C>, checkpoint?: string, preset?: string): void {
  if (checkpoint !== undefined && preset !== undefined) {
    throw new InputError(
      "USAGE",
      "Cannot use --preset together with --checkpoint: the checkpoint says its own sizes; leave one of them out",
    );
  }
  if (preset !== undefined) presetOf(plugin, preset);
}

/** Loads the checkpoint, or makes random weights; shows progress. */
export async function loadModel<C>(
  plugin: Plugin<C>,
  options: WeightOptions,
  device: Device,
  terminal: Terminal,
): Promise<Model> {
  const { checkpoint, preset = defaultPreset, dtype = "f32", seed = 0, signal } = options;
  const progress = new Progress(terminal, checkpoint === undefined ? "Making weights" : "Loading");
  const how = {
    device,
    dtype,
    progress: (done: number, total: number) => progress.update(done, total),
    ...(signal ? { signal } : {}),
  };
  const available = Deno.systemMemoryInfo().available;
  try {
    if (checkpoint === undefined) {
      const config = presetOf(plugin, preset);
      checkMemory(plugin, config, dtype, device, available);
      return await plugin.init(config, { ...how, seed });
    }
    const folder = await openFolder(checkpoint);
    using tensors = await (plugin.openTensors ?? openCheckpoint)(folder);
    const config = await plugin.readConfig({ folder, tensors });
    checkMemory(plugin, config, dtype, device, available);
    return await plugin.load({ folder, tensors }, { ...how, config });
  } finally {
    progress.end();
  }
}
