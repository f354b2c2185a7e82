import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { encode as encodeFastPng } from "fast-png";
import { zlibSync } from "fflate";
import { InputError } from "../errors.ts";
import { bytesSource } from "../files.ts";
import { decodeImage, decodeImageFile, sniffFormat } from "./decode.ts";
import { encodePng } from "./encode_png.ts";
import { crc32, PNG_SIGNATURE } from "./png_decode.ts";
import { raster } from "./raster.ts";

const odd = (name: string) =>
  Deno.readFile(new URL(`../../tests/golden/odd/${name}`, import.meta.url));

/** A PNG file of these chunks, with right checksums. */
function png(...chunks: [type: string, content: Uint8Array | number[]][]): Uint8Array<ArrayBuffer> {
  const bytes = [...PNG_SIGNATURE];
  for (const [type, content] of chunks) {
    const chunk = Uint8Array.of(...Array.from(type, (c) => c.charCodeAt(0)), ...content);
    const sum = crc32(chunk);
    const uint32 = (n: number) => [n >>> 24, n >>> 16 & 255, n >>> 8 & 255, n & 255];
    bytes.push(...uint32(content.length), ...chunk, ...uint32(sum));
  }
  return Uint8Array.from(bytes);
}

const header = (width: number, height: number, depth: number, colour: number, interlace = 0) =>
  ["IHDR", [
    0,
    0,
    width >> 8,
    width & 255,
    0,
    0,
    height >> 8,
    height & 255,
    depth,
    colour,
    0,
    0,
    interlace,
  ]] as [
    string,
    number[],
  ];
const data = (...bytes: number[]) =>
  ["IDAT", zlibSync(Uint8Array.from(bytes))] as [string, Uint8Array];
const end: [string, number[]] = ["IEND", []];

async function codeOf(bytes: Uint8Array, options = {}): Promise<string> {
  return (await assertRejects(() => decodeImage(bytes, "a.png", options), InputError)).code;
}

Deno.test("small depths are scaled to 8 bits, row ends are padded", async () => {
  const one = await decodeImage(
    png(header(3, 2, 1, 0), data(0, 0b10100000, 0, 0b01000000), end),
    "a",
  );
  assertEquals([...one.raster.data], [255, 0, 255, 0, 255, 0]);
  const two = await decodeImage(png(header(4, 1, 2, 0), data(0, 0b00011011), end), "a");
  assertEquals([...two.raster.data], [0, 85, 170, 255]);
  const four = await decodeImage(png(header(2, 1, 4, 0), data(0, 0x1f), end), "a");
  assertEquals([...four.raster.data], [17, 255]);
});

Deno.test("palettes give RGB, with transparency RGBA, grey with alpha gives RGBA", async () => {
  const palette: [string, number[]] = ["PLTE", [1, 2, 3, 4, 5, 6]];
  const plain = await decodeImage(png(header(2, 1, 8, 3), palette, data(0, 1, 0), end), "a");
  assertEquals([plain.raster.channels, ...plain.raster.data], [3, 4, 5, 6, 1, 2, 3]);
  const alpha = await decodeImage(
    png(header(2, 1, 8, 3), palette, ["tRNS", [9]], data(0, 1, 0), end),
    "a",
  );
  assertEquals([alpha.raster.channels, ...alpha.raster.data], [4, 4, 5, 6, 255, 1, 2, 3, 9]);
  const grey = await decodeImage(png(header(1, 1, 16, 4), data(0, 1, 2, 3, 4), end), "a");
  assertEquals([...grey.raster.data], [0x102, 0x102, 0x102, 0x304]);
  assertEquals(await codeOf(png(header(1, 1, 8, 3), palette, data(0, 2), end)), "BAD_PNG");
  assertEquals(await codeOf(png(header(1, 1, 8, 3), data(0, 0), end)), "BAD_PNG");
});

Deno.test("16-bit RGB and interlaced pictures smaller than a pass", async () => {
  const values = Uint16Array.from({ length: 5 * 3 * 3 }, (_, i) => i * 1357);
  const file = encodeFastPng({ width: 5, height: 3, channels: 3, depth: 16, data: values });
  assertEquals((await decodeImage(file, "a")).raster.data, values);
  // 2x2 in Adam7: passes of one pixel, one pixel, and a row of two.
  const small = png(header(2, 2, 8, 0, 1), data(0, 10, 0, 20, 0, 30, 40), end);
  assertEquals([...(await decodeImage(small, "a")).raster.data], [10, 20, 30, 40]);
});

Deno.test("damaged chunks that do not matter are passed over, those that matter are not", async () => {
  const good = png(header(1, 1, 8, 0), ["iCCP", [1, 2, 3]], data(0, 5), end);
  const profile = good.indexOf("i".charCodeAt(0), 33);
  good[profile + 5] ^= 255;
  assertEquals([...(await decodeImage(good, "a")).raster.data], [5]);
  const pixels = png(header(1, 1, 8, 0), data(0, 5), end);
  pixels[pixels.length - 17] ^= 1;
  assertEquals(await codeOf(pixels), "BAD_PNG");
  assertEquals(await codeOf(png(header(1, 1, 8, 0), data(0, 5))), "BAD_PNG");
  assertEquals(await codeOf(png(header(1, 1, 8, 0), data(7, 5), end)), "BAD_PNG");
  assertEquals(await codeOf(png(header(2, 2, 8, 0), data(0, 5), end)), "BAD_PNG");
  assertEquals(await codeOf(png(header(0, 2, 8, 0), data(0, 5), end)), "BAD_PNG");
  assertEquals(await codeOf(png(header(1, 1, 4, 2), data(0, 5), end)), "BAD_PNG");
});

