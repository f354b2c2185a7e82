/**
 * The safetensors container: a length, a JSON header, data. Reads headers only; elements come from byte ranges. The
 * checks and their order are those of the reference implementation (`safetensors/src/tensor.rs`, `read_metadata` and
 * `Metadata::validate`).
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { FileSource } from "../files.ts";
import { type DType, dtypeBytes, isDType, type TensorEntry, tensorEntry } from "./tensor_data.ts";

/** Longest header the reference implementation accepts, in bytes. */
const MAX_HEADER = 100_000_000;
const U64_MAX = 2n ** 64n - 1n;
/** Element types the format knows but no checkpoint of this project uses. */
const OTHER_DTYPES = new Set(
  "F4 F6_E2M3 F6_E3M2 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ U16 U32 C64 U64".split(" "),
);

/** The parsed header of a safetensors file. */
export interface SafetensorsFile {
  /** The tensors by name, in the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** The strings of `__metadata__`, in file order; empty when there are none. */
  readonly metadata: ReadonlyMap<string, string>;
}

interface Info {
  name: string;
  dtype: DType;
  shape: bigint[];
  begin: bigint;
  end: bigint;
}

/**
 * Reads the header of a safetensors file and checks it completely.
 *
 * @throws {InputError} codes `HEADER_TOO_SMALL`, `HEADER_TOO_LARGE`, `INVALID_HEADER_LENGTH`, `INVALID_HEADER_UTF8`,
 * `INVALID_HEADER_JSON`, `UNSUPPORTED_DTYPE`, `INVALID_OFFSET`, `OVERFLOW`, `SIZE_MISMATCH`, `INCOMPLETE_BUFFER`.
 */
export async function readSafetensors(file: FileSource): Promise<SafetensorsFile> {
  const fail = (code: string, what: string): never => {
    throw new InputError(code, `Cannot read safetensors file "${file.name}": ${what}`);
  };
  if (file.size < 8) fail("HEADER_TOO_SMALL", `${file.size} bytes are too few for a header`);
  const first = await file.read(0, 8);
  const headerLength = new DataView(first.buffer).getBigUint64(0, true);
  if (headerLength > BigInt(MAX_HEADER)) {
    const start = new TextDecoder().decode(first);
    fail(
      "HEADER_TOO_LARGE",
      start === "version "
        ? "it is a Git LFS pointer instead of the weights; fetch the file itself"
        : start.startsWith("PK\x03\x04")
        ? "it is a zip archive, probably a PyTorch file; rename it to .pth"
        : `its header would have ${headerLength} bytes, at most ${MAX_HEADER} are allowed`,
    );
  }
  const length = Number(headerLength);
  if (8 + length > file.size) {
    fail(
      "INVALID_HEADER_LENGTH",
      `its header would have ${length} bytes, the file has ${file.size}; fetch it again`,
    );
  }
  let text: string;
  const raw = await file.read(8, length);
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    return fail("INVALID_HEADER_UTF8", "its header is not UTF-8");
  }
  const { infos, metadata } = parseHeader(text, fail);
  infos.sort((a, b) => compare(a.begin, b.begin) || compare(a.end, b.end));
  const dataStart = 8 + length;
  const dataEnd = checkOffsets(infos, fail);
  if (dataEnd !== BigInt(file.size - dataStart)) {
    fail(
      "INCOMPLETE_BUFFER",
      `its tensors take ${dataEnd} bytes, the file holds ${file.size - dataStart}; fetch it again`,
    );
  }
  const tensors = new Map<string, TensorEntry>();
  for (const { name, dtype, shape, begin, end } of infos) {
    const start = dataStart + Number(begin);
    const storage = {
      byteLength: Number(end - begin),
      read: (offset: number, size: number) => file.read(start + offset, size),
    };
    tensors.set(name, tensorEntry({ name, dtype, shape: shape.map(Number) }, storage));
  }
  return { tensors, metadata };
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

type Fail = (code: string, what: string) => never;

