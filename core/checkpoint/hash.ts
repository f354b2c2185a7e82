/**
 * Checksums of files, streamed.
 *
 * @module
 */
import { createSHA256 } from "hash-wasm";
import { InputError } from "../errors.ts";
import type { FileSource } from "../files.ts";

const STEP = 2 ** 22;

/**
 * SHA-256 of a file as 64 lower-case hex digits. Reads 4 MiB at a time into the one buffer of the hash.
 *
 * @param progress Called with the number of bytes done so far.
 */
export async function sha256(
  file: FileSource,
  progress?: (bytes: number) => void,
): Promise<string> {
  const hash = await createSHA256();
  hash.init();
  for (let at = 0; at < file.size;) {
    const length = Math.min(STEP, file.size - at);
    hash.update(await file.read(at, length));
    at += length;
    progress?.(at);
  }
  return hash.digest("hex");
}

/**
 * Checks a file against its expected SHA-256.
 *
 * @param expected 64 hex digits, in either case.
 * @throws {InputError} code `HASH_MISMATCH` when the file is another one or damaged.
 */
export async function verifySha256(
  file: FileSource,
  expected: string,
  progress?: (bytes: number) => void,
): Promise<void> {
  const actual = await sha256(file, progress);
  if (actual !== expected.toLowerCase()) {
    throw new InputError(
      "HASH_MISMATCH",
      `Cannot use "${file.name}": its SHA-256 is ${actual}, expected ${expected}; fetch it again`,
    );
  }
}
