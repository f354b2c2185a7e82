/** Sizes of pictures without decoding them. */
import { assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { bytesSource, openFile } from "../files.ts";
import { decodeImageFile } from "./decode.ts";
import { encodePng } from "./encode_png.ts";
import { imageSize } from "./image_size.ts";
import { emptyRaster } from "./raster.ts";

const odd = (name: string) =>
  decodeURI(new URL(`../../tests/golden/odd/${name}`, import.meta.url).pathname);

Deno.test("the size in the header is that of the pixels as stored", async () => {
  for (const [width, height] of [[1, 1], [7, 3], [64, 129]]) {
    const bytes = new Uint8Array(encodePng(emptyRaster(width, height, 3)));
    // The header is enough: the rest of the file is not looked at.
    for (const part of [bytes, bytes.slice(0, 40)]) {
      assertEquals(await imageSize(bytesSource("a.png", part)), { width, height });
    }
  }
  for (const name of ["grey_baseline.jpg", "exif_orientation_6.jpg"]) {
    using file = await openFile(odd(name));
    const { raster } = await decodeImageFile(file, { orientation: "ignore" });
    assertEquals(await imageSize(file), { width: raster.width, height: raster.height });
  }
});

Deno.test("what is no picture has no size", async () => {
  const codeOf = async (content: Uint8Array<ArrayBuffer>) =>
    (await assertRejects(() => imageSize(bytesSource("a", content)), InputError)).code;
  assertEquals(await codeOf(new Uint8Array()), "UNKNOWN_FORMAT");
  assertEquals(await codeOf(new TextEncoder().encode("GIF89a, not one of ours")), "UNKNOWN_FORMAT");
  assertEquals(await codeOf(Uint8Array.of(0xff, 0xd8, 0xff, 0xc0, 0, 40, 8)), "BAD_JPEG");
  const cut = new Uint8Array(encodePng(emptyRaster(2, 2, 1))).slice(0, 20);
  assertEquals(await codeOf(cut), "BAD_PNG");
  const huge: Parameters<typeof imageSize>[0] = {
    name: "huge.jpg",
    size: 2 ** 40,
    read: (_, length) => Promise.resolve(Uint8Array.of(0xff, 0xd8, 0xff, ...Array(length - 3))),
    [Symbol.dispose]: () => {},
  };
  assertEquals((await assertRejects(() => imageSize(huge), InputError)).code, "TOO_LARGE");
});
