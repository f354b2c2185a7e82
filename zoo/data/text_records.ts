/**
 * Text files read record by record: lines, or rows of a table whose quoted fields may hold line ends. Files are read in
 * pieces and only one record is in memory at a time.
 *
 * @module
 */
import { type FileSource, InputError } from "@medvlm/core";

/** Bytes read at once. */
const PIECE = 2 ** 20;
/** Longest record in bytes; longer ones are not text of these kinds. */
const MAX_RECORD = 2 ** 24;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes UTF-8. Absent when the bytes are something else. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** A record of a text file. */
export interface TextRecord {
  /** The text without its line end; absent when the bytes are not UTF-8. */
  readonly text?: string;
  /** Line it starts in, from 1. */
  readonly line: number;
}

/** How records end. */
export interface TextRecordOptions {
  /** Field separator, one ASCII character: fields may then be quoted with `"`, and quoted fields may hold line ends. */
  readonly delimiter?: string;
}

/** Reads the pieces of a file in order, without a byte order mark. */
export async function* filePieces(file: FileSource): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < file.size; at += PIECE) {
    const piece = await file.read(at, Math.min(PIECE, file.size - at));
    const marked = at === 0 && piece[0] === 0xef && piece[1] === 0xbb && piece[2] === 0xbf;
    yield marked ? piece.subarray(3) : piece;
  }
}

/** Joins what is left of the last piece with the next. */
export function joinBytes(left: Uint8Array, right: Uint8Array): Uint8Array {
  if (left.length === 0) return right;
  const joined = new Uint8Array(left.length + right.length);
  joined.set(left);
  joined.set(right, left.length);
  return joined;
}

const NEWLINE = 0x0a, RETURN = 0x0d, QUOTE = 0x22;

/** Where in a field of a table the reader is. */
type Place = "start" | "plain" | "quoted" | "closed";

/**
 * The records of a text file, blank lines left out.
 *
 * @throws {InputError} code `TOO_LARGE` for a record of more than 16 MiB, such as after a quote that is never closed.
 */
export async function* textRecords(
  file: FileSource,
  options: TextRecordOptions = {},
): AsyncGenerator<TextRecord> {
  // Without a delimiter no byte begins a field, so quotes mean nothing.
  const delimiter = options.delimiter?.charCodeAt(0) ?? -1;
  const first = delimiter < 0 ? "plain" : "start";
  let place: Place = first;
  let held: Uint8Array = new Uint8Array();
  let line = 1, startLine = 1;

  const record = (bytes: Uint8Array): TextRecord | undefined => {
    const end = bytes.at(-1) === RETURN ? bytes.length - 1 : bytes.length;
    const text = decodeUtf8(bytes.subarray(0, end));
    return text?.trim() === "" ? undefined : { text, line: startLine };
  };

  for await (const piece of filePieces(file)) {
    const bytes = joinBytes(held, piece);
    let start = 0;
    for (let at = held.length; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === NEWLINE) line++;
      if (place === "quoted") {
        if (byte === QUOTE) place = "closed";
      } else if (byte === NEWLINE) {
        const found = record(bytes.subarray(start, at));
        if (found) yield found;
        start = at + 1;
        startLine = line;
        place = first;
      } else if (byte === delimiter) {
        place = "start";
      } else if (byte === QUOTE && place !== "plain") {
        // At the start of a field, or the second of a doubled quote.
        place = "quoted";
      } else {
        place = "plain";
      }
    }
    held = bytes.slice(start);
    if (held.length > MAX_RECORD) {
      throw new InputError(
        "TOO_LARGE",
        `Cannot read "${file.name}": the record that starts in line ${startLine} has more than ${MAX_RECORD} bytes; a quote may not be closed`,
      );
    }
  }
  const found = record(held);
  if (found) yield found;
}
