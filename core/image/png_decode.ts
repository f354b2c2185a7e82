/**
 * PNG reader over `fflate`: every colour type, depth and interlace of the PNG specification (second edition), with the
 * inflated size bounded by the header. A general library would inflate whatever the file holds before looking at the
 * size, and fails on broken chunks that do not matter for the picture.
 *
 * @module
 */
import { Unzlib } from "fflate";
import { InputError } from "../errors.ts";
import { exifOrientation, type Orientation } from "./exif.ts";
import { type Channels, type Raster, raster } from "./raster.ts";

const COLOUR_CHANNELS: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS: Readonly<Record<number, readonly number[]>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/** The fields of IHDR. */
export interface PngHeader {
  /** Pixels in a row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
  /** Bits of a sample (of an index for palettes): 1, 2, 4, 8 or 16. */
  readonly bitDepth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA. */
  readonly colourType: number;
  /** Whether rows come in the seven passes of Adam7. */
  readonly interlaced: boolean;
}

/** First bytes of every PNG file. */
export const PNG_SIGNATURE: readonly number[] = [137, 80, 78, 71, 13, 10, 26, 10];

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** CRC-32 (ISO 3309) of a range of bytes, as PNG chunks carry it. */
export function crc32(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  let crc = 0xffffffff;
  for (let i = start; i < end; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function bad(name: string, what: string): InputError {
  return new InputError(
    "BAD_PNG",
    `Cannot decode "${name}": ${what}; the file is damaged or incomplete, fetch or export it again`,
  );
}

/**
 * Reads the header without touching the pixels.
 *
 * @throws {InputError} code `BAD_PNG` when it is missing or not one the specification allows.
 */
export function readPngHeader(bytes: Uint8Array, name: string): PngHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33 || view.getUint32(8) !== 13 || view.getUint32(12) !== 0x49484452) {
    throw bad(name, "it does not begin with a PNG header chunk");
  }
  const width = view.getUint32(16), height = view.getUint32(20);
  const [bitDepth, colourType, compression, filter, interlace] = bytes.subarray(24, 29);
  if (width === 0 || height === 0) throw bad(name, `its size is ${width}x${height}`);
  if (!DEPTHS[colourType]?.includes(bitDepth)) {
    throw bad(name, `colour type ${colourType} with ${bitDepth} bits is not allowed`);
  }
  if (compression !== 0 || filter !== 0 || interlace > 1) {
    throw bad(name, "its compression, filter or interlace method is unknown");
  }
  return { width, height, bitDepth, colourType, interlaced: interlace === 1 };
}

interface Chunks {
  readonly data: Uint8Array[];
  palette?: Uint8Array;
  transparency?: Uint8Array;
  exif?: Uint8Array;
}

/** Walks the chunks up to IEND. Checksums count only for chunks that matter for the picture. */
function readChunks(bytes: Uint8Array, name: string): Chunks {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks: Chunks = { data: [] };
  for (let at = 8;;) {
    if (at + 12 > bytes.length) throw bad(name, "it ends before its IEND chunk");
    const length = view.getUint32(at);
    const end = at + 8 + length;
    if (end + 4 > bytes.length) throw bad(name, "it ends inside a chunk");
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const critical = (bytes[at + 4] & 32) === 0;
    const intact = !critical && type !== "tRNS" && type !== "eXIf" ||
      crc32(bytes, at + 4, end) === view.getUint32(end);
    const content = bytes.subarray(at + 8, end);
    if (critical && !intact) throw bad(name, `the checksum of its ${type} chunk is wrong`);
    if (type === "IDAT") chunks.data.push(content);
    else if (type === "PLTE") chunks.palette = content;
    else if (type === "tRNS" && intact) chunks.transparency = content;
    else if (type === "eXIf" && intact) chunks.exif = content;
    else if (type === "IEND") return chunks;
    else if (critical && type !== "IHDR") throw bad(name, `its ${type} chunk is unknown`);
    at = end + 4;
  }
}

