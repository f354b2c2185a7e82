/**
 * LoRA adapters in the layout of the peft library: names of tensors, adapter folders in and out.
 *
 * An adapted layer computes `y = W x + scaling * B (A x)` with A of shape (r, in) and B of shape (out, r)
 * (arXiv:2106.09685); an adapted embedding looks up rows of A transposed.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { FolderSource } from "../files.ts";
import {
  formatLoraConfig,
  type LoraConfig,
  moduleScaling,
  parseLoraConfig,
} from "./peft_config.ts";
import { safetensorsChunks } from "./safetensors.ts";
import type { FolderWriter } from "./save.ts";
import { type CheckpointSource, checkpointSource, openCheckpoint } from "./source.ts";
import { renamedTensor, type TensorEntry } from "./tensor_data.ts";
import { torchSaveChunks } from "./torch_save.ts";

/** What a tensor of a peft model is. */
export interface PeftName {
  /**
   * `A` and `B` are the two factors, `embeddingA` and `embeddingB` those of an embedding; `base` is a weight of the
   * original model, `saved` its fully trained successor, `original` the weight that a `saved` one replaces.
   */
  kind: "A" | "B" | "embeddingA" | "embeddingB" | "base" | "saved" | "original";
  /** Module of a factor, or the plain name of a weight, without any peft prefix. */
  name: string;
}

/** An adapted module. */
export interface LoraModule {
  /** Name of the module in the original model, such as `model.layers.0.self_attn.q_proj`. */
  module: string;
  /** Whether it is an embedding: A is (r, vocabulary), B is (dimension, r). */
  embedding: boolean;
  /** First factor, (r, in). */
  a: TensorEntry;
  /** Second factor, (out, r). */
  b: TensorEntry;
  /** Factor of B A: alpha / r, or alpha / sqrt(r) for rsLoRA. */
  scaling: number;
}

/** An adapter: what it changes, and by how much. */
export interface LoraAdapter {
  /** Its configuration. */
  config: LoraConfig;
  /** The adapted modules, in the order of the file. */
  modules: LoraModule[];
  /** Fully trained tensors by their plain name. */
  saved: Map<string, TensorEntry>;
}

/**
 * Understands a tensor name of a peft model. Names of training checkpoints hold the adapter's name
 * (`X.lora_A.default.weight`, `X.modules_to_save.default.weight`, `X.base_layer.weight`), adapter files and peft 0.2 do
 * not (`X.lora_A.weight`). Anything up to `base_model.model.` is a prefix.
 */
export function parsePeftName(name: string): PeftName {
  const plain = name.replace(/^(?:.*?\.)?base_model\.model\./, "");
  const factor = /^(.+)\.lora_(embedding_)?([AB])(?:\.[^.]+)?(?:\.weight)?$/.exec(plain);
  if (factor !== null) {
    const [, module, embedding, letter] = factor;
    return { kind: `${embedding ? "embedding" : ""}${letter as "A" | "B"}`, name: module };
  }
  const saved = /^(.+)\.modules_to_save\.[^.]+\.(.+)$/.exec(plain);
  if (saved !== null) return { kind: "saved", name: `${saved[1]}.${saved[2]}` };
  const original = /^(.+)\.original_module\.(.+)$/.exec(plain);
  if (original !== null) return { kind: "original", name: `${original[1]}.${original[2]}` };
  return { kind: "base", name: plain.replace(/\.base_layer\.(?=[^.]+$)/, ".") };
}

/**
 * Collects the adapted modules and fully trained tensors among the tensors of an adapter file or of a training
 * checkpoint. In an adapter file every other tensor is a fully trained one; in a training checkpoint (`trained: true`)
 * only those under `modules_to_save` are.
 *
 * @throws {InputError} code `INVALID_ADAPTER` when a factor is missing or its shape is not that of its rank.
 */
