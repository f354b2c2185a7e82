/**
 * Copies of model folders.
 *
 * @module
 */

/** Copies a folder with everything below it; what is there already is overwritten. @returns bytes of the files. */
export async function copyFolder(from: string, to: string): Promise<number> {
  await Deno.mkdir(to, { recursive: true });
  let bytes = 0;
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) bytes += await copyFolder(`${from}/${name}`, `${to}/${name}`);
    else {
      await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
      bytes += (await Deno.stat(`${to}/${name}`)).size;
    }
  }
  return bytes;
}
