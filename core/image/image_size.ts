/**
 * The size of a picture without its pixels.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { FileSource } from "../files.ts";
import { sniffFormat } from "./decode.ts";
import { readJpegHeader } from "./jpeg_header.ts";
import { readPngHeader } from "./png_decode.ts";

/** Bytes that tell the format and hold the header of a PNG file. */
const HEAD = 512;
/** Largest JPEG file that is read for its header, which may lie behind thumbnails and profiles. */
const MAX_JPEG = 2 ** 26;

/**
 * Reads the size of a PNG or JPEG file in pixels, as the rows are stored: an EXIF orientation does not count. Pixels are
 * not decoded; of a PNG file only the beginning is read.
 *
 * @throws {InputError} code `UNKNOWN_FORMAT` when it is neither, `TOO_LARGE` for a JPEG file of more than 64 MiB,
 *   `BAD_PNG`, `BAD_JPEG` or `UNSUPPORTED_JPEG` when its header is damaged or of a kind that is not decoded.
 */
export async function imageSize(
  source: FileSource,
): Promise<{ readonly width: number; readonly height: number }> {
  const { name } = source;
  const head = await source.read(0, Math.min(source.size, HEAD));
  const format = sniffFormat(head);
  if (format === "png") {
    const { width, height } = readPngHeader(head, name);
    return { width, height };
  }
  if (format !== "jpeg") {
    throw new InputError(
      "UNKNOWN_FORMAT",
      `Cannot read the size of "${name}": it is neither a PNG nor a JPEG picture; convert it to PNG`,
    );
  }
  if (source.size > MAX_JPEG) {
    throw new InputError(
      "TOO_LARGE",
      `Cannot read the size of "${name}": ${source.size} bytes are more than the ${MAX_JPEG} allowed; shrink the picture`,
    );
  }
  const { width, height } = readJpegHeader(await source.read(0, source.size), name);
  return { width, height };
}
