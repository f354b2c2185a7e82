/**
 * Tensors of a reference case, read from its safetensors files.
 *
 * @module
 */
import { toFloat32 } from "../../core/checkpoint/convert.ts";
import { readSafetensors } from "../../core/checkpoint/safetensors.ts";
import { openFile } from "../../core/files.ts";

/** One tensor: its sizes and its values as numbers. */
export interface ReferenceTensor {
  readonly shape: readonly number[];
  /** Float32 for floating types, bytes for uint8. */
  readonly data: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;
}

/** The tensors of a file by name. */
export interface ReferenceTensors {
  has(name: string): boolean;
  /** @throws {Error} when the file has no such tensor. */
  get(name: string): ReferenceTensor;
}

/** Reads all tensors of a (small) safetensors file. */
export async function readReferenceTensors(path: string): Promise<ReferenceTensors> {
  using file = await openFile(path);
  const tensors = new Map<string, ReferenceTensor>();
  for (const [name, entry] of (await readSafetensors(file)).tensors) {
    const bytes = await entry.read();
    const data = entry.dtype === "U8" ? bytes : toFloat32(bytes, entry.dtype);
    tensors.set(name, { shape: entry.shape, data });
  }
  return {
    has: (name) => tensors.has(name),
    get(name) {
      const tensor = tensors.get(name);
      if (!tensor) throw new Error(`${path} has no tensor ${name}`);
      return tensor;
    },
  };
}
