/**
 * The orientation tag of EXIF: cameras and scanners store the sensor's rows and say how to turn them.
 *
 * @module
 */
import type { Raster } from "./raster.ts";

/** EXIF orientation: 1 upright, 2 mirrored, 3 half turn, 4 flipped, 5 transposed, 6 and 8 quarter turns, 7 transversed. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

const ORIENTATION_TAG = 0x0112;
const SHORT = 3;

/**
 * Reads the orientation from an EXIF block (a TIFF header with its first directory, CIPA DC-008 section 4.5). Blocks that
 * are damaged, or say nothing, count as upright, because the picture itself is not affected.
 *
 * @param block Bytes from the byte-order mark on; a leading `Exif\0\0` is skipped.
 */
export function exifOrientation(block: Uint8Array): Orientation {
  const marked = block.length > 6 && block[0] === 0x45 && block[1] === 0x78 && block[4] === 0;
  const bytes = marked ? block.subarray(6) : block;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 14) return 1;
  const mark = view.getUint16(0);
  if (mark !== 0x4949 && mark !== 0x4d4d) return 1;
  const little = mark === 0x4949;
  const directory = view.getUint32(4, little);
  if (view.getUint16(2, little) !== 42 || directory + 2 > bytes.length) return 1;
  const entries = view.getUint16(directory, little);
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + 12 * i;
    if (at + 12 > bytes.length) break;
    if (view.getUint16(at, little) !== ORIENTATION_TAG) continue;
    const value = view.getUint16(at + 2, little) === SHORT ? view.getUint16(at + 8, little) : 1;
    return value >= 1 && value <= 8 ? value as Orientation : 1;
  }
  return 1;
}

/**
 * Turns a picture upright, as Pillow's `ImageOps.exif_transpose`. Orientations 5 to 8 swap width and height.
 *
 * @param orientation How the stored rows are to be turned; 1 returns the picture unchanged.
 */
export function applyOrientation<T extends Raster>(image: T, orientation: Orientation): T {
  if (orientation === 1) return image;
  const { width, height, channels, data } = image;
  const swap = orientation >= 5;
  const outWidth = swap ? height : width, outHeight = swap ? width : height;
  // Orientations whose output columns (rows) run against the input axis they come from.
  const reverseColumns = [2, 3, 6, 7].includes(orientation);
  const reverseRows = [3, 4, 7, 8].includes(orientation);
  const alongColumn = (swap ? width : 1) * (reverseColumns ? -1 : 1);
  const alongRow = (swap ? 1 : width) * (reverseRows ? -1 : 1);
  const first = (reverseColumns ? (outWidth - 1) * Math.abs(alongColumn) : 0) +
    (reverseRows ? (outHeight - 1) * Math.abs(alongRow) : 0);
  const out = data instanceof Uint16Array
    ? new Uint16Array(data.length)
    : new Uint8Array(data.length);
  for (let y = 0, to = 0; y < outHeight; y++) {
    let pixel = first + y * alongRow;
    for (let x = 0; x < outWidth; x++, pixel += alongColumn) {
      for (let c = 0; c < channels; c++) out[to++] = data[pixel * channels + c];
    }
  }
  return { ...image, width: outWidth, height: outHeight, data: out };
}
