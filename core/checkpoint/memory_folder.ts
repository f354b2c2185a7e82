/**
 * A folder held in memory, for browsers and tests.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { bytesSource, type FolderSource, isSafeName } from "../files.ts";
import type { FolderWriter } from "./save.ts";

/**
 * A folder whose files are the given bytes; writing adds to them.
 *
 * @throws {InputError} on opening: code `UNSAFE_PATH` when a name leaves the folder, `NOT_FOUND` without such a file.
 */
export function memoryFolder(
  name: string,
  files: Map<string, Uint8Array<ArrayBuffer>> = new Map(),
): FolderSource & FolderWriter {
  return {
    name,
    list(folder) {
      const prefix = folder === undefined ? "" : `${folder}/`;
      const inside = [...files.keys()].filter((file) => file.startsWith(prefix));
      const safe = folder === undefined || isSafeName(folder);
      if (!safe || (folder !== undefined && inside.length === 0)) {
        const code = safe ? "NOT_FOUND" : "UNSAFE_PATH";
        return Promise.reject(
          new InputError(code, `Cannot list "${folder}" of "${name}": there is no such folder`),
        );
      }
      const entries = inside.map((file) => file.slice(prefix.length).split("/")[0]);
      return Promise.resolve([...new Set(entries)].sort());
    },
    has: (file) => Promise.resolve(files.has(file)),
    open(file) {
      const bytes = files.get(file);
      if (!isSafeName(file) || bytes === undefined) {
        const code = isSafeName(file) ? "NOT_FOUND" : "UNSAFE_PATH";
        return Promise.reject(
          new InputError(code, `Cannot open "${file}" of "${name}": there is no such file`),
        );
      }
      return Promise.resolve(bytesSource(`${name}/${file}`, bytes));
    },
    async write(file, chunks) {
      files.set(file, await joinChunks(chunks));
    },
  };
}

/** Joins pieces into one array. */
export async function joinChunks(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    pieces.push(chunk);
    length += chunk.byteLength;
  }
  const joined = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.byteLength;
  }
  return joined;
}
