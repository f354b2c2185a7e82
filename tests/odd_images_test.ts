/**
 * Unusual and broken picture files give exactly what Pillow gives, or a typed error.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../core/errors.ts";
import { decodeImage, type Raster, toDepth8, toGrey, toRgb } from "../core/image/mod.ts";

const FOLDER = new URL("./golden/odd/", import.meta.url);

interface ExpectedArray {
  shape: number[];
  dtype: "uint8" | "uint16";
  "sha256_rows_le": string;
}

interface Expected {
  outcome: "image" | "reject";
  size?: [width: number, height: number];
  rgb?: ExpectedArray;
  grey?: ExpectedArray;
  rgba?: ExpectedArray;
  raw16?: ExpectedArray;
  "as_uint8_high_byte"?: ExpectedArray;
  "pil_convert_RGB"?: { value: ExpectedArray };
  "exif_orientation"?: number;
  "rgb_after_exif_transpose"?: ExpectedArray;
  "tolerance_max_abs"?: number;
  "decoded_png"?: string;
}

const read = (name: string) => Deno.readFile(new URL(name.replace(/^odd\//, ""), FOLDER));
const expected: Record<string, Expected> = JSON.parse(
  await Deno.readTextFile(new URL("expected.json", FOLDER)),
);

async function sha256(data: Uint8Array | Uint16Array): Promise<string> {
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function assertArray(what: string, actual: Raster, wanted: ExpectedArray): Promise<void> {
  const shape = [actual.height, actual.width, ...(actual.channels > 1 ? [actual.channels] : [])];
  assertEquals(shape, wanted.shape, what);
  assertEquals(actual.data instanceof Uint16Array ? "uint16" : "uint8", wanted.dtype, what);
  assertEquals(await sha256(actual.data), wanted.sha256_rows_le, what);
}

function largestDifference(a: Raster, b: Raster): number {
  assertEquals([a.width, a.height, a.channels], [b.width, b.height, b.channels]);
  let worst = 0;
  for (let i = 0; i < a.data.length; i++) worst = Math.max(worst, Math.abs(a.data[i] - b.data[i]));
  return worst;
}

for (const [name, record] of Object.entries(expected)) {
  // The two JSON files are question lists, not pictures; the readers of data sets are tested with those.
  if (name.endsWith(".json")) continue;

  Deno.test(`odd picture ${name}: ${record.outcome}`, async () => {
    const bytes = await read(name);
    if (record.outcome === "reject") {
      const error = await assertRejects(() => decodeImage(bytes, name), InputError);
      assert(error.message.includes(`"${name}"`), error.message);
      return;
    }
    const stored = await decodeImage(bytes, name, { orientation: "ignore" });
    assertEquals([stored.raster.width, stored.raster.height], record.size);
    if (record.decoded_png) {
      const reference = (await decodeImage(await read(record.decoded_png), name)).raster;
      const difference = largestDifference(toRgb(stored.raster), toRgb(reference));
      assert(difference <= record.tolerance_max_abs!, `${name} differs by ${difference}`);
    } else if (record.rgb) await assertArray(name, toRgb(stored.raster), record.rgb);
    if (!record.decoded_png && record.grey) {
      await assertArray(name, toGrey(stored.raster), record.grey);
    }
    if (record.rgba) await assertArray(name, stored.raster, record.rgba);
    if (record.raw16) await assertArray(name, stored.raster, record.raw16);
    if (record.as_uint8_high_byte) {
      await assertArray(name, toDepth8(stored.raster), record.as_uint8_high_byte);
    }
    if (record.pil_convert_RGB) {
      await assertArray(name, toRgb(stored.raster, "pillow"), record.pil_convert_RGB.value);
    }
    if (record.exif_orientation !== undefined) {
      assertEquals(stored.orientation, record.exif_orientation);
      const upright = await decodeImage(bytes, name);
      await assertArray(name, toRgb(upright.raster), record.rgb_after_exif_transpose!);
    }
  });
}

Deno.test("odd pictures: every file of the folder is covered", async () => {
  for await (const entry of Deno.readDir(FOLDER)) {
    if (entry.isFile && !/^(expected\.json|CREDITS\.md)$/.test(entry.name)) {
      assert(`odd/${entry.name}` in expected, entry.name);
    }
  }
});

Deno.test("odd pictures: the typed errors say which limit or check failed", async () => {
  const codes: Record<string, string> = {
    "zero_bytes.png": "EMPTY_FILE",
    "truncated.png": "BAD_PNG",
    "truncated.jpg": "BAD_JPEG",
    "text_named.png": "UNKNOWN_FORMAT",
    "claims_2147483647_square.png": "IMAGE_TOO_LARGE",
    "no_idat.png": "BAD_PNG",
  };
  for (const [name, code] of Object.entries(codes)) {
    const bytes = await read(name);
    const error = await assertRejects(() => decodeImage(bytes, name), InputError);
    assertEquals(error.code, code, name);
  }
});
