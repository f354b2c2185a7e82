/**
 * The elements of one large JSON array or object, one at a time: files of several gigabytes need the memory of their
 * longest element, and a malformed element has a line to name.
 *
 * @module
 */
import { type FileSource, type FolderSource, InputError, readJson } from "@medvlm/core";
import { decodeUtf8, filePieces, joinBytes } from "./text_records.ts";

/** Longest element in bytes. */
const MAX_ELEMENT = 2 ** 26;

/** An element of an array, or a member of an object. */
export interface JsonRecord {
  /** Name of the member; absent in arrays. */
  readonly key?: string;
  /** The value; absent when it is malformed. */
  readonly value?: unknown;
  /** What is wrong with a malformed element. */
  readonly problem?: string;
  /** Line it starts in, from 1. */
  readonly line: number;
}

const code = (character: string) => character.charCodeAt(0);
const QUOTE = code('"'), BACKSLASH = code("\\"), COMMA = code(","), NEWLINE = code("\n");
const CLOSE_OBJECT = code("}"), OPEN_OBJECT = code("{");
const isBlank = (byte: number) =>
  byte === 0x20 || byte === NEWLINE || byte === 0x0d || byte === 0x09;
const isOpener = (byte: number) => byte === OPEN_OBJECT || byte === 0x5b;
const isCloser = (byte: number) => byte === CLOSE_OBJECT || byte === 0x5d;

/** The value of one element; members are parsed as an object of one. */
function parseElement(bytes: Uint8Array, line: number, members: boolean): JsonRecord {
  const text = decodeUtf8(bytes);
  if (text === undefined) return { line, problem: "not UTF-8 text" };
  try {
    if (!members) return { line, value: JSON.parse(text) };
    // A list of pairs rather than an object, so that no name is special.
    const colon = text.indexOf(":", endOfString(text));
    const key: unknown = JSON.parse(text.slice(0, Math.max(colon, 0)));
    if (typeof key !== "string") return { line, problem: "a name is not a string" };
    return { line, key, value: JSON.parse(text.slice(colon + 1)) };
  } catch (error) {
    return { line, problem: `not JSON: ${error instanceof Error ? error.message : error}` };
  }
}

/** Index after the string that begins the text. */
function endOfString(text: string): number {
  const match = /^\s*"(?:[^"\\]|\\.)*"/.exec(text);
  return match === null ? text.length : match[0].length;
}

/**
 * Reads the outermost array or object of a JSON file element by element.
 *
 * @throws {InputError} code `INVALID_JSON` naming file, line and byte when the file ends early, is no array or object, or
 * goes on after its end; `TOO_LARGE` for an element of more than 64 MiB.
 */
export async function* jsonRecords(file: FileSource): AsyncGenerator<JsonRecord> {
  let held: Uint8Array = new Uint8Array();
  let offset = 0, line = 1, startLine = 1;
  let depth = 0,
    inString = false,
    escaped = false,
    members = false,
    started = false,
    blank = true,
    count = 0;

  const fail = (what: string, at: number): never => {
    throw new InputError(
      "INVALID_JSON",
      `Cannot read "${file.name}": ${what} in line ${line} at byte ${at}; fetch the file again`,
    );
  };

  for await (const piece of filePieces(file)) {
    const bytes = joinBytes(held, piece);
    // Bytes of the file before these, not counting a byte order mark.
    const base = offset - held.length;
    let start = 0;
    for (let at = held.length; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === NEWLINE) line++;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
        continue;
      }
      if (isBlank(byte)) {
        if (blank) start = at + 1;
        continue;
      }
      if (depth === 0) {
        if (started) fail("more after the end", base + at);
        if (!isOpener(byte)) fail("no array or object", base + at);
        members = byte === OPEN_OBJECT;
        started = true;
        depth = 1;
        start = at + 1;
        continue;
      }
      if (depth === 1 && (byte === COMMA || isCloser(byte))) {
        const closing = byte !== COMMA;
        if (closing && (byte === CLOSE_OBJECT) !== members) {
          fail("a bracket of the other kind", base + at);
        }
        if (!blank) yield parseElement(bytes.subarray(start, at), startLine, members);
        else if (!closing || count > 0) fail("an element is missing", base + at);
        count++;
        start = at + 1;
        blank = true;
        if (closing) depth = 0;
        continue;
      }
      if (blank) {
        blank = false;
        startLine = line;
        start = at;
      }
      if (byte === QUOTE) inString = true;
      else if (isOpener(byte)) depth++;
      else if (isCloser(byte)) depth--;
    }
    offset = base + bytes.length;
    held = bytes.slice(start);
    if (held.length > MAX_ELEMENT) {
      throw new InputError(
        "TOO_LARGE",
        `Cannot read "${file.name}": the element that starts in line ${startLine} has more than ${MAX_ELEMENT} bytes`,
      );
    }
  }
  if (!started) fail("no array or object", file.size);
  if (depth > 0) fail("the file ends inside the list", file.size);
}

/** Largest file in bytes that is read as a whole. */
const MAX_WHOLE = 2 ** 28;

/**
 * Reads a JSON object that cannot be taken apart, of at most 256 MiB.
 *
 * @throws {InputError} code `INVALID_JSON` naming the file and the position, `TOO_LARGE`.
 */
export function wholeJson(folder: FolderSource, name: string): Promise<Record<string, unknown>> {
  return readJson(folder, name, MAX_WHOLE);
}
