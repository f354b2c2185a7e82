import { assertEquals, assertThrows } from "@std/assert";
import { InputError } from "@medvlm/core";
import { raster } from "@medvlm/core/image";
import { CLIP_STATISTICS, clipInput, SAM_STATISTICS, samInput } from "@medvlm/medplib/parts";
import { chestPhantom } from "../phantoms/mod.ts";
import { greySquare, normalisedSquares } from "./pictures.ts";

Deno.test("square grey pictures become what MedPLIB's own preprocessing gives", () => {
  const images = [0, 1].map((index) => chestPhantom({ size: 45, seed: 3, index }).image);
  const prepared = (side: number) => images.map((image) => greySquare(image, side));
  const clip = normalisedSquares(prepared(28), {
    side: 28,
    statistics: CLIP_STATISTICS,
    scale: 1 / 255,
  });
  assertEquals(clip, joined(images.map((image) => clipInput(image, 28).data)));
  const sam = normalisedSquares(prepared(64), { side: 64, statistics: SAM_STATISTICS, scale: 1 });
  assertEquals(sam, joined(images.map((image) => samInput(image, 64).data)));
});

function joined(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

Deno.test("other pictures are refused", () => {
  for (const image of [raster(3, 4, 1, new Uint8Array(12)), raster(2, 2, 3, new Uint8Array(12))]) {
    assertThrows(() => greySquare(image, 8), InputError, "give a square one of one channel");
  }
});
