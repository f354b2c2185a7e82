/**
 * Checkpoints of every container behind one interface: a safetensors file, a file of `torch.save`, a sharded
 * Hugging Face checkpoint, or a folder with one of these.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { type FileSource, type FolderSource, openFile, openFolder } from "../files.ts";
import { isIndexName, readIndex } from "./hf_index.ts";
import { PyDict, type PyValue, TensorRef } from "./pickle_values.ts";
import { readSafetensors } from "./safetensors.ts";
import type { TensorEntry } from "./tensor_data.ts";
import { openTorchFile, type TorchOptions } from "./torch_file.ts";

/** An open checkpoint. Names and shapes are known; elements are read on demand until it is disposed. */
export interface CheckpointSource extends Disposable {
  /** File or folder, for messages. */
  readonly name: string;
  /** Names of the tensors, in the order of the file or index. */
  names(): string[];
  /** The tensor of this name. */
  get(name: string): TensorEntry | undefined;
  /** All tensors, in the order of {@link CheckpointSource.names}. */
  entries(): IterableIterator<TensorEntry>;
}

/** Options of {@link openCheckpoint}. */
export interface CheckpointOptions extends TorchOptions {
  /** File to open when a folder is given; else the folder's index or only checkpoint file is chosen. */
  file?: string;
  /**
   * Key of the dictionary with the tensors in a file of `torch.save`, such as `model`. Without it, tensors at the top
   * are taken, else those under `model`, `state_dict`, `module` or `model_state_dict`.
   */
  key?: string;
}

const USUAL_KEYS = ["model", "state_dict", "module", "model_state_dict"];

type Tensors = Map<string, TensorEntry>;

/**
 * Opens a checkpoint: reads and checks all headers, indexes and pickles, no tensor data. Every shard is opened once.
 * A `.bin` shard that has a `.safetensors` twin of the same stem is read from the twin.
 *
 * @param where A path (of a file, an index or a folder), a folder, or a file. A file is closed with the source, or
 * when opening fails.
 * @throws {InputError} code `NO_CHECKPOINT` or `AMBIGUOUS_CHECKPOINT` for folders without exactly one choice,
 * `INVALID_INDEX`, `UNSAFE_PATH`, `MISSING_SHARD`, `MISSING_TENSOR` for sharded checkpoints, `MISSING_KEY` or
 * `NO_STATE_DICT` for files without a dictionary of tensors, and the codes of {@link readSafetensors} and
 * {@link openTorchFile}.
 */
export async function openCheckpoint(
  where: string | FolderSource | FileSource,
  options: CheckpointOptions = {},
): Promise<CheckpointSource> {
  if (typeof where === "string") return await openPath(where, options);
  const files: FileSource[] = [];
  try {
    let tensors: Tensors;
    if ("read" in where) {
      files.push(where);
      tensors = await readTensors(where, options);
    } else {
      const chosen = options.file ?? await chooseFile(where);
      tensors = isIndexName(chosen)
        ? await openShards(where, chosen, options, files)
        : await readTensors(await openKept(where, chosen, files), options);
    }
    return checkpointSource(where.name, tensors, () => files.forEach((file) => close(file)));
  } catch (error) {
    files.forEach(close);
    throw error;
  }
}

/**
 * A source over tensors that are already at hand, for example from memory.
 *
 * @param dispose Called when the source is disposed.
 */
export function checkpointSource(
  name: string,
  tensors: ReadonlyMap<string, TensorEntry>,
  dispose: () => void = () => {},
): CheckpointSource {
  return {
    name,
    names: () => [...tensors.keys()],
    get: (tensor) => tensors.get(tensor),
    entries: () => tensors.values(),
    [Symbol.dispose]: dispose,
  };
}

function close(file: FileSource): void {
  file[Symbol.dispose]();
}

async function openKept(
  folder: FolderSource,
  name: string,
  files: FileSource[],
): Promise<FileSource> {
  const file = await folder.open(name);
  files.push(file);
  return file;
}

async function openPath(path: string, options: CheckpointOptions): Promise<CheckpointSource> {
  const slash = path.lastIndexOf("/");
  if (isIndexName(path)) {
    const folder = await openFolder(slash < 0 ? "." : path.slice(0, slash) || "/");
    return await openCheckpoint(folder, { ...options, file: path.slice(slash + 1) });
  }
  let folder: FolderSource;
  try {
    folder = await openFolder(path);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return await openCheckpoint(await openFile(path), options);
  }
  return await openCheckpoint(folder, options);
}

