/**
 * Saves tensors shard by shard in the Hugging Face layout (`save_pretrained`), without holding more than a piece of
 * one tensor in memory.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { makeFolder, writeAtomic } from "../files.ts";
import { castTensor } from "./convert.ts";
import { safetensorsChunks } from "./safetensors.ts";
import type { DType, TensorEntry } from "./tensor_data.ts";
import { torchSaveChunks } from "./torch_save.ts";

/** A folder that files can be written to. */
export interface FolderWriter {
  /** Name for messages. */
  readonly name: string;
  /** Writes one file; a failed write leaves none, or the old one. */
  write(name: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>;
}

/**
 * A folder on disk that exists (Deno). Every file appears complete or not at all; folders inside that a name goes through are made.
 */
export function diskFolder(path: string): FolderWriter {
  const base = path.replace(/\/+$/, "");
  return {
    name: path,
    async write(name, chunks) {
      const slash = name.lastIndexOf("/");
      if (slash > 0) await makeFolder(`${base}/${name.slice(0, slash)}`);
      await writeAtomic(`${base}/${name}`, chunks);
    },
  };
}

/** Options of {@link saveShardedBin} and {@link saveShardedSafetensors}. */
export interface SaveOptions {
  /** Largest shard in bytes of tensors; a larger tensor has a shard of its own. Default 10 GB, as in Transformers. */
  maxShardBytes?: number;
  /** Element type to save a tensor in; its own when absent or undefined. Only float types can be changed. */
  dtype?: (tensor: TensorEntry) => DType | undefined;
}

/** What was written. */
export interface Saved {
  /** Checkpoint files in order; the index, when there is one, comes last. */
  files: string[];
  /** Bytes of all tensors. */
  totalBytes: number;
}

/**
 * Writes `pytorch_model-0000X-of-0000Y.bin` and `pytorch_model.bin.index.json`, or a single `pytorch_model.bin` when
 * one shard suffices.
 *
 * @throws {InputError} code `INVALID_NAME` when two tensors share a name, `NOT_A_FLOAT` for impossible conversions.
 */
export function saveShardedBin(
  folder: FolderWriter,
  tensors: Iterable<TensorEntry>,
  options: SaveOptions = {},
): Promise<Saved> {
  return saveSharded(folder, tensors, options, {
    stem: "pytorch_model",
    extension: ".bin",
    chunks: (shard, name) => torchSaveChunks(shard, { folder: name.replace(/\.bin$/, "") }),
  });
}

/**
 * Writes `model-0000X-of-0000Y.safetensors` and `model.safetensors.index.json`, or a single `model.safetensors`.
 *
 * @throws {InputError} code `INVALID_NAME` when two tensors share a name, `NOT_A_FLOAT` for impossible conversions.
 */
export function saveShardedSafetensors(
  folder: FolderWriter,
  tensors: Iterable<TensorEntry>,
  options: SaveOptions = {},
): Promise<Saved> {
  return saveSharded(folder, tensors, options, {
    stem: "model",
    extension: ".safetensors",
    chunks: (shard) => safetensorsChunks(shard),
  });
}

interface Container {
  stem: string;
  extension: string;
  chunks(shard: TensorEntry[], name: string): AsyncIterable<Uint8Array>;
}

async function saveSharded(
  folder: FolderWriter,
  tensors: Iterable<TensorEntry>,
  { maxShardBytes = 10e9, dtype }: SaveOptions,
  { stem, extension, chunks }: Container,
): Promise<Saved> {
  const shards: TensorEntry[][] = [[]];
  const names = new Set<string>();
  let shardBytes = 0, totalBytes = 0;
  for (const original of tensors) {
    const tensor = castTensor(original, dtype?.(original) ?? original.dtype);
    if (names.has(tensor.name)) {
      throw new InputError(
        "INVALID_NAME",
        `Cannot save tensor "${tensor.name}" twice to "${folder.name}"`,
      );
    }
    names.add(tensor.name);
    if (shardBytes + tensor.byteLength > maxShardBytes && shards.at(-1)!.length > 0) {
      shards.push([]);
      shardBytes = 0;
    }
    shards.at(-1)!.push(tensor);
    shardBytes += tensor.byteLength;
    totalBytes += tensor.byteLength;
  }
  const digits = (value: number) => String(value).padStart(5, "0");
  const files: string[] = [];
  const weightMap: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const name = shards.length === 1
      ? `${stem}${extension}`
      : `${stem}-${digits(i + 1)}-of-${digits(shards.length)}${extension}`;
    await folder.write(name, chunks(shard, name));
    files.push(name);
    for (const tensor of shard) weightMap.push([tensor.name, name]);
  }
  if (shards.length > 1) {
    weightMap.sort(([a], [b]) => (a < b ? -1 : 1));
    const index = {
      metadata: { "total_size": totalBytes },
      "weight_map": Object.fromEntries(weightMap),
    };
    const name = `${stem}${extension}.index.json`;
    await folder.write(name, [new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`)]);
    files.push(name);
  }
  return { files, totalBytes };
}
