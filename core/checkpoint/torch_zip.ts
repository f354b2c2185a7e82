/**
 * The zip layout of `torch.save` (PyTorch 1.6 and later): `<folder>/data.pkl` with the object, `<folder>/data/<key>`
 * with raw storages.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { FileSource } from "../files.ts";
import { unpickle } from "./pickle.ts";
import type { StorageRef } from "./pickle_values.ts";
import { dtypeBytes, tensorEntry } from "./tensor_data.ts";
import type { TorchFile, TorchOptions } from "./torch_file.ts";
import { storageResolver, TORCH_GLOBALS } from "./torch_globals.ts";
import { readZip, type ZipRecord } from "./zip_reader.ts";

/** Largest pickle held in memory, in bytes. */
const MAX_PICKLE = 2 ** 28;

/**
 * Opens a file in the zip layout. The directory and the pickle are read and checked, storages are not.
 *
 * @throws {InputError} codes `NOT_A_ZIP`, `INVALID_ZIP`, `MISSING_RECORD`, `UNSUPPORTED_BYTEORDER`,
 * `STORAGE_TOO_SHORT`, `VIEW_OUT_OF_BOUNDS` and those of {@link unpickle}.
 */
export async function openTorchZip(
  file: FileSource,
  options: TorchOptions = {},
): Promise<TorchFile> {
  const fail = (code: string, what: string): never => {
    throw new InputError(code, `Cannot load "${file.name}": ${what}`);
  };
  const records = await readZip(file);
  const record = (name: string): ZipRecord =>
    records.get(name) ?? fail("MISSING_RECORD", `it has no record "${name}"; fetch it again`);
  const pickleName = [...records.keys()].find((name) => /(^|\/)data\.pkl$/.test(name));
  if (pickleName === undefined) {
    return fail("MISSING_RECORD", "it has no record data.pkl, so it is no file of torch.save");
  }
  const folder = pickleName.slice(0, -"data.pkl".length);

  const order = records.get(`${folder}byteorder`);
  if (order !== undefined) {
    const text = new TextDecoder().decode(await order.read(0, Math.min(order.byteLength, 16)));
    if (text.trim() !== "little") {
      fail("UNSUPPORTED_BYTEORDER", `record byteorder says ${JSON.stringify(text)}, not little`);
    }
  }

  const pickle = record(pickleName);
  if (pickle.byteLength > MAX_PICKLE) {
    fail(
      "TOO_LARGE",
      `its pickle has ${pickle.byteLength} bytes, at most ${MAX_PICKLE} are allowed`,
    );
  }
  const storages = new Set<StorageRef>();
  const value = unpickle(await pickle.read(0, pickle.byteLength), {
    name: file.name,
    globals: TORCH_GLOBALS,
    persistent: storageResolver(file.name, storages),
    ...options,
  });
  for (const { key, numel, dtype } of storages) {
    const { name, byteLength } = record(`${folder}data/${key}`);
    if (byteLength < numel * dtypeBytes(dtype)) {
      fail(
        "STORAGE_TOO_SHORT",
        `record "${name}" has ${byteLength} bytes, its ${numel} ${dtype} elements need more`,
      );
    }
  }
  return {
    value,
    tensor(name, { storage, offset, shape, stride }) {
      const { dtype, key, start, length } = storage;
      const data = record(`${folder}data/${key}`);
      const first = start * dtypeBytes(dtype);
      return tensorEntry({ name, dtype, shape, stride, offset }, {
        byteLength: length * dtypeBytes(dtype),
        read: (at, size) => data.read(first + at, size),
      });
    },
  };
}
