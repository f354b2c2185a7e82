/**
 * Zip archives by byte ranges: the directory at the end, then single records (PKWARE APPNOTE 4.3, with zip64). Stored
 * records are read in place; deflated ones are inflated to their declared size and no further.
 *
 * @module
 */
import { Inflate } from "fflate";
import { InputError } from "../errors.ts";
import type { FileSource } from "../files.ts";
import type { ByteRange } from "./tensor_data.ts";

/** A record of an archive. */
export interface ZipRecord extends ByteRange {
  /** Full name inside the archive. */
  readonly name: string;
}

/** Largest directory read, in bytes. */
const MAX_DIRECTORY = 2 ** 28;
/** Largest record that is inflated. */
const MAX_INFLATED = 2 ** 31;
/** Deflate cannot shrink data further than this. */
const MAX_RATIO = 1032;

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;

interface Entry {
  name: string;
  method: number;
  packed: number;
  size: number;
  local: number;
}

/**
 * Reads the directory of a zip archive.
 *
 * @returns the records by name.
 * @throws {InputError} code `NOT_A_ZIP` without a (complete) directory, `INVALID_ZIP` when it contradicts itself.
 */
export async function readZip(file: FileSource): Promise<Map<string, ZipRecord>> {
  const fail = (code: string, what: string): never => {
    throw new InputError(code, `Cannot read zip archive "${file.name}": ${what}`);
  };
  const directory = await locate(file, fail);
  const bytes = await file.read(directory.offset, directory.size);
  const view = new DataView(bytes.buffer);
  const records = new Map<string, ZipRecord>();
  let at = 0;
  for (let i = 0; i < directory.count; i++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== ENTRY) {
      fail("INVALID_ZIP", `entry ${i} of its directory is damaged; fetch it again`);
    }
    const nameLength = view.getUint16(at + 28, true);
    const extraLength = view.getUint16(at + 30, true);
    const next = at + 46 + nameLength + extraLength + view.getUint16(at + 32, true);
    if (next > bytes.length) fail("INVALID_ZIP", `entry ${i} of its directory is damaged`);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    if ((view.getUint16(at + 8, true) & 1) !== 0) fail("INVALID_ZIP", `"${name}" is encrypted`);
    const entry: Entry = {
      name,
      method: view.getUint16(at + 10, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      local: view.getUint32(at + 42, true),
    };
    readZip64Extra(view, at + 46 + nameLength, extraLength, entry, fail);
    if (entry.method !== 0 && entry.method !== 8) {
      fail("INVALID_ZIP", `"${name}" is packed with the unsupported method ${entry.method}`);
    }
    if (entry.method === 0 && entry.packed !== entry.size) {
      fail("INVALID_ZIP", `the sizes of "${name}" contradict each other`);
    }
    if (entry.local + 30 + entry.packed > directory.offset) {
      fail("INVALID_ZIP", `"${name}" lies outside of the archive`);
    }
    if (records.has(name)) fail("INVALID_ZIP", `it holds "${name}" twice`);
    records.set(name, zipRecord(file, entry, directory.offset, fail));
    at = next;
  }
  return records;
}

type Fail = (code: string, what: string) => never;

/** Finds the directory by way of the end records. */
async function locate(
  file: FileSource,
  fail: Fail,
): Promise<{ offset: number; size: number; count: number }> {
  const tailSize = Math.min(file.size, 22 + 65535 + 20);
  const tailStart = file.size - tailSize;
  const tail = await file.read(tailStart, tailSize);
  const view = new DataView(tail.buffer);
  let end = tailSize - 22;
  while (
    end >= 0 &&
    (view.getUint32(end, true) !== END || end + 22 + view.getUint16(end + 20, true) !== tailSize)
  ) end--;
  if (end < 0) fail("NOT_A_ZIP", "it has no directory at its end; fetch it again");
  let count = view.getUint16(end + 10, true);
  let size = view.getUint32(end + 12, true);
  let offset = view.getUint32(end + 16, true);
  let limit = tailStart + end;
  if (end >= 20 && view.getUint32(end - 20, true) === LOCATOR_64) {
    const at = Number(view.getBigUint64(end - 12, true));
    if (at + 56 > file.size) fail("NOT_A_ZIP", "its zip64 end record lies outside of it");
    const record = new DataView((await file.read(at, 56)).buffer);
    if (record.getUint32(0, true) !== END_64) fail("NOT_A_ZIP", "its zip64 end record is damaged");
    count = Number(record.getBigUint64(32, true));
    size = Number(record.getBigUint64(40, true));
    offset = Number(record.getBigUint64(48, true));
    limit = at;
  }
  if (offset + size > limit || size < count * 46) {
    fail("NOT_A_ZIP", "its directory lies outside of it; fetch it again");
  }
  if (size > MAX_DIRECTORY) fail("INVALID_ZIP", `its directory has ${size} bytes`);
  return { offset, size, count };
}

