/**
 * From flags to the model that a stage starts from.
 *
 * @module
 */
import {
  type CheckpointFolder,
  openCheckpoint,
  openFolder,
  type Plugin,
  type PreparedStage,
} from "@medvlm/core";
import { presetOf } from "../model_loading.ts";

/** Paths of what a stage starts from; one kind of them is given. */
export interface StartPaths {
  /** Folder of a checkpoint of the system. */
  readonly checkpoint?: string | undefined;
  /** Sizes of random weights. */
  readonly preset?: string | undefined;
  /** Files and folders of the models it is put together from, by their names in the plugin. */
  readonly parts: Readonly<Record<string, string>>;
}

/** A stage with its model, and the files that stay open for it. */
export interface OpenedStage extends AsyncDisposable {
  readonly prepared: PreparedStage;
}

/** Opens a checkpoint in a folder, or in a file beside its other files. */
async function openPart(
  path: string,
  opened: DisposableStack,
  open?: Plugin<unknown>["openTensors"],
): Promise<CheckpointFolder> {
  const tensors = opened.use(
    await (open === undefined ? openCheckpoint(path) : open(await openFolder(path))),
  );
  const isFile = (await Deno.stat(path)).isFile;
  const parent = path.replace(/[^/]*$/, "") || ".";
  return { tensors, folder: await openFolder(isFile ? parent : path) };
}

/**
 * Finds the model of a stage.
 *
 * @throws {InputError} as {@linkcode Plugin.prepareStage} does, and for checkpoints that cannot be read.
 */
export async function openStart<C>(
  plugin: Plugin<C>,
  stage: string,
  { checkpoint, preset, parts }: StartPaths,
  seed: number,
): Promise<OpenedStage> {
  const opened = new DisposableStack();
  try {
    const folders: Record<string, CheckpointFolder> = {};
    for (const [name, path] of Object.entries(parts)) folders[name] = await openPart(path, opened);
    const start = checkpoint !== undefined
      ? { checkpoint: await openPart(checkpoint, opened, plugin.openTensors) }
      : preset !== undefined
      ? { config: presetOf(plugin, preset) }
      : { parts: folders };
    const prepared = await plugin.prepareStage(start, stage, seed);
    return {
      prepared,
      [Symbol.asyncDispose]() {
        opened.dispose();
        return Promise.resolve();
      },
    };
  } catch (error) {
    opened.dispose();
    throw error;
  }
}