/** Inflates the data chunks into exactly `length` bytes; anything longer or shorter is an error. */
function inflate(parts: readonly Uint8Array[], length: number, name: string): Uint8Array {
  if (parts.length === 0) throw bad(name, "it has no IDAT chunk");
  const out = new Uint8Array(length);
  let filled = 0;
  const inflator = new Unzlib((piece) => {
    // Encoders may append a few bytes; what does not belong to the picture is not kept.
    out.set(piece.subarray(0, Math.min(piece.length, length - filled)), filled);
    filled = Math.min(filled + piece.length, length);
  });
  const slice = 65536; // bounds what one push can inflate to
  try {
    for (const part of parts) {
      for (let at = 0; at < part.length && filled < length; at += slice) {
        inflator.push(part.subarray(at, at + slice), false);
      }
      if (filled === length) break;
    }
  } catch (error) {
    throw bad(
      name,
      `its pixels do not inflate (${error instanceof Error ? error.message : error})`,
    );
  }
  if (filled < length) throw bad(name, `it holds ${filled} of ${length} bytes of pixels`);
  return out;
}

/** Undoes the row filters of one pass in place; rows are `1 + rowBytes` long. Returns where the next pass begins. */
function unfilter(
  bytes: Uint8Array,
  start: number,
  rows: number,
  rowBytes: number,
  step: number,
  name: string,
): number {
  let above = -1;
  let at = start;
  for (let row = 0; row < rows; row++) {
    const filter = bytes[at++];
    const end = at + rowBytes;
    switch (filter) {
      case 0:
        break;
      case 1:
        for (let i = at + step; i < end; i++) bytes[i] += bytes[i - step];
        break;
      case 2:
        if (above >= 0) { for (let i = at, u = above; i < end; i++, u++) bytes[i] += bytes[u]; }
        break;
      case 3:
        for (let i = at, u = above; i < end; i++, u++) {
          const left = i - at >= step ? bytes[i - step] : 0;
          bytes[i] += (left + (above >= 0 ? bytes[u] : 0)) >> 1;
        }
        break;
      case 4:
        for (let i = at, u = above; i < end; i++, u++) {
          const a = i - at >= step ? bytes[i - step] : 0;
          const b = above >= 0 ? bytes[u] : 0;
          const c = above >= 0 && i - at >= step ? bytes[u - step] : 0;
          const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - 2 * c);
          bytes[i] += pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        }
        break;
      default:
        throw bad(name, `a row names the unknown filter ${filter}`);
    }
    above = at;
    at = end;
  }
  return at;
}

/** Origin and step of the passes: one for plain pictures, seven for Adam7. */
const PLAIN = [[0, 0, 1, 1]] as const;
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** All samples as stored (palette indices stay indices), interleaved. */
function readSamples(header: PngHeader, chunks: Chunks, name: string): Uint8Array | Uint16Array {
  const { width, height, bitDepth, colourType } = header;
  const channels = COLOUR_CHANNELS[colourType];
  const passes = (header.interlaced ? ADAM7 : PLAIN).map(([x0, y0, dx, dy]) => {
    const columns = Math.ceil((width - x0) / dx), rows = Math.ceil((height - y0) / dy);
    return {
      x0,
      y0,
      dx,
      dy,
      columns,
      rows,
      rowBytes: Math.ceil(columns * channels * bitDepth / 8),
    };
  }).filter((pass) => pass.columns > 0 && pass.rows > 0);
  const total = passes.reduce((sum, pass) => sum + pass.rows * (pass.rowBytes + 1), 0);
  const bytes = inflate(chunks.data, total, name);
  const out = bitDepth === 16
    ? new Uint16Array(width * height * channels)
    : new Uint8Array(width * height * channels);
  const step = Math.max(1, channels * bitDepth / 8);
  const mask = (1 << bitDepth) - 1;
  let start = 0;
  for (const { x0, y0, dx, dy, columns, rows, rowBytes } of passes) {
    const end = unfilter(bytes, start, rows, rowBytes, step, name);
    for (let row = 0; row < rows; row++) {
      const from = start + row * (rowBytes + 1) + 1;
      let to = ((y0 + row * dy) * width + x0) * channels;
      const skip = (dx - 1) * channels;
      for (let column = 0, sample = 0; column < columns; column++, to += skip) {
        for (let c = 0; c < channels; c++, sample++, to++) {
          if (bitDepth === 8) out[to] = bytes[from + sample];
          else if (bitDepth === 16) {
            out[to] = bytes[from + 2 * sample] << 8 | bytes[from + 2 * sample + 1];
          } else {
            const bit = sample * bitDepth;
            out[to] = bytes[from + (bit >> 3)] >> (8 - bitDepth - (bit & 7)) & mask;
          }
        }
      }
    }
    start = end;
  }
  return out;
}

