/**
 * What a JPEG file says about itself (ITU-T T.81 annex B): read before its pixels are decoded, so that size, process and
 * completeness are known without allocating anything.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { exifOrientation, type Orientation } from "./exif.ts";

/** Frame header and what matters of the other markers. */
export interface JpegHeader {
  /** Pixels in a row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
  /** 1 grey, 3 YCbCr or RGB, 4 CMYK or YCCK. */
  readonly components: number;
  /** EXIF orientation; 1 when there is none. */
  readonly orientation: Orientation;
}

const SOI = 0xd8, EOI = 0xd9, SOS = 0xda, APP1 = 0xe1;
/** Decoding time grows with the scans of a progressive file; no encoder writes anywhere near this many. */
const MAX_SCANS = 500;

/** The error of a damaged file. */
export function badJpeg(name: string, what: string, options?: ErrorOptions): InputError {
  return new InputError(
    "BAD_JPEG",
    `Cannot decode "${name}": ${what}; the file is damaged or incomplete, fetch or export it again`,
    options,
  );
}

function unsupported(name: string, what: string): InputError {
  return new InputError(
    "UNSUPPORTED_JPEG",
    `Cannot decode "${name}": ${what} is not supported; save it as an 8-bit baseline or progressive JPEG or as PNG`,
  );
}

const isStartOfFrame = (marker: number) =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;

/** The position of the next marker that ends entropy-coded data, or -1. */
function endOfScan(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const next = bytes[at + 1];
    if (next === undefined) return -1;
    if (next !== 0 && next !== 0xff && (next < 0xd0 || next > 0xd7)) return at;
  }
  return -1;
}

function readFrame(
  segment: Uint8Array,
  marker: number,
  name: string,
): { width: number; height: number; components: number } {
  if (segment.length < 6) throw badJpeg(name, "its frame header is too short");
  if (marker > 0xc2) throw unsupported(name, "a lossless, hierarchical or arithmetic-coded JPEG");
  if (segment[0] !== 8) throw unsupported(name, `a JPEG of ${segment[0]} bits`);
  const height = segment[1] << 8 | segment[2], width = segment[3] << 8 | segment[4];
  const components = segment[5];
  if (width === 0 || height === 0) throw badJpeg(name, `its size is ${width}x${height}`);
  if (components !== 1 && components !== 3 && components !== 4) {
    throw unsupported(name, `a JPEG of ${components} components`);
  }
  if (segment.length !== 6 + 3 * components) throw badJpeg(name, "its frame header is malformed");
  return { width, height, components };
}

/**
 * Walks the markers of the whole file.
 *
 * @throws {InputError} code `BAD_JPEG` when the file is damaged or ends before its end marker, `UNSUPPORTED_JPEG` for
 *   processes other than 8-bit baseline, extended sequential and progressive Huffman coding.
 */
export function readJpegHeader(bytes: Uint8Array, name: string): JpegHeader {
  let frame: ReturnType<typeof readFrame> | undefined;
  let orientation: Orientation = 1;
  let scans = 0;
  if (bytes[0] !== 0xff || bytes[1] !== SOI) throw badJpeg(name, "it has no JPEG start marker");
  for (let at = 2;;) {
    // Between segments there may be fill bytes.
    at = bytes.indexOf(0xff, at);
    while (at >= 0 && bytes[at + 1] === 0xff) at++;
    if (at < 0 || at + 1 >= bytes.length) throw badJpeg(name, "it ends before its end marker");
    const marker = bytes[at + 1];
    if (marker === EOI) {
      if (!frame || scans === 0) throw badJpeg(name, "it holds no picture");
      return { ...frame, orientation };
    }
    if (marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd7)) {
      at += 2;
      continue;
    }
    const length = at + 4 <= bytes.length ? bytes[at + 2] << 8 | bytes[at + 3] : 0;
    const end = at + 2 + length;
    if (length < 2 || end > bytes.length) throw badJpeg(name, "it ends inside a header segment");
    const segment = bytes.subarray(at + 4, end);
    if (isStartOfFrame(marker)) {
      if (frame) throw badJpeg(name, "it has two frame headers");
      frame = readFrame(segment, marker, name);
    } else if (marker === APP1 && segment[0] === 0x45 && segment[1] === 0x78) {
      orientation = exifOrientation(segment);
    }
    at = end;
    if (marker === SOS) {
      if (!frame) throw badJpeg(name, "a scan comes before its frame header");
      if (++scans > MAX_SCANS) throw badJpeg(name, `it has more than ${MAX_SCANS} scans`);
      at = endOfScan(bytes, end);
      if (at < 0) throw badJpeg(name, "it ends before its end marker");
    }
  }
}