/** Sizes and offsets that do not fit 32 bits stand in the extra field 1, in this order, each only when needed. */
function readZip64Extra(
  view: DataView,
  at: number,
  length: number,
  entry: Entry,
  fail: Fail,
): void {
  const missing = (["size", "packed", "local"] as const).filter((key) => entry[key] === 0xffffffff);
  if (missing.length === 0) return;
  const end = at + length;
  while (at + 4 <= end) {
    const id = view.getUint16(at, true), fieldEnd = at + 4 + view.getUint16(at + 2, true);
    if (fieldEnd > end) break;
    if (id === 1) {
      at += 4;
      for (const key of missing) {
        if (at + 8 > fieldEnd) break;
        entry[key] = Number(view.getBigUint64(at, true));
        at += 8;
      }
      return;
    }
    at = fieldEnd;
  }
  fail("INVALID_ZIP", `the zip64 sizes of "${entry.name}" are missing`);
}

function zipRecord(file: FileSource, entry: Entry, limit: number, fail: Fail): ZipRecord {
  const { name, method, packed, size, local } = entry;
  let start: Promise<number> | undefined;
  const dataStart = () =>
    start ??= file.read(local, 30).then((header) => {
      const view = new DataView(header.buffer);
      if (view.getUint32(0, true) !== LOCAL) {
        fail("INVALID_ZIP", `the header of "${name}" is damaged`);
      }
      const at = local + 30 + view.getUint16(26, true) + view.getUint16(28, true);
      if (at + packed > limit) {
        fail("INVALID_ZIP", `"${name}" lies outside of the archive`);
      }
      return at;
    });
  if (method === 0) {
    return {
      name,
      byteLength: size,
      async read(offset, length) {
        if (offset + length > size) {
          fail("TRUNCATED", `a read leaves the ${size} bytes of "${name}"`);
        }
        return await file.read(await dataStart() + offset, length);
      },
    };
  }
  return {
    name,
    byteLength: size,
    async read(offset, length) {
      if (offset + length > size) fail("TRUNCATED", `a read leaves the ${size} bytes of "${name}"`);
      if (size > MAX_INFLATED || size > packed * MAX_RATIO) {
        fail("INVALID_ZIP", `"${name}" would inflate from ${packed} to ${size} bytes`);
      }
      const inflated = await inflate(file, await dataStart(), entry, fail);
      return inflated.slice(offset, offset + length);
    },
  };
}

/** Inflates a record piece by piece into a buffer of its declared size. */
async function inflate(
  file: FileSource,
  start: number,
  { name, packed, size }: Entry,
  fail: Fail,
): Promise<Uint8Array<ArrayBuffer>> {
  const target = new Uint8Array(size);
  let filled = 0;
  const stream = new Inflate((piece) => {
    if (filled + piece.length > size) {
      fail("INVALID_ZIP", `"${name}" inflates to more than its ${size} bytes`);
    }
    target.set(piece, filled);
    filled += piece.length;
  });
  const step = 2 ** 16;
  try {
    for (let at = 0; at < packed; at += step) {
      const length = Math.min(step, packed - at);
      stream.push(await file.read(start + at, length), at + length === packed);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    fail("INVALID_ZIP", `"${name}" does not inflate`);
  }
  if (filled !== size) fail("INVALID_ZIP", `"${name}" inflates to ${filled} of ${size} bytes`);
  return target;
}
