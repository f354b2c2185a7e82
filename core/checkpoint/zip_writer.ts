/**
 * Zip archives with stored records whose data starts at multiples of 64 bytes, as torch writes and maps them: padding
 * sits in an extra field `FB`, sizes and checksum follow the data, zip64 fields appear where 32 bits do not suffice
 * (PKWARE APPNOTE 4.3).
 *
 * @module
 */
import { createCRC32 } from "hash-wasm";
import { InputError } from "../errors.ts";

/** A record to write. */
export interface ZipInput {
  /** Name inside the archive. */
  name: string;
  /** Exact size in bytes. */
  size: number;
  /** The bytes, in pieces. */
  chunks(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

const ALIGNMENT = 64;
const MAX_32 = 0xffffffff;
/** Flags: sizes follow the data; names are UTF-8. */
const FLAGS = 0x0808;

/** Grows little-endian structures field by field. */
class Fields {
  readonly #bytes: number[] = [];

  u16(...values: number[]): this {
    for (const value of values) this.#bytes.push(value & 0xff, (value >>> 8) & 0xff);
    return this;
  }

  u32(...values: number[]): this {
    for (const value of values) this.u16(value & 0xffff, value >>> 16);
    return this;
  }

  u64(...values: number[]): this {
    for (const value of values) this.u32(value % 2 ** 32, Math.floor(value / 2 ** 32));
    return this;
  }

  raw(bytes: Iterable<number>): this {
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  get length(): number {
    return this.#bytes.length;
  }

  done(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#bytes);
  }
}

/**
 * The bytes of an archive with these records.
 *
 * @param zip64From Sizes and offsets from here on use zip64 fields.
 * @throws {InputError} code `SIZE_MISMATCH` when a record does not give as many bytes as it announced.
 */
export async function* zipChunks(
  records: Iterable<ZipInput>,
  zip64From: number = MAX_32,
): AsyncGenerator<Uint8Array> {
  const crc = await createCRC32();
  const entries: Uint8Array[] = [];
  let at = 0;
  for (const { name, size, chunks } of records) {
    const local = at;
    const header = localHeader(name, size, at, size >= zip64From);
    yield header;
    at += header.length;

    crc.init();
    let written = 0;
    for await (const chunk of chunks()) {
      crc.update(chunk);
      written += chunk.byteLength;
      yield chunk;
    }
    if (written !== size) {
      throw new InputError(
        "SIZE_MISMATCH",
        `Cannot write record "${name}": it gave ${written} bytes instead of ${size}`,
      );
    }
    const checksum = parseInt(crc.digest("hex"), 16);
    const descriptor = new Fields().u32(0x08074b50, checksum);
    if (size >= zip64From) descriptor.u64(size, size);
    else descriptor.u32(size, size);
    yield descriptor.done();
    at += size + descriptor.length;
    entries.push(directoryEntry(name, size, checksum, local, zip64From));
  }
  const start = at;
  for (const entry of entries) {
    yield entry;
    at += entry.length;
  }
  yield endRecords(entries.length, at - start, start);
}

function localHeader(
  name: string,
  size: number,
  at: number,
  zip64: boolean,
): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(name);
  const wide = zip64 ? new Fields().u16(1, 16).u64(size, size).done() : new Uint8Array(0);
  const dataStart = at + 30 + text.length + wide.length + 4;
  const padding = (ALIGNMENT - dataStart % ALIGNMENT) % ALIGNMENT;
  const narrow = zip64 ? MAX_32 : 0;
  return new Fields()
    .u32(0x04034b50).u16(zip64 ? 45 : 20, FLAGS, 0, 0, 0)
    .u32(0, narrow, narrow).u16(text.length, wide.length + 4 + padding)
    .raw(text).raw(wide)
    .raw([0x46, 0x42]).u16(padding).raw(new Uint8Array(padding).fill(0x5a))
    .done();
}

function directoryEntry(
  name: string,
  size: number,
  checksum: number,
  local: number,
  zip64From: number,
): Uint8Array {
  const text = new TextEncoder().encode(name);
  const wide = new Fields();
  if (size >= zip64From) wide.u64(size, size);
  if (local >= zip64From) wide.u64(local);
  const extra = wide.length > 0 ? new Fields().u16(1, wide.length).raw(wide.done()).done() : [];
  const narrow = (value: number) => value >= zip64From ? MAX_32 : value;
  return new Fields()
    .u32(0x02014b50).u16(45, extra.length > 0 ? 45 : 20, FLAGS, 0, 0, 0)
    .u32(checksum, narrow(size), narrow(size)).u16(text.length, extra.length, 0, 0, 0)
    .u32(0, narrow(local))
    .raw(text).raw(extra)
    .done();
}

/** The zip64 end record with its locator, then the classic one; torch writes all three as well. */
function endRecords(count: number, size: number, start: number): Uint8Array {
  const narrow = (value: number, limit: number) => Math.min(value, limit);
  return new Fields()
    .u32(0x06064b50).u64(44).u16(45, 45).u32(0, 0).u64(count, count, size, start)
    .u32(0x07064b50, 0).u64(start + size).u32(1)
    .u32(0x06054b50).u16(0, 0, narrow(count, 0xffff), narrow(count, 0xffff))
    .u32(narrow(size, MAX_32), narrow(start, MAX_32)).u16(0)
    .done();
}
