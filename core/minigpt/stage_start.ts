/**
 * The model that a stage starts from: a checkpoint, random weights, or a LLaMA directory and a vision tower put together, with or
 * without a trained checkpoint.
 *
 * @module
 */
import { type CheckpointSource, checkpointSource, memoryFolder } from "../checkpoint/mod.ts";
import { InputError } from "../errors.ts";
import { initialEntry, initialSource } from "../nn/initial_source.ts";
import type { CheckpointFolder, StageStart } from "../plugin.ts";
import type { LlamaTokenizer } from "../text/mod.ts";
import { joinParts, languageFolderOf, type MinigptFiles, readCompanions } from "./checkpoint.ts";
import { type MinigptConfig, paper } from "./config.ts";
import { readLlamaConfig, readMinigptConfig, wholeConfig } from "./config_files.ts";
import { configOf, filesOf, madeFiles, madeTokenizer } from "./model.ts";
import { adapterParameters, minigptParameters, projectorParameters } from "./params.ts";
import { loadMinigptTokenizer } from "./prompt.ts";

/** What a stage starts from, complete. */
export interface MinigptStart {
  /** Sizes. */
  readonly config: MinigptConfig;
  /** All tensors under the names of the parameter table. */
  readonly tensors: CheckpointSource;
  /** Tokenizer of LLaMA's directory, or the built-in one. */
  readonly tokenizer: LlamaTokenizer;
  /** Files that belong to the saved model. */
  readonly files: MinigptFiles;
}

/** The models that one of the family can be put together from, as `Plugin.parts` has them. */
export const minigptParts: Readonly<Record<string, string>> = {
  language: "LLaMA-2-7b-chat in Hugging Face's layout",
  vision: "EVA ViT-G, eva_vit_g.pth",
  trained: "a trained checkpoint, such as MiniGPT-v2's; without it projection and adapters are new",
};

/** The parts with projection and adapters, new ones where there is no trained checkpoint. */
function completed(
  language: CheckpointFolder,
  vision: CheckpointFolder,
  trained: CheckpointFolder | undefined,
  config: MinigptConfig,
  seed: number,
): CheckpointSource {
  const parts = { language: language.tensors, vision: vision.tensors };
  if (trained !== undefined) {
    return joinParts(language.folder.name, { ...parts, trained: trained.tensors });
  }
  const joined = joinParts(language.folder.name, parts);
  const made = [...projectorParameters(config), ...adapterParameters(config)]
    .map((spec) => [spec.name, initialEntry(spec, seed)] as const);
  return checkpointSource(
    joined.name,
    new Map([...[...joined.entries()].map((entry) => [entry.name, entry] as const), ...made]),
  );
}

async function assembled(
  { language, vision, trained }: Readonly<Record<string, CheckpointFolder>>,
  seed: number,
): Promise<MinigptStart> {
  if (language === undefined || vision === undefined) {
    throw new InputError(
      "BAD_START",
      "Cannot put a model together without its parts: give --language DIR and --vision FILE, or a model with --checkpoint DIR",
    );
  }
  const llama = await readLlamaConfig(language.folder);
  const width = vision.tensors.get("patch_embed.proj.weight")?.shape[0] ?? paper.vision.hiddenSize;
  const fresh = { ...paper, llama, vision: { ...paper.vision, hiddenSize: width } };
  const tensors = completed(language, vision, trained, fresh, seed);
  const config = await readMinigptConfig(memoryFolder("parts"), language.folder, tensors);
  return {
    config,
    tensors,
    tokenizer: await loadMinigptTokenizer(language.folder),
    files: { whole: wholeConfig(config), language: await readCompanions(language.folder) },
  };
}

/**
 * Finds or puts together the model of a stage.
 *
 * @param seed Of random weights.
 * @throws {InputError} code `BAD_START` when parts are missing, and as the readers of checkpoints do.
 */
export async function minigptStart(
  { checkpoint, config, parts = {} }: StageStart<MinigptConfig>,
  seed: number,
): Promise<MinigptStart> {
  if (checkpoint !== undefined) {
    const sizes = await configOf(checkpoint);
    return {
      config: sizes,
      tensors: checkpoint.tensors,
      tokenizer: await loadMinigptTokenizer(await languageFolderOf(checkpoint.folder)),
      files: await filesOf(checkpoint, sizes),
    };
  }
  if (config === undefined) return await assembled(parts, seed);
  const files = madeFiles(config);
  return {
    config,
    tensors: initialSource("random weights", minigptParameters(config), seed),
    tokenizer: await madeTokenizer(files),
    files,
  };
}
