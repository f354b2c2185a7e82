/**
 * Files of `torch.save`, of either layout, as inert values with tensors that are read on demand.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { FileSource } from "../files.ts";
import type { PyValue, TensorRef } from "./pickle_values.ts";
import type { TensorEntry } from "./tensor_data.ts";
import { openTorchLegacy } from "./torch_legacy.ts";
import { openTorchZip } from "./torch_zip.ts";

/** How much a file may hold besides tensors. */
export interface TorchOptions {
  /**
   * `refuse` (default) stops at classes that are not known; `opaque` keeps their objects as inert values, which are
   * never called. Training checkpoints that hold optimizer objects or argument namespaces need `opaque`.
   */
  unknownClasses?: "refuse" | "opaque";
}

/** What a file of `torch.save` holds. */
export interface TorchFile {
  /** The saved object. */
  readonly value: PyValue;
  /** A tensor of the object, under a name for messages. */
  tensor(name: string, ref: TensorRef): TensorEntry;
}

/**
 * Opens a file of `torch.save`, recognising its layout by its first bytes. The file must stay open while tensors are
 * read.
 *
 * @throws {InputError} code `NOT_A_CHECKPOINT` for other files (Git LFS pointers and web pages are named), and the codes
 * of {@link openTorchZip} and {@link openTorchLegacy}.
 */
export async function openTorchFile(
  file: FileSource,
  options: TorchOptions = {},
): Promise<TorchFile> {
  const start = await file.read(0, Math.min(file.size, 64));
  if (start[0] === 0x50 && start[1] === 0x4b) return await openTorchZip(file, options);
  if (start[0] === 0x80 && (start.length < 2 || start[1] <= 5)) {
    return await openTorchLegacy(file, options);
  }
  const text = new TextDecoder().decode(start);
  const what = file.size === 0
    ? "it is empty"
    : text.startsWith("version https://git-lfs")
    ? "it is a Git LFS pointer instead of the weights; fetch the file itself"
    : /^\s*</.test(text)
    ? "it is a web page instead of the weights; fetch it again"
    : "it is no file of torch.save";
  throw new InputError("NOT_A_CHECKPOINT", `Cannot load "${file.name}": ${what}`);
}
