/** Files in memory for tests of readers. */
import { bytesSource, type FileSource, type FolderSource } from "@medvlm/core";
import { memoryFolder } from "@medvlm/core/checkpoint";

const encoder = new TextEncoder();

/** A file of this text or these bytes that counts how it is read. */
export function textFile(content: string | Uint8Array, name = "file"): FileSource {
  const bytes = typeof content === "string" ? encoder.encode(content) : new Uint8Array(content);
  return bytesSource(name, bytes);
}

/** A folder of these files; pictures may be empty files. */
export function folderOf(files: Record<string, string | Uint8Array>): FolderSource {
  return memoryFolder(
    "folder",
    new Map(
      Object.entries(files).map(([name, content]) => [
        name,
        typeof content === "string" ? encoder.encode(content) : new Uint8Array(content),
      ]),
    ),
  );
}

/** All values of a stream. */
export async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}
