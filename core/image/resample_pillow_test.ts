import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { emptyRaster, raster } from "./raster.ts";
import { type PillowFilter, resizePillow } from "./resample_pillow.ts";

const FILTERS: PillowFilter[] = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"];

Deno.test("a picture of one colour keeps it under every filter, size and box", () => {
  for (const channels of [1, 3, 4] as const) {
    const image = emptyRaster(17, 11, channels);
    image.data.fill(201);
    for (const filter of FILTERS) {
      for (const [width, height] of [[5, 3], [40, 30], [17, 2], [1, 1]]) {
        const out = resizePillow(image, width, height, filter, [1.25, 0.5, 15.75, 10]);
        assertEquals([out.width, out.height, out.channels], [width, height, channels]);
        // Alpha below 255 costs a level of rounding each way, as in Pillow.
        const slack = channels === 4 ? 1 : 0;
        assert(out.data.every((value) => Math.abs(value - 201) <= slack), `${filter} ${channels}`);
      }
    }
  }
});

Deno.test("halving with the box filter takes the rounded mean", () => {
  const image = raster(4, 2, 1, Uint8Array.of(0, 1, 10, 20, 2, 3, 30, 41));
  assertEquals([...resizePillow(image, 2, 1, "box").data], [2, 26]);
  assertEquals([...resizePillow(image, 2, 1, "box", [0, 0, 4, 1]).data], [1, 15]);
});

Deno.test("the same size is a copy that shares no memory", () => {
  const image = raster(2, 1, 1, Uint8Array.of(3, 4));
  const copy = resizePillow(image, 2, 1, "lanczos");
  copy.data[0] = 9;
  assertEquals([...image.data], [3, 4]);
});

Deno.test("transparent pixels lend no colour to their neighbours", () => {
  const image = raster(2, 1, 4, Uint8Array.of(255, 0, 0, 255, 0, 255, 0, 0));
  assertEquals([...resizePillow(image, 1, 1, "bilinear").data], [255, 0, 0, 128]);
});

Deno.test("impossible sizes and boxes are refused", () => {
  const image = emptyRaster(4, 4, 1);
  for (const [width, height] of [[0, 4], [4, -1], [1.5, 4], [NaN, 4]]) {
    const error = assertThrows(() => resizePillow(image, width, height, "box"), InputError);
    assertEquals(error.code, "BAD_SIZE");
  }
  for (const box of [[-1, 0, 4, 4], [0, 0, 5, 4], [2, 0, 2, 4], [0, NaN, 4, 4]] as const) {
    const error = assertThrows(() => resizePillow(image, 2, 2, "box", box), InputError);
    assertEquals(error.code, "BAD_BOX");
  }
});
