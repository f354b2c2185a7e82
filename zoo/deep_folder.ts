/**
 * A folder to write checkpoints into.
 *
 * @module
 */
import { diskFolder, type FolderWriter } from "@medvlm/core/checkpoint";

/** Writes into a folder of the disk and makes the folders on the way: files of a release may lie in folders of their own. */
export function deepFolder(path: string): FolderWriter {
  const { name, write } = diskFolder(path);
  return {
    name,
    async write(file, chunks) {
      await Deno.mkdir(`${path}/${file}`.replace(/\/[^/]*$/, ""), { recursive: true });
      await write(file, chunks);
    },
  };
}
