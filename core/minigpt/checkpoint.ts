/**
 * The official checkpoint in its three parts: a LLaMA directory, the vision tower's file, and what training changed. Put together
 * under the names of the parameter table, and written in the same three parts again.
 *
 * @module
 */
import {
  type CheckpointSource,
  checkpointSource,
  type FolderWriter,
  openCheckpoint,
  parsePeftName,
  renamedTensor,
  saveShardedBin,
  saveShardedSafetensors,
  type TensorEntry,
  torchSaveChunks,
} from "../checkpoint/mod.ts";
import { InputError } from "../errors.ts";
import type { FolderSource } from "../files.ts";
import { factorNames, names } from "./params.ts";

/** The files of LLaMA's directory that a saved model needs again. */
const languageFiles = [
  "config.json",
  "generation_config.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "special_tokens_map.json",
];

/** Where a saved model has its parts. */
const languageFolder = "llama", visionFile = "eva_vit_g.pth", trainedFile = "checkpoint.pth";

/** A folder inside of a folder. */
function inside(folder: FolderSource, name: string): FolderSource {
  return {
    name: `${folder.name}/${name}`,
    list: (inner) => folder.list(inner === undefined ? name : `${name}/${inner}`),
    has: (file) => folder.has(`${name}/${file}`),
    open: (file) => folder.open(`${name}/${file}`),
  };
}

/**
 * LLaMA's directory: `llama`, or the only folder inside with a `config.json`.
 *
 * @throws {InputError} code `NOT_MINIGPT` when there is none, or several.
 */
export async function languageFolderOf(folder: FolderSource): Promise<FolderSource> {
  if (await folder.has(`${languageFolder}/config.json`)) return inside(folder, languageFolder);
  const found: string[] = [];
  for (const name of await folder.list()) {
    // A file has nothing inside.
    const entries: string[] = await folder.list(name).catch(() => []);
    if (entries.includes("config.json")) found.push(name);
  }
  if (found.length !== 1) {
    throw new InputError(
      "NOT_MINIGPT",
      `Cannot find LLaMA in "${folder.name}": ${
        found.length === 0 ? "no folder" : found.map((name) => `"${name}"`).join(", ")
      } inside has a config.json; put the LLaMA directory there as "${languageFolder}"`,
    );
  }
  return inside(folder, found[0]!);
}

/**
 * The name in the parameter table of a tensor of the trained checkpoint; undefined for what follows from the configuration. Both
 * spellings of adapters are known (`lora_A.weight` of peft 0.2, `lora_A.default.weight` since 0.3), and those of a state that was
 * not trimmed to what is trained.
 */
export function tableName(name: string): string | undefined {
  if (/\.rotary_emb\.inv_freq$|\.lora_dropout\b/.test(name)) return undefined;
  if (!name.startsWith("llama_model.")) return name;
  if (!name.startsWith(names.adapted)) return name.slice("llama_model.".length);
  const { kind, name: plain } = parsePeftName(name);
  if (kind === "A" || kind === "B") {
    const { a, b } = factorNames(plain);
    return kind === "A" ? a : b;
  }
  // peft 0.2 wraps the head to cast its output.
  return plain.replace(/^lm_head\.0\./, "lm_head.");
}

/** What a model is put together from. */
export interface MinigptParts {
  /** LLaMA's directory. */
  readonly language: CheckpointSource;
  /** The vision tower's file, names from `blocks.0` on. */
  readonly vision: CheckpointSource;
  /** The dictionary `model` of a trained checkpoint; what it holds comes before the other parts. Default none. */
  readonly trained?: CheckpointSource;
}

/**
 * The parts as one checkpoint under the names of the parameter table. Nothing is copied; disposing it disposes the parts.
 *
 * @throws {InputError} code `INVALID_NAME` when two tensors of the trained checkpoint stand for one.
 */
export function joinParts(
  name: string,
  { language, vision, trained }: MinigptParts,
): CheckpointSource {
  const tensors = new Map<string, TensorEntry>();
  for (const tensor of language.entries()) tensors.set(tensor.name, tensor);
  for (const tensor of vision.entries()) {
    const full = names.vision + tensor.name;
    tensors.set(full, renamedTensor(tensor, full));
  }
  const seen = new Set<string>();
  for (const tensor of trained?.entries() ?? []) {
    const full = tableName(tensor.name);
    if (full === undefined) continue;
    if (seen.has(full)) {
      throw new InputError(
        "INVALID_NAME",
        `Cannot load "${trained!.name}": two of its tensors stand for "${full}"`,
      );
    }
    seen.add(full);
    tensors.set(full, renamedTensor(tensor, full));
  }
  return checkpointSource(name, tensors, () => {
    for (const part of [language, vision, trained]) part?.[Symbol.dispose]();
  });
}

/** The vision tower's file among the files of a folder. */
function isVisionFile(name: string): boolean {
  return /eva.*\.(pth|pt|bin|safetensors)$/i.test(name);
}

