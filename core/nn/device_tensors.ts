/**
 * Float values on a device, in one or several buffers one after the other, as tensors of a checkpoint and back.
 *
 * @module
 */
import { type TensorEntry, tensorEntry, type TensorLayout, toFloat32 } from "../checkpoint/mod.ts";
import type { Device, DeviceBuffer } from "../device/mod.ts";

/** Consecutive values of a tensor. */
export interface DevicePiece {
  /** Memory that begins with them. */
  readonly buffer: DeviceBuffer;
  /** Values it holds, 4 bytes each. */
  readonly count: number;
}

/** Values moved at once. */
const chunkValues = 2 ** 22;

/** A tensor that is read from the device when asked for. */
export function deviceEntry(
  device: Device,
  layout: Omit<TensorLayout, "dtype">,
  pieces: readonly DevicePiece[],
): TensorEntry {
  const byteLength = 4 * pieces.reduce((sum, { count }) => sum + count, 0);
  return tensorEntry({ ...layout, dtype: "F32" }, {
    byteLength,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      let start = 0;
      for (const { buffer, count } of pieces) {
        const from = Math.max(offset, start), to = Math.min(offset + length, start + 4 * count);
        if (from < to) {
          const part = await device.read(buffer, from - start, to - from);
          bytes.set(new Uint8Array(part), from - offset);
        }
        start += 4 * count;
      }
      return bytes;
    },
  });
}

/** Fills buffers from a float tensor of exactly as many values. */
export async function writeFromEntry(
  device: Device,
  entry: TensorEntry,
  pieces: readonly DevicePiece[],
): Promise<void> {
  const queue = pieces.map((piece) => ({ ...piece, at: 0 }));
  for await (const bytes of entry.chunks(4 * chunkValues)) {
    let values = toFloat32(bytes, entry.dtype);
    while (values.length > 0) {
      const piece = queue[0]!;
      const count = Math.min(values.length, piece.count - piece.at);
      device.write(piece.buffer, values.subarray(0, count), 4 * piece.at);
      piece.at += count;
      values = values.subarray(count);
      if (piece.at === piece.count) queue.shift();
    }
  }
}

/**
 * The same tensors, which are read from the device ahead of the one that is asked for, so that a writer who takes them in order
 * does not wait for the device once per tensor.
 *
 * @param limit Bytes on the host at once; a larger tensor is read in pieces, by itself.
 */
export function readAhead(entries: readonly TensorEntry[], limit = 2 ** 26): TensorEntry[] {
  const started = new Map<number, Promise<Uint8Array<ArrayBuffer>>>();
  let held = 0;
  const startFrom = (first: number) => {
    for (let i = first; i < entries.length; i++) {
      if (started.has(i)) continue;
      const { byteLength } = entries[i]!;
      if (byteLength > limit || (held > 0 && held + byteLength > limit)) return;
      const bytes = entries[i]!.read();
      // Reported by whoever takes it.
      bytes.catch(() => {});
      started.set(i, bytes);
      held += byteLength;
    }
  };
  const take = async (i: number) => {
    startFrom(i);
    const bytes = started.get(i);
    if (bytes === undefined) return await entries[i]!.read();
    started.delete(i);
    try {
      return await bytes;
    } finally {
      held -= entries[i]!.byteLength;
    }
  };
  return entries.map((entry, i) => ({
    ...entry,
    read: () => take(i),
    async *chunks(maxBytes) {
      if (entry.byteLength > limit) yield* entry.chunks(maxBytes);
      else yield await take(i);
    },
  }));
}