function parseHeader(
  text: string,
  fail: Fail,
): { infos: Info[]; metadata: Map<string, string> } {
  let header: unknown;
  try {
    // Sizes may exceed 2^53: whole numbers become bigint, from their digits.
    const revive = (_: string, value: unknown, context?: { source?: string }) => {
      if (typeof value !== "number") return value;
      const digits = context?.source ?? String(value);
      return /^\d+$/.test(digits) && digits.length <= 20 ? BigInt(digits) : value;
    };
    header = JSON.parse(text, revive as (key: string, value: unknown) => unknown);
  } catch (error) {
    fail(
      "INVALID_HEADER_JSON",
      `its header is not JSON (${error instanceof Error ? error.message : error})`,
    );
  }
  const bad = (what: string) => fail("INVALID_HEADER_JSON", what);
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    return bad("its header is not a JSON object");
  }
  const size = (value: unknown) => typeof value === "bigint" && value <= U64_MAX;
  const infos: Info[] = [];
  const metadata = new Map<string, string>();
  for (const [name, value] of Object.entries(header)) {
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    if (name === "__metadata__") {
      if (value === null) continue;
      if (!isObject) bad("its __metadata__ is not an object");
      for (const [key, entry] of Object.entries(value)) {
        if (typeof entry !== "string") bad(`its __metadata__ "${key}" is not a string`);
        metadata.set(key, entry as string);
      }
      continue;
    }
    if (!isObject) bad(`entry "${name}" is not an object`);
    const { dtype, shape, "data_offsets": offsets } = value;
    if (typeof dtype !== "string" || !(isDType(dtype) || OTHER_DTYPES.has(dtype))) {
      bad(
        `tensor "${name}" has the unknown dtype ${
          typeof dtype === "string" ? JSON.stringify(dtype.slice(0, 40)) : typeof dtype
        }`,
      );
    }
    if (!Array.isArray(shape) || !shape.every(size)) {
      bad(`tensor "${name}" has no shape of whole numbers`);
    }
    if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(size)) {
      bad(`tensor "${name}" has no data_offsets of two whole numbers`);
    }
    if (!isDType(dtype)) {
      return fail(
        "UNSUPPORTED_DTYPE",
        `tensor "${name}" has dtype ${dtype}, which is not supported`,
      );
    }
    infos.push({ name, dtype, shape, begin: offsets[0], end: offsets[1] });
  }
  return { infos, metadata };
}

/** Checks tensors sorted by offset and returns where the data must end. */
function checkOffsets(infos: readonly Info[], fail: Fail): bigint {
  let at = 0n;
  for (const { name, dtype, shape, begin, end } of infos) {
    if (begin !== at || end < begin) {
      fail("INVALID_OFFSET", `tensor "${name}" lies at [${begin}, ${end}), expected it at ${at}`);
    }
    at = end;
    let count = 1n;
    for (const length of shape) {
      count *= length;
      if (count > U64_MAX) fail("OVERFLOW", `the shape of tensor "${name}" overflows`);
    }
    const size = count * BigInt(dtypeBytes(dtype));
    // The reference counts bits in 64-bit arithmetic.
    if (size * 8n > U64_MAX) fail("OVERFLOW", `the size of tensor "${name}" overflows`);
    if (size !== end - begin) {
      fail(
        "SIZE_MISMATCH",
        `tensor "${name}" of type ${dtype} and shape [${shape}] needs ${size} bytes, has ${
          end - begin
        }`,
      );
    }
  }
  return at;
}

/** Options of {@link safetensorsChunks}. */
export interface SafetensorsOptions {
  /** Strings for `__metadata__`; `{ format: "pt" }` when absent, which Hugging Face loaders ask for. */
  metadata?: Readonly<Record<string, string>>;
}

/**
 * The bytes of a safetensors file with the tensors in the order given: the header, padded with spaces so that the data
 * starts at a multiple of 8, then the data in pieces.
 *
 * @throws {InputError} code `INVALID_NAME` when two tensors share a name or one is called `__metadata__`,
 * `HEADER_TOO_LARGE` when the header would not be readable again.
 */
export async function* safetensorsChunks(
  tensors: Iterable<TensorEntry>,
  { metadata = { format: "pt" } }: SafetensorsOptions = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const list = [...tensors];
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  const seen = new Set(["__metadata__"]);
  let at = 0;
  for (const { name, dtype, shape, byteLength } of list) {
    if (seen.has(name)) {
      throw new InputError(
        "INVALID_NAME",
        `Cannot write tensor "${name}" twice or under this name`,
      );
    }
    seen.add(name);
    const info = { dtype, shape, "data_offsets": [at, at + byteLength] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(info)}`);
    at += byteLength;
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER) {
    throw new InputError(
      "HEADER_TOO_LARGE",
      `Cannot write a safetensors header of ${length} bytes`,
    );
  }
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  yield header;
  for (const tensor of list) yield* tensor.chunks();
}