Deno.test("the limit on pixels is checked on the header of both formats", async () => {
  const jpeg = await odd("rgb_420.jpg");
  assertEquals(await codeOf(jpeg, { maxPixels: 150 * 131 - 1 }), "IMAGE_TOO_LARGE");
  await decodeImage(jpeg, "a", { maxPixels: 150 * 131 });
  const claim = png(header(65535, 65535, 8, 6), end);
  assertEquals(await codeOf(claim), "IMAGE_TOO_LARGE");
});

Deno.test("pixels that inflate to far more than the header says are cut, not kept", async () => {
  const bomb = png(header(1, 1, 8, 0), ["IDAT", zlibSync(new Uint8Array(2 ** 26))], end);
  assert(bomb.length < 100_000);
  assertEquals((await decodeImage(bomb, "a")).raster.data.length, 1);
});

Deno.test("the content decides on the format, and others are named", async () => {
  const named = await decodeImage(await odd("rgb_420.jpg"), "picture.png");
  assertEquals(named.format, "jpeg");
  const text = (s: string) => new TextEncoder().encode(s);
  const dicom = new Uint8Array(200);
  dicom.set(text("DICM"), 128);
  assertEquals(sniffFormat(dicom), "dicom");
  const nifti = new Uint8Array(352);
  nifti.set(text("n+1\0"), 344);
  assertEquals(sniffFormat(nifti), "nifti");
  assertEquals(sniffFormat(text("GIF89a")), "gif");
  assertEquals(sniffFormat(text("RIFF....WEBPVP8 ")), "webp");
  assertEquals(sniffFormat(Uint8Array.of(0x1f, 0x8b, 8)), "gzip");
  assertEquals(sniffFormat(text("hello")), undefined);
  const error = await assertRejects(() => decodeImage(dicom, "scan.png"), InputError);
  assertEquals(error.code, "UNSUPPORTED_FORMAT");
  assertStringIncludes(error.message, "DICOM");
  assertStringIncludes(error.message, "PNG and JPEG");
});

Deno.test("a JPEG cut anywhere is refused, and its neighbours in the queue are not disturbed", async () => {
  const whole = await odd("progressive.jpg");
  const reference = (await decodeImage(whole, "whole")).raster.data;
  const results = await Promise.allSettled(
    Array.from({ length: 24 }, (_, i) => {
      const length = i % 2 ? whole.length : Math.floor(whole.length * (i + 1) / 26);
      return decodeImage(whole.subarray(0, length), `cut ${i}`);
    }),
  );
  for (const [i, result] of results.entries()) {
    assertEquals(result.status, i % 2 ? "fulfilled" : "rejected", `cut ${i}`);
    if (result.status === "fulfilled") assertEquals(result.value.raster.data, reference);
    else assert(result.reason instanceof InputError);
  }
});

Deno.test("a JPEG whose data end early but which has its end marker is refused", async () => {
  for (const name of ["rgb_444.jpg", "cmyk.jpg"]) {
    const whole = await odd(name);
    const cut = Uint8Array.of(...whole.subarray(0, whole.length >> 1), 0xff, 0xd9);
    assertEquals(await codeOf(cut), "BAD_JPEG", name);
  }
});

Deno.test("random damage gives a picture or a typed error, nothing else", async () => {
  let seed = 1;
  const random = (below: number) => {
    seed = Math.imul(seed, 1103515245) + 12345 >>> 0;
    return Math.floor(seed / 2 ** 32 * below);
  };
  for (
    const name of ["rgb_420.jpg", "progressive.jpg", "cmyk.jpg", "palette_4bit.png", "rgb8.png"]
  ) {
    const whole = await odd(name);
    for (let round = 0; round < 40; round++) {
      const bytes = whole.slice();
      for (let k = random(4); k >= 0; k--) {
        bytes[random(round % 2 ? bytes.length : Math.min(700, bytes.length))] = random(256);
      }
      try {
        const { raster } = await decodeImage(bytes, name, { maxPixels: 2 ** 22 });
        assertEquals(raster.data.length, raster.width * raster.height * raster.channels);
      } catch (error) {
        assert(error instanceof InputError, `${name} ${round}: ${error}`);
      }
    }
  }
});

Deno.test("files are read through their source", async () => {
  const image = raster(3, 2, 1, Uint8Array.of(1, 2, 3, 4, 5, 6));
  using source = bytesSource("mask.png", encodePng(image));
  assertEquals((await decodeImageFile(source)).raster, image);
  const huge = {
    ...bytesSource("volume.nii", new Uint8Array(352)),
    size: 2 ** 33,
  };
  const error = await assertRejects(() => decodeImageFile(huge), InputError);
  assertEquals(error.code, "UNKNOWN_FORMAT");
});