/** Looks indices up in the palette; missing entries are an error, missing alpha entries are opaque. */
function applyPalette(
  indices: Uint8Array | Uint16Array,
  chunks: Chunks,
  name: string,
): { data: Uint8Array; channels: Channels } {
  const palette = chunks.palette;
  if (!palette || palette.length % 3 !== 0 || palette.length === 0 || palette.length > 768) {
    throw bad(name, "it has no usable palette");
  }
  const alpha = chunks.transparency;
  const channels = alpha ? 4 : 3;
  const colours = palette.length / 3;
  const data = new Uint8Array(indices.length * channels);
  for (let i = 0, to = 0; i < indices.length; i++, to += channels) {
    const index = indices[i];
    if (index >= colours) {
      throw bad(name, `a pixel names colour ${index} of a palette of ${colours}`);
    }
    data[to] = palette[3 * index];
    data[to + 1] = palette[3 * index + 1];
    data[to + 2] = palette[3 * index + 2];
    if (alpha) data[to + 3] = alpha[index] ?? 255;
  }
  return { data, channels };
}

/** Grey with alpha becomes RGBA, so that a picture has 1, 3 or 4 channels. */
function spreadGreyAlpha<T extends Uint8Array | Uint16Array>(source: T, out: T): T {
  for (let from = 0, to = 0; from < source.length; from += 2, to += 4) {
    out[to] = out[to + 1] = out[to + 2] = source[from];
    out[to + 3] = source[from + 1];
  }
  return out;
}

/**
 * Decodes a PNG file. Grey of 1, 2 and 4 bits is scaled to 8 bits, palettes become RGB (RGBA when entries are
 * transparent), grey with alpha becomes RGBA, 16 bits stay 16 bits. Gamma, colour profiles and single transparent
 * colours are ignored, as Pillow's `convert("RGB")` ignores them.
 *
 * @param header The checked header; the caller has compared its size with its limits.
 * @throws {InputError} code `BAD_PNG` for truncated, damaged or impossible files.
 */
export function decodePng(
  bytes: Uint8Array,
  name: string,
  header: PngHeader = readPngHeader(bytes, name),
): { raster: Raster; orientation: Orientation } {
  const chunks = readChunks(bytes, name);
  const { width, height, colourType, bitDepth } = header;
  const orientation = chunks.exif ? exifOrientation(chunks.exif) : 1;
  const samples = readSamples(header, chunks, name);
  if (colourType === 3) {
    const { data, channels } = applyPalette(samples, chunks, name);
    return { raster: raster(width, height, channels, data), orientation };
  }
  if (colourType === 4) {
    const size = width * height * 4;
    const data = samples instanceof Uint16Array
      ? spreadGreyAlpha(samples, new Uint16Array(size))
      : spreadGreyAlpha(samples, new Uint8Array(size));
    return { raster: raster(width, height, 4, data), orientation };
  }
  if (bitDepth < 8) {
    const scale = 255 / ((1 << bitDepth) - 1);
    for (let i = 0; i < samples.length; i++) samples[i] *= scale;
  }
  return {
    raster: raster(width, height, COLOUR_CHANNELS[colourType] as Channels, samples),
    orientation,
  };
}