/** The trained checkpoint among the files of a folder: the best one, else the last one by its number. */
function trainedFileOf(folder: string, files: readonly string[]): string {
  const found = files.filter((name) => /\.(pth|pt)$/.test(name) && !isVisionFile(name));
  const best = found.find((name) => /(^|_)best\.pth$/.test(name));
  const numbered = found.map((name) => ({ name, at: /_(\d+)\.pth$/.exec(name)?.[1] }));
  const last = numbered.every(({ at }) => at !== undefined)
    ? numbered.sort((a, b) => Number(b.at) - Number(a.at))[0]?.name
    : undefined;
  const chosen = best ?? (found.length === 1 ? found[0] : last);
  if (chosen === undefined) {
    throw new InputError(
      "NOT_MINIGPT",
      `Cannot find the trained checkpoint in "${folder}": ${
        found.length === 0
          ? "there is no .pth file besides the vision tower's"
          : `there are ${found.slice(0, 5).map((name) => `"${name}"`).join(", ")}`
      }; put one file there and call it "${trainedFile}"`,
    );
  }
  return chosen;
}

/**
 * Opens a checkpoint folder: the three official parts side by side (LLaMA's directory, `eva_vit_g.pth`, the trained `.pth`), or one
 * checkpoint with all tensors under the names of the parameter table.
 *
 * @throws {InputError} code `NOT_MINIGPT` when a part is missing or cannot be told from others, and as `openCheckpoint` does.
 */
export async function openMinigpt(folder: FolderSource): Promise<CheckpointSource> {
  const files = await folder.list();
  const vision = files.filter(isVisionFile);
  if (vision.length === 0) return await openCheckpoint(folder);
  if (vision.length > 1) {
    throw new InputError(
      "NOT_MINIGPT",
      `Cannot choose the vision tower in "${folder.name}": ${
        vision.map((name) => `"${name}"`).join(", ")
      }; keep one of them`,
    );
  }
  const trained = trainedFileOf(folder.name, files);
  const language = await languageFolderOf(folder);
  const opened = new DisposableStack();
  try {
    const open = async (file: string, key?: string) =>
      opened.use(
        await openCheckpoint(await folder.open(file), {
          unknownClasses: "opaque",
          ...(key === undefined ? {} : { key }),
        }),
      );
    const parts = {
      language: opened.use(await openCheckpoint(language)),
      vision: await open(vision[0]!),
      trained: await open(trained, "model"),
    };
    const joined = joinParts(folder.name, parts);
    opened.move();
    return joined;
  } catch (error) {
    opened.dispose();
    throw error;
  }
}

/** Reads the files of LLaMA's directory that belong to a saved model. */
export async function readCompanions(language: FolderSource): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const name of languageFiles) {
    if (!await language.has(name)) continue;
    using file = await language.open(name);
    if (file.size > 2 ** 26) {
      throw new InputError(
        "TOO_LARGE",
        `Cannot read "${file.name}": ${file.size} bytes are more than the ${2 ** 26} allowed`,
      );
    }
    files.set(name, await file.read(0, file.size));
  }
  return files;
}

/** Which part of the official checkpoint a tensor of the table belongs to. */
function partOf(name: string): "language" | "vision" | "trained" {
  if (name.startsWith(names.vision)) return "vision";
  return /^(model\.|lm_head\.)/.test(name) ? "language" : "trained";
}

/** What is written besides the tensors. */
export interface MinigptFiles {
  /** `config.json` of the whole. */
  readonly whole: Record<string, unknown>;
  /** Files of LLaMA's directory by name, its `config.json` and tokenizer among them. */
  readonly language: ReadonlyMap<string, Uint8Array>;
}

/**
 * Writes a checkpoint: `official` in its three parts, `safetensors` with all tensors side by side in
 * `model.safetensors` and LLaMA's small files in `llama`.
 *
 * @param tensors All tensors under the names of the table, in its order.
 */
export async function saveMinigpt(
  target: FolderWriter,
  tensors: Iterable<TensorEntry>,
  { whole, language }: MinigptFiles,
  format: "official" | "safetensors" = "official",
): Promise<void> {
  const inner: FolderWriter = {
    name: `${target.name}/${languageFolder}`,
    write: (name, chunks) => target.write(`${languageFolder}/${name}`, chunks),
  };
  if (format === "safetensors") {
    await saveShardedSafetensors(target, tensors);
  } else {
    const parts = { language: [], vision: [], trained: [] } as Record<string, TensorEntry[]>;
    for (const tensor of tensors) parts[partOf(tensor.name)]!.push(tensor);
    const { language: llama, vision, trained } = parts;
    await saveShardedBin(inner, llama!);
    const bare = vision!.map((tensor) =>
      renamedTensor(tensor, tensor.name.slice(names.vision.length))
    );
    await target.write(visionFile, torchSaveChunks(bare, { folder: "eva_vit_g" }));
    await target.write(
      trainedFile,
      torchSaveChunks(trained!, { key: "model", folder: "checkpoint" }),
    );
  }
  const json = new TextEncoder().encode(`${JSON.stringify(whole, null, 2)}\n`);
  await target.write("config.json", [json]);
  for (const [name, bytes] of language) await inner.write(name, [bytes]);
}
