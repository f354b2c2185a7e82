import { assertEquals, assertThrows } from "@std/assert";
import { InputError } from "@medvlm/core";
import { maskCrop, maskLogits, thresholdMask } from "./postprocess.ts";

Deno.test("the published crop is Python's slice", () => {
  const expected: [side: number, begin: number, end: number][] = [
    [256, 0, 64],
    [192, 0, 64],
    [191, 0, 64],
    [128, 32, 64],
    [66, 63, 64],
    [65, 63, 64],
    [64, 0, 64],
    [63, 0, 63],
    [40, 12, 52],
    [1, 31, 32],
  ];
  for (const [side, begin, end] of expected) {
    assertEquals(maskCrop(64, side, 256), [begin, end], `side ${side}`);
  }
  for (let side = 1; side <= 256; side++) {
    const [begin, end] = maskCrop(64, side, 256);
    assertEquals(begin >= 0 && begin < end && end <= 64, true, `side ${side}`);
  }
});

Deno.test("the corrected crop is the part the picture covers", () => {
  assertEquals(maskCrop(64, 256, 256, true), [0, 64]);
  assertEquals(maskCrop(64, 128, 256, true), [16, 48]);
  assertEquals(maskCrop(64, 1, 256, true), [32, 33]);
  for (let side = 1; side <= 256; side++) {
    const [begin, end] = maskCrop(64, side, 256, true);
    assertEquals(begin >= 0 && begin < end && end <= 64, true, `side ${side}`);
  }
});

Deno.test("logits are cut, then stretched to the original size", () => {
  const low = new Float32Array(64 * 64);
  for (let y = 16; y < 48; y++) low.fill(5, y * 64, y * 64 + 64);
  const size = { width: 20, height: 10 };
  const corrected = maskLogits(low, { width: 256, height: 128 }, size, { geometry: "corrected" });
  assertEquals(corrected, new Float32Array(200).fill(5));
  const published = maskLogits(low, { width: 256, height: 128 }, size);
  // The last 32 rows: 16 of the picture, then 16 of the padding.
  assertEquals([published[0], published[199]], [5, 0]);
});

Deno.test("a pixel belongs to the mask when its probability is above the threshold", () => {
  const logits = Float32Array.of(-2.1973, -2.1972, 0, 5);
  assertEquals([...thresholdMask(logits, { width: 4, height: 1 }).data], [0, 1, 1, 1]);
  assertEquals([...thresholdMask(logits, { width: 4, height: 1 }, 0.5).data], [0, 0, 0, 1]);
});

Deno.test("logits that are no square map are refused", () => {
  const size = { width: 1, height: 1 };
  assertThrows(() => maskLogits(new Float32Array(10), size, size), InputError);
});
