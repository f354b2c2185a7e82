/**
 * The layout of `torch.save` before PyTorch 1.6: consecutive pickles (magic number, protocol version, system
 * information, the object, the storage keys), then each storage as an element count and raw data.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { FileSource } from "../files.ts";
import { findPickleEnd, unpickle } from "./pickle.ts";
import { PyDict, type PyValue, type StorageRef } from "./pickle_values.ts";
import { dtypeBytes, tensorEntry } from "./tensor_data.ts";
import type { TorchFile, TorchOptions } from "./torch_file.ts";
import { storageResolver, TORCH_GLOBALS } from "./torch_globals.ts";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
/** Largest pickle held in memory, in bytes. */
const MAX_PICKLE = 2 ** 28;
const WINDOW = 2 ** 16;

/** Reads the bytes of the pickle at `offset`, in growing windows, as its length is not known. */
async function readPickle(file: FileSource, offset: number): Promise<Uint8Array<ArrayBuffer>> {
  const available = Math.min(file.size - offset, MAX_PICKLE);
  for (let size = WINDOW, next = 0;; size *= 2) {
    const bytes = await file.read(offset, Math.min(size, available));
    const extent = findPickleEnd(bytes, next, file.name);
    if (extent.end !== undefined) return bytes.slice(0, extent.end);
    // The caller's unpickler reports what is cut off.
    if (bytes.length === available) return bytes;
    next = extent.next;
  }
}

/**
 * Opens a file in the legacy layout. Pickles and storage sizes are read and checked, storages are not.
 *
 * @throws {InputError} codes `BAD_MAGIC`, `UNSUPPORTED_BYTEORDER`, `TRUNCATED`, `MISSING_RECORD`, `STORAGE_TOO_SHORT`,
 * `VIEW_OUT_OF_BOUNDS` and those of {@link unpickle}.
 */
export async function openTorchLegacy(
  file: FileSource,
  options: TorchOptions = {},
): Promise<TorchFile> {
  const fail = (code: string, what: string): never => {
    throw new InputError(code, `Cannot load "${file.name}": ${what}`);
  };
  let at = 0;
  const next = async (persistent?: (id: PyValue) => PyValue): Promise<PyValue> => {
    const bytes = await readPickle(file, at);
    at += bytes.length;
    return unpickle(bytes, { name: file.name, globals: TORCH_GLOBALS, persistent, ...options });
  };
  if (await next() !== MAGIC) {
    fail("BAD_MAGIC", "it does not start with the magic number of torch.save; fetch it again");
  }
  if (await next() !== PROTOCOL) fail("BAD_MAGIC", "its protocol version is not 1001");
  const system = await next();
  if (system instanceof PyDict && system.get("little_endian") === false) {
    fail("UNSUPPORTED_BYTEORDER", "it was saved on a big-endian machine");
  }
  const storages = new Set<StorageRef>();
  const value = await next(storageResolver(file.name, storages));
  const keys = await next();
  if (!Array.isArray(keys)) return fail("INVALID_PICKLE", "its list of storages is no list");

  const byKey = new Map<string, StorageRef>();
  for (const storage of storages) {
    const other = byKey.get(storage.key);
    if (other && (other.dtype !== storage.dtype || other.numel !== storage.numel)) {
      fail("INVALID_PICKLE", `it describes storage ${storage.key} in two ways`);
    }
    byKey.set(storage.key, storage);
  }
  const starts = new Map<string, number>();
  for (const key of keys) {
    const storage = typeof key === "string" ? byKey.get(key) : undefined;
    if (storage === undefined || starts.has(storage.key)) {
      return fail(
        "INVALID_PICKLE",
        `its list of storages names ${String(key).slice(0, 40)} wrongly`,
      );
    }
    if (at + 8 > file.size) fail("TRUNCATED", `it ends before storage ${key}; fetch it again`);
    const numel = new DataView((await file.read(at, 8)).buffer).getBigInt64(0, true);
    if (numel < BigInt(storage.numel)) {
      fail("STORAGE_TOO_SHORT", `storage ${key} has ${numel} of ${storage.numel} elements`);
    }
    if (numel > BigInt(file.size)) {
      fail("TRUNCATED", `it ends inside of storage ${key}; fetch it again`);
    }
    const end = at + 8 + Number(numel) * dtypeBytes(storage.dtype);
    if (end > file.size) {
      fail(
        "TRUNCATED",
        `it ends ${end - file.size} bytes before the end of storage ${key}; fetch it again`,
      );
    }
    starts.set(storage.key, at + 8);
    at = end;
  }
  for (const key of byKey.keys()) {
    if (!starts.has(key)) fail("MISSING_RECORD", `it has no storage ${key}; fetch it again`);
  }
  return {
    value,
    tensor(name, { storage, offset, shape, stride }) {
      const size = dtypeBytes(storage.dtype);
      const first = starts.get(storage.key)! + storage.start * size;
      return tensorEntry({ name, dtype: storage.dtype, shape, stride, offset }, {
        byteLength: storage.length * size,
        read: (from, length) => file.read(first + from, length),
      });
    },
  };
}