/** An index before single files, safetensors before torch files, usual names before others. */
async function chooseFile(folder: FolderSource): Promise<string> {
  const names = await folder.list();
  for (
    const name of [
      "model.safetensors.index.json",
      "pytorch_model.bin.index.json",
      "model.safetensors",
      "pytorch_model.bin",
    ]
  ) {
    if (names.includes(name)) return name;
  }
  for (const pattern of [/\.index\.json$/, /\.safetensors$/, /\.(bin|pth|pt|ckpt)$/]) {
    const found = names.filter((name) => pattern.test(name));
    if (found.length === 1) return found[0];
    if (found.length > 1) {
      throw new InputError(
        "AMBIGUOUS_CHECKPOINT",
        `Cannot choose a checkpoint in "${folder.name}": it holds ${
          found.slice(0, 5).map((name) => `"${name}"`).join(", ")
        }${found.length > 5 ? " and more" : ""}; name the file`,
      );
    }
  }
  throw new InputError(
    "NO_CHECKPOINT",
    `Cannot find a checkpoint in "${folder.name}": no index, .safetensors, .bin, .pth, .pt or .ckpt file`,
  );
}

async function readTensors(file: FileSource, options: CheckpointOptions): Promise<Tensors> {
  if (file.name.endsWith(".safetensors")) return new Map((await readSafetensors(file)).tensors);
  const torch = await openTorchFile(file, options);
  const tensors: Tensors = new Map();
  for (const [name, ref] of stateDict(torch.value, options.key, file.name)) {
    tensors.set(name, torch.tensor(name, ref));
  }
  return tensors;
}

/** The named tensors of a dictionary; other values (counters, extra state) are no part of a checkpoint. */
function namedTensors(value: PyValue | undefined): Map<string, TensorRef> {
  const tensors = new Map<string, TensorRef>();
  if (value instanceof PyDict) {
    for (const [name, tensor] of value) {
      if (typeof name === "string" && tensor instanceof TensorRef) tensors.set(name, tensor);
    }
  }
  return tensors;
}

function stateDict(value: PyValue, key: string | undefined, file: string): Map<string, TensorRef> {
  const keys = value instanceof PyDict
    ? [...value.keys()].filter((name) => typeof name === "string")
    : [];
  const listed = keys.slice(0, 8).map((name) => `"${name.slice(0, 80)}"`).join(", ") || "none";
  if (key !== undefined) {
    const inner = value instanceof PyDict ? value.get(key) : undefined;
    if (!(inner instanceof PyDict)) {
      throw new InputError(
        "MISSING_KEY",
        `Cannot load "${file}": it has no dictionary "${key}"; its keys are ${listed}`,
      );
    }
    return namedTensors(inner);
  }
  const top = namedTensors(value);
  if (top.size > 0 || (value instanceof PyDict && value.size === 0)) return top;
  for (const usual of USUAL_KEYS) {
    const inner = namedTensors(value instanceof PyDict ? value.get(usual) : undefined);
    if (inner.size > 0) return inner;
  }
  throw new InputError(
    "NO_STATE_DICT",
    `Cannot load "${file}": it holds no dictionary of named tensors; its keys are ${listed}`,
  );
}

async function openShards(
  folder: FolderSource,
  indexName: string,
  options: CheckpointOptions,
  files: FileSource[],
): Promise<Tensors> {
  const index = await folder.open(indexName);
  let weightMap: Map<string, string>;
  try {
    weightMap = await readIndex(index);
  } finally {
    close(index);
  }
  const shards = new Map<string, Tensors>();
  const open = async (name: string): Promise<Tensors | undefined> => {
    if (!shards.has(name)) {
      if (!await folder.has(name)) return undefined;
      shards.set(name, await readTensors(await openKept(folder, name, files), options));
    }
    return shards.get(name);
  };
  const tensors: Tensors = new Map();
  for (const [tensor, shard] of weightMap) {
    const twin = shard.replace(/\.bin$/, ".safetensors");
    let held = await open(twin);
    // Converted twins leave out tensors that share memory; the original shard has them.
    if (twin !== shard && !held?.has(tensor)) held = await open(shard) ?? held;
    if (held === undefined) {
      throw new InputError(
        "MISSING_SHARD",
        `Cannot load "${folder.name}": shard "${shard}" of its index is missing; fetch it`,
      );
    }
    const entry = held.get(tensor);
    if (entry === undefined) {
      throw new InputError(
        "MISSING_TENSOR",
        `Cannot load "${folder.name}": shard "${shard}" does not hold tensor "${tensor}" of the index`,
      );
    }
    tensors.set(tensor, entry);
  }
  return tensors;
}
