/**
 * JPEG reader over libraries: `@jsquash/jpeg` (libjpeg in WebAssembly, the same pixels as Pillow) for grey and colour,
 * `jpeg-js` for the four-component files of print workflows, which the former cannot convert.
 *
 * @module
 */
import decodeWasm, { init } from "@jsquash/jpeg/decode.js";
import { decode as decodeScript } from "jpeg-js";
import { InputError } from "../errors.ts";
import type { Orientation } from "./exif.ts";
import { badJpeg, type JpegHeader, readJpegHeader } from "./jpeg_header.ts";
import { type Raster, raster } from "./raster.ts";

/** What libjpeg says about padding between segments; the pixels are not concerned. */
const HARMLESS = /extraneous bytes before marker/;

/** Messages libjpeg printed while decoding the current file. */
let messages: string[] = [];
/** One file at a time, because the messages do not say which file they belong to. */
let queue: Promise<unknown> = Promise.resolve();
let ready = false;

async function decodeColour(
  bytes: Uint8Array,
  name: string,
): Promise<{ pixels: Uint8Array; warnings: string[] }> {
  const turn = queue.then(async () => {
    if (!ready) {
      const options = { printErr: (line: string) => messages.push(line) };
      await init(options as Parameters<typeof init>[0]);
      ready = true;
    }
    messages = [];
    // The codec copies the buffer it is given, which must hold this file and nothing else.
    const { data } = await decodeWasm(bytes.slice().buffer as ArrayBuffer);
    return { pixels: new Uint8Array(data.buffer), warnings: messages };
  });
  queue = turn.catch(() => {
    ready = false; // libjpeg has left its stack behind: start the next file in a fresh instance
  });
  try {
    return await turn;
  } catch (error) {
    throw badJpeg(name, messages[0] ?? "its pixels do not decode", { cause: error });
  }
}

/** Four components: cyan, magenta, yellow, black, inverted by Adobe's writers; the library converts them to RGB. */
function decodePrint(bytes: Uint8Array, name: string): Uint8Array {
  try {
    return decodeScript(bytes, {
      useTArray: true,
      formatAsRGBA: false,
      tolerantDecoding: false,
      // The caller has checked the size against its own limit.
      maxResolutionInMP: Infinity,
      maxMemoryUsageInMB: Infinity,
    }).data;
  } catch (error) {
    throw new InputError(
      "BAD_JPEG",
      `Cannot decode "${name}": its CMYK pixels are damaged or coded in an unusual way; save it as an RGB JPEG or as PNG`,
      { cause: error },
    );
  }
}

/** RGBA pixels as grey or RGB. */
function pick(pixels: Uint8Array, channels: 1 | 3): Uint8Array {
  const out = new Uint8Array(pixels.length / 4 * channels);
  for (let from = 0, to = 0; from < pixels.length; from += 4, to += channels) {
    out[to] = pixels[from];
    if (channels === 3) {
      out[to + 1] = pixels[from + 1];
      out[to + 2] = pixels[from + 2];
    }
  }
  return out;
}

/**
 * Decodes a JPEG file: grey files give one channel, all others RGB. Rows are as stored; the orientation is reported.
 *
 * @param header The checked header; the caller has compared its size with its limits.
 * @returns The picture, its EXIF orientation and remarks of the decoder that do not concern the pixels.
 * @throws {InputError} code `BAD_JPEG` for truncated or damaged files, also where a decoder would fill the rest with grey.
 */
export async function decodeJpeg(
  bytes: Uint8Array,
  name: string,
  header: JpegHeader = readJpegHeader(bytes, name),
): Promise<{ raster: Raster; orientation: Orientation; warnings: readonly string[] }> {
  const { width, height, components, orientation } = header;
  if (components === 4) {
    const pixels = decodePrint(bytes, name);
    return { raster: raster(width, height, 3, pixels), orientation, warnings: [] };
  }
  const { pixels, warnings } = await decodeColour(bytes, name);
  const damage = warnings.find((line) => !HARMLESS.test(line));
  if (damage !== undefined) throw badJpeg(name, damage);
  const channels = components === 1 ? 1 : 3;
  return { raster: raster(width, height, channels, pick(pixels, channels)), orientation, warnings };
}
