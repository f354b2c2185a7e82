/**
 * The index file of a sharded Hugging Face checkpoint: which shard holds which tensor.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { type FileSource, isSafeName } from "../files.ts";

/** Largest index read, in bytes. */
const MAX_INDEX = 2 ** 26;

/** Whether a file name is that of an index (`*.bin.index.json`, `*.safetensors.index.json`). */
export function isIndexName(name: string): boolean {
  return /\.index\.json$/.test(name);
}

/**
 * Reads an index.
 *
 * @returns shard file by tensor name, in file order.
 * @throws {InputError} code `INVALID_INDEX` unless it is JSON with a `weight_map` of strings, `UNSAFE_PATH` when a shard
 * name leaves the folder.
 */
export async function readIndex(file: FileSource): Promise<Map<string, string>> {
  const fail = (code: string, what: string): never => {
    throw new InputError(code, `Cannot read checkpoint index "${file.name}": ${what}`);
  };
  if (file.size > MAX_INDEX) fail("INVALID_INDEX", `it has ${file.size} bytes`);
  let json: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.read(0, file.size));
    json = JSON.parse(text);
  } catch (error) {
    if (error instanceof InputError) throw error;
    return fail("INVALID_INDEX", "it is no complete JSON; fetch it again");
  }
  const weightMap = typeof json === "object" && json !== null && "weight_map" in json
    ? json.weight_map
    : undefined;
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    return fail("INVALID_INDEX", "it has no weight_map");
  }
  const shards = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(weightMap)) {
    if (typeof shard !== "string") {
      return fail("INVALID_INDEX", `tensor "${tensor}" is mapped to no file name`);
    }
    if (!isSafeName(shard)) {
      fail(
        "UNSAFE_PATH",
        `the shard name ${JSON.stringify(shard.slice(0, 200))} leaves the folder`,
      );
    }
    shards.set(tensor, shard);
  }
  return shards;
}
