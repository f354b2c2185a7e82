/**
 * What the systems of the family have in common as plugins.
 *
 * @module
 */
import type { GenerateOptions, Plugin } from "../plugin.ts";
import { type Ask, MinigptAnswerer } from "./answering.ts";
import { openMinigpt } from "./checkpoint.ts";
import { type MinigptConfig, paper, tiny } from "./config.ts";
import { configOf, initMinigpt, loadMinigpt } from "./model.ts";
import { minigptParameters } from "./params.ts";
import { prepareMinigptStage, type Teach } from "./stage_run.ts";
import { minigptParts } from "./stage_start.ts";

/** What a system says of itself. `O` is what its answers can be told. */
export interface FamilySystem<O extends GenerateOptions> extends
  Pick<
    Plugin<MinigptConfig>,
    "name" | "paper" | "tasks" | "searchOptions" | "stages" | "trainingData" | "published"
  > {
  /** How it asks. */
  readonly ask: Ask<O>;
  /** What it makes of an example to learn from. */
  readonly teach: Teach;
  /** A stage by its name. @throws {RangeError} when there is none. */
  readonly stageOf: (name: string) => Plugin<MinigptConfig>["stages"][number];
}

/** A plugin of the family: one base, one layout of checkpoints, prompts and stages of the system's own. */
export function familyPlugin<O extends GenerateOptions>(
  { ask, teach, stageOf, ...own }: FamilySystem<O>,
): Plugin<MinigptConfig> {
  return {
    ...own,
    presets: { paper, tiny },
    parts: minigptParts,
    params: minigptParameters,
    openTensors: openMinigpt,
    readConfig: configOf,
    load: async (checkpoint, options) =>
      new MinigptAnswerer(await loadMinigpt(checkpoint, options), ask),
    init: async (config, options) => new MinigptAnswerer(await initMinigpt(config, options), ask),
    prepareStage: (start, stage, seed) => prepareMinigptStage(start, stageOf(stage), teach, seed),
  };
}
