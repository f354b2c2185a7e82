import { assertEquals } from "@std/assert";
import { decode as decodeFastPng } from "fast-png";
import { decodeImage } from "./decode.ts";
import { encodePng } from "./encode_png.ts";
import { type Channels, raster } from "./raster.ts";

Deno.test("grey, RGB and RGBA of both depths come back, here and in another decoder", async () => {
  for (const channels of [1, 3, 4] as Channels[]) {
    for (const deep of [false, true]) {
      const length = 13 * 7 * channels;
      const values = Array.from({ length }, (_, i) => (i * i * 31) % (deep ? 65536 : 256));
      const data = deep ? Uint16Array.from(values) : Uint8Array.from(values);
      const image = raster(13, 7, channels, data);
      const file = encodePng(image);
      assertEquals((await decodeImage(file, "a.png")).raster, image);
      const other = decodeFastPng(file, { checkCrc: true });
      assertEquals(
        [other.width, other.height, other.channels, other.depth],
        [13, 7, channels, deep ? 16 : 8],
      );
      assertEquals([...other.data], [...data]);
    }
  }
});

Deno.test("equal pictures give equal bytes, and smooth ones are small", () => {
  const ramp = raster(64, 64, 1, Uint8Array.from({ length: 4096 }, (_, i) => (i & 63) + (i >> 6)));
  assertEquals(encodePng(ramp), encodePng(ramp));
  assertEquals(encodePng(ramp).length < 200, true);
});
