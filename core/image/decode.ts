/**
 * Picture files to pixels. The format is told by the content, never by the name; limits are checked on the header.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { FileSource } from "../files.ts";
import { applyOrientation, type Orientation } from "./exif.ts";
import { decodeJpeg } from "./jpeg_decode.ts";
import { readJpegHeader } from "./jpeg_header.ts";
import { decodePng, PNG_SIGNATURE, readPngHeader } from "./png_decode.ts";
import type { Raster } from "./raster.ts";

/** Formats that are recognised; PNG and JPEG are decoded here. */
export type ImageFormat =
  | "png"
  | "jpeg"
  | "dicom"
  | "nifti"
  | "gzip"
  | "gif"
  | "bmp"
  | "tiff"
  | "webp";

/** Limits and options of decoding. */
export interface DecodeOptions {
  /** Most pixels a file may claim; 64 * 2^20 when left out. */
  readonly maxPixels?: number;
  /**
   * `apply` (default) turns the picture as its EXIF orientation says, so that boxes and masks match what a viewer shows;
   * `ignore` keeps the stored rows, as Pillow's `open(...).convert("RGB")` does.
   */
  readonly orientation?: "apply" | "ignore";
}

/** A decoded picture and what the file said about it. */
export interface DecodedImage {
  /** The format found in the content. */
  readonly format: "png" | "jpeg";
  /** The pixels: turned upright or as stored, after the option. */
  readonly raster: Raster;
  /** The orientation found in the file, applied or not. */
  readonly orientation: Orientation;
  /** Remarks of the decoder that do not concern the pixels. */
  readonly warnings: readonly string[];
}

/** Limit on claimed pixels when none is given. */
export const DEFAULT_MAX_PIXELS: number = 64 * 2 ** 20;
/** Largest file that is read whole: 4 bytes for each of the default limit's pixels. */
const MAX_FILE_BYTES = 256 * 2 ** 20;

function startsWith(bytes: Uint8Array, text: string | readonly number[], at = 0): boolean {
  if (bytes.length < at + text.length) return false;
  for (let i = 0; i < text.length; i++) {
    if (bytes[at + i] !== (typeof text === "string" ? text.charCodeAt(i) : text[i])) return false;
  }
  return true;
}

/** Tells the format from the first bytes (352 are enough); undefined when they are of none that is known. */
export function sniffFormat(bytes: Uint8Array): ImageFormat | undefined {
  if (startsWith(bytes, PNG_SIGNATURE)) return "png";
  if (startsWith(bytes, [0xff, 0xd8, 0xff])) return "jpeg";
  if (startsWith(bytes, "DICM", 128)) return "dicom";
  if (
    startsWith(bytes, "n+1\0", 344) || startsWith(bytes, "ni1\0", 344) ||
    startsWith(bytes, "n+2\0", 4) || startsWith(bytes, "ni2\0", 4)
  ) return "nifti";
  if (startsWith(bytes, [0x1f, 0x8b])) return "gzip";
  if (startsWith(bytes, "GIF8")) return "gif";
  if (startsWith(bytes, "RIFF") && startsWith(bytes, "WEBP", 8)) return "webp";
  if (startsWith(bytes, "II*\0") || startsWith(bytes, "MM\0*")) return "tiff";
  if (startsWith(bytes, "BM") && startsWith(bytes, [0, 0, 0, 0], 6)) return "bmp";
  return undefined;
}

const FORMAT_NAMES: Readonly<Record<ImageFormat, string>> = {
  png: "a PNG picture",
  jpeg: "a JPEG picture",
  dicom: "a DICOM file",
  nifti: "a NIfTI volume",
  gzip: "a gzip file",
  gif: "a GIF picture",
  bmp: "a BMP picture",
  tiff: "a TIFF picture",
  webp: "a WebP picture",
};

function checkSize(width: number, height: number, name: string, maxPixels: number): void {
  if (width * height <= maxPixels) return;
  throw new InputError(
    "IMAGE_TOO_LARGE",
    `Cannot decode "${name}": its header claims ${width}x${height} pixels, more than the ${maxPixels} allowed; shrink the picture or raise the limit`,
  );
}

/**
 * Decodes a PNG or JPEG file held in memory.
 *
 * @param name Name for messages.
 * @throws {InputError} code `EMPTY_FILE`, `UNKNOWN_FORMAT` (not a picture), `UNSUPPORTED_FORMAT` (one that is not decoded
 *   here), `IMAGE_TOO_LARGE` (before anything is allocated), `BAD_PNG`, `BAD_JPEG` or `UNSUPPORTED_JPEG`.
 */
export async function decodeImage(
  bytes: Uint8Array,
  name: string,
  options: DecodeOptions = {},
): Promise<DecodedImage> {
  const { maxPixels = DEFAULT_MAX_PIXELS, orientation = "apply" } = options;
  if (bytes.length === 0) {
    throw new InputError(
      "EMPTY_FILE",
      `Cannot decode "${name}": the file is empty; fetch or export it again`,
    );
  }
  const format = sniffFormat(bytes);
  if (format === "png") {
    const header = readPngHeader(bytes, name);
    checkSize(header.width, header.height, name, maxPixels);
    const decoded = decodePng(bytes, name, header);
    return finish(format, { ...decoded, warnings: [] }, orientation);
  }
  if (format === "jpeg") {
    const header = readJpegHeader(bytes, name);
    checkSize(header.width, header.height, name, maxPixels);
    return finish(format, await decodeJpeg(bytes, name, header), orientation);
  }
  throw format === undefined
    ? new InputError(
      "UNKNOWN_FORMAT",
      `Cannot decode "${name}": its content is not a known picture format; give a PNG or JPEG file`,
    )
    : new InputError(
      "UNSUPPORTED_FORMAT",
      `Cannot decode "${name}": it is ${
        FORMAT_NAMES[format]
      }, and only PNG and JPEG pictures are decoded here; convert it to PNG`,
    );
}

function finish(
  format: "png" | "jpeg",
  decoded: Omit<DecodedImage, "format">,
  rule: "apply" | "ignore",
): DecodedImage {
  const { raster, orientation, warnings } = decoded;
  const upright = rule === "apply" ? applyOrientation(raster, orientation) : raster;
  return { format, raster: upright, orientation, warnings };
}

/**
 * Decodes a PNG or JPEG file from a source; the source stays open.
 *
 * @throws {InputError} as {@link decodeImage}, and code `TOO_LARGE` for files of more than 256 MiB.
 */
export async function decodeImageFile(
  source: FileSource,
  options: DecodeOptions = {},
): Promise<DecodedImage> {
  if (source.size > MAX_FILE_BYTES) {
    // The size of what is no picture at all (a volume, a checkpoint) is not what is wrong with it.
    const format = sniffFormat(await source.read(0, 352));
    if (format === "png" || format === "jpeg") {
      throw new InputError(
        "TOO_LARGE",
        `Cannot decode "${source.name}": ${source.size} bytes are more than the ${MAX_FILE_BYTES} allowed; shrink the picture`,
      );
    }
    return await decodeImage(await source.read(0, 352), source.name, options);
  }
  return await decodeImage(await source.read(0, source.size), source.name, options);
}
