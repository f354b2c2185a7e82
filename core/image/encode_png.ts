/**
 * PNG writer over `fflate`. The same picture always gives the same bytes: no time stamps, no platform compressors.
 *
 * @module
 */
import { zlibSync } from "fflate";
import { crc32, PNG_SIGNATURE } from "./png_decode.ts";
import type { Raster } from "./raster.ts";

const COLOUR_TYPE: Readonly<Record<1 | 3 | 4, number>> = { 1: 0, 3: 2, 4: 6 };

/** How strongly to compress. */
export interface EncodePngOptions {
  /** 0 stores, 9 takes longest; 6 when left out. */
  readonly level?: 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;
}

/** Sum of absolute values of a filtered row: the usual guess at how well it compresses. */
function cost(row: Uint8Array): number {
  let sum = 0;
  for (let i = 1; i < row.length; i++) sum += row[i] < 128 ? row[i] : 256 - row[i];
  return sum;
}

/** Writes one filtered row (filter byte first). `row` and `above` have `step` zeros in front. */
function filterRow(
  filter: number,
  row: Uint8Array,
  above: Uint8Array,
  step: number,
  out: Uint8Array,
): void {
  out[0] = filter;
  for (let i = step, to = 1; i < row.length; i++, to++) {
    const a = row[i - step], b = above[i], c = above[i - step];
    let predicted = 0;
    if (filter === 1) predicted = a;
    else if (filter === 2) predicted = b;
    else if (filter === 3) predicted = (a + b) >> 1;
    else if (filter === 4) {
      const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - 2 * c);
      predicted = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
    }
    out[to] = row[i] - predicted;
  }
}

/** The picture's rows with the cheapest of the five filters each, as they go into the compressor. */
function filterRows(bytes: Uint8Array, rowBytes: number, step: number): Uint8Array {
  const rows = bytes.length / rowBytes;
  const out = new Uint8Array(rows * (rowBytes + 1));
  let row = new Uint8Array(rowBytes + step), above = new Uint8Array(rowBytes + step);
  const candidate = new Uint8Array(rowBytes + 1);
  for (let y = 0; y < rows; y++) {
    row.set(bytes.subarray(y * rowBytes, (y + 1) * rowBytes), step);
    let best = Infinity;
    for (let filter = 0; filter < 5; filter++) {
      filterRow(filter, row, above, step, candidate);
      const sum = cost(candidate);
      if (sum < best) {
        best = sum;
        out.set(candidate, y * (rowBytes + 1));
      }
    }
    [row, above] = [above, row];
  }
  return out;
}

function chunk(type: string, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc32(bytes, 4, content.length + 8));
  return bytes;
}

/**
 * Encodes grey, RGB or RGBA as PNG, 8 bits from a `Uint8Array` and 16 bits from a `Uint16Array`.
 *
 * @returns The file's bytes; equal pictures and levels give equal bytes.
 */
export function encodePng(image: Raster, options: EncodePngOptions = {}): Uint8Array<ArrayBuffer> {
  const { width, height, channels, data } = image;
  const deep = data instanceof Uint16Array;
  let bytes: Uint8Array;
  if (deep) {
    bytes = new Uint8Array(data.length * 2);
    for (let i = 0; i < data.length; i++) {
      bytes[2 * i] = data[i] >> 8;
      bytes[2 * i + 1] = data[i] & 255;
    }
  } else bytes = data;
  const step = channels * (deep ? 2 : 1);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = deep ? 16 : 8;
  header[9] = COLOUR_TYPE[channels];
  const packed = zlibSync(filterRows(bytes, width * step, step), { level: options.level ?? 6 });
  const parts = [
    Uint8Array.from(PNG_SIGNATURE),
    chunk("IHDR", header),
    chunk("IDAT", packed),
    chunk("IEND", new Uint8Array(0)),
  ];
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