export function collectLora(
  source: CheckpointSource,
  config: LoraConfig,
  { trained = false }: { trained?: boolean } = {},
): LoraAdapter {
  const fail = (what: string): never => {
    throw new InputError("INVALID_ADAPTER", `Cannot use adapter "${source.name}": ${what}`);
  };
  const pairs = new Map<string, { a?: TensorEntry; b?: TensorEntry; embedding: boolean }>();
  const saved = new Map<string, TensorEntry>();
  for (const tensor of source.entries()) {
    const { kind, name } = parsePeftName(tensor.name);
    if (kind === "saved" || (kind === "base" && !trained)) {
      if (saved.has(name)) fail(`two of its tensors stand for "${name}"`);
      saved.set(name, renamedTensor(tensor, name));
    }
    if (kind === "saved" || kind === "base" || kind === "original") continue;
    const pair = pairs.get(name) ?? { embedding: kind.startsWith("embedding") };
    const side = kind.endsWith("A") ? "a" : "b";
    if (pair[side] !== undefined) fail(`it has several adapters for module "${name}"`);
    pair[side] = tensor;
    pairs.set(name, pair);
  }
  const modules: LoraModule[] = [];
  for (const [module, { a, b, embedding }] of pairs) {
    if (a === undefined || b === undefined) {
      return fail(`module "${module}" has no ${a === undefined ? "A" : "B"}`);
    }
    const { rank, scaling } = moduleScaling(config, module);
    if (
      a.shape.length !== 2 || b.shape.length !== 2 || a.shape[0] !== rank || b.shape[1] !== rank
    ) {
      fail(
        `module "${module}" has A [${a.shape}] and B [${b.shape}], which do not fit rank ${rank}`,
      );
    }
    modules.push({ module, embedding, a, b, scaling });
  }
  return { config, modules, saved };
}

/** An adapter whose tensors are read from an open file. */
export interface OpenAdapter extends LoraAdapter, Disposable {}

/** Largest configuration read, in bytes. */
const MAX_CONFIG = 2 ** 24;

/**
 * Opens an adapter folder: `adapter_config.json` with `adapter_model.safetensors` or, without that, `adapter_model.bin`.
 *
 * @throws {InputError} code `NOT_FOUND` when a file is missing, `INVALID_ADAPTER`, and the codes of the containers.
 */
export async function openAdapter(folder: FolderSource): Promise<OpenAdapter> {
  using file = await folder.open("adapter_config.json");
  if (file.size > MAX_CONFIG) {
    throw new InputError("INVALID_ADAPTER", `Cannot use "${file.name}": it has ${file.size} bytes`);
  }
  const text = new TextDecoder().decode(await file.read(0, file.size));
  const config = parseLoraConfig(text, file.name);
  const safe = "adapter_model.safetensors";
  const weights = await folder.has(safe) ? safe : "adapter_model.bin";
  const source = await openCheckpoint(await folder.open(weights));
  try {
    return {
      ...collectLora(source, config),
      [Symbol.dispose]: () => source[Symbol.dispose](),
    };
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
}

/**
 * The checkpoint of a base model with the fully trained tensors of an adapter in place of its own, to load the model from.
 * Disposing it disposes both.
 *
 * @throws {InputError} code `CHECKPOINT_MISMATCH` naming the tensors that the base does not have.
 */
export function withSavedTensors(base: CheckpointSource, adapter: OpenAdapter): CheckpointSource {
  const tensors = new Map([...base.entries()].map((tensor) => [tensor.name, tensor]));
  const missing = [...adapter.saved.keys()].filter((name) => !tensors.has(name));
  if (missing.length > 0) {
    throw new InputError(
      "CHECKPOINT_MISMATCH",
      `Cannot apply an adapter to "${base.name}": it has no ${missing.slice(0, 40).join(", ")}`,
    );
  }
  for (const [name, tensor] of adapter.saved) tensors.set(name, tensor);
  return checkpointSource(base.name, tensors, () => {
    base[Symbol.dispose]();
    adapter[Symbol.dispose]();
  });
}

/**
 * Writes an adapter folder as peft does: `adapter_config.json` and `adapter_model.safetensors`, or `adapter_model.bin`.
 *
 * @returns the names of the files.
 */
export async function saveAdapter(
  folder: FolderWriter,
  { config, modules, saved }: LoraAdapter,
  format: "safetensors" | "bin" = "safetensors",
): Promise<string[]> {
  const prefix = "base_model.model.";
  const tensors: TensorEntry[] = [];
  for (const { module, embedding, a, b } of modules) {
    const name = (letter: string) =>
      `${prefix}${module}.${embedding ? `lora_embedding_${letter}` : `lora_${letter}.weight`}`;
    tensors.push(renamedTensor(a, name("A")), renamedTensor(b, name("B")));
  }
  for (const [name, tensor] of saved) tensors.push(renamedTensor(tensor, `${prefix}${name}`));
  const weights = `adapter_model.${format}`;
  const chunks = format === "bin"
    ? torchSaveChunks(tensors, { folder: "adapter_model" })
    : safetensorsChunks(tensors);
  await folder.write(weights, chunks);
  const json = new TextEncoder().encode(formatLoraConfig(config));
  await folder.write("adapter_config.json", [json]);
  return [weights, "adapter_config.json"];
}
