import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { InputError } from "@medvlm/core";
import { emptyRaster, raster } from "@medvlm/core/image";
import {
  CLIP_BORDER,
  clipInput,
  maskFromPicture,
  regionGrid,
  regionMask,
  resizeRegion,
  samInput,
} from "./preprocess.ts";

/** A picture of one colour. */
function plain(width: number, height: number, colour: readonly [number, number, number]) {
  const image = emptyRaster(width, height, 3);
  for (let i = 0; i < image.data.length; i++) image.data[i] = colour[i % 3];
  return image;
}

const count = (data: Uint8Array) => data.reduce((sum, value) => sum + value, 0);

Deno.test("the pixel encoder's input pads after normalising, with the odd row below", () => {
  const input = samInput(plain(100, 63, [255, 0, 128]), 20);
  assertEquals([input.channels, input.height, input.width], [3, 20, 20]);
  assertEquals(input.resized, { width: 20, height: 13 });
  assertEquals(input.placement, { top: 3, left: 0 });
  const column = (plane: number, row: number) => input.data[(plane * 20 + row) * 20 + 7];
  assertEquals([2, 16].map((row) => column(0, row)), [0, 0]);
  for (const row of [3, 15]) {
    assertAlmostEquals(column(0, row), (255 - 123.675) / 58.395, 1e-6);
    assertAlmostEquals(column(1, row), -116.28 / 57.12, 1e-6);
    assertAlmostEquals(column(2, row), (128 - 103.53) / 57.375, 1e-6);
  }
});

Deno.test("the vision tower's input pads with its mean colour before normalising", () => {
  assertEquals(CLIP_BORDER, [122, 116, 104]);
  const input = clipInput(plain(10, 40, [0, 255, 0]), 28);
  assertEquals(input.resized, { width: 7, height: 28 });
  assertEquals(input.placement, { top: 0, left: 10 });
  assertAlmostEquals(input.data[0], (122 / 255 - 0.48145466) / 0.26862954, 1e-6);
  assertAlmostEquals(input.data[28 * 28 + 12], (1 - 0.4578275) / 0.26130258, 1e-6);
});

Deno.test("grey, RGBA and 16-bit pictures give the same input as their RGB", () => {
  const grey = raster(2, 1, 1, Uint8Array.of(10, 200));
  const rgb = raster(2, 1, 3, Uint8Array.of(10, 10, 10, 200, 200, 200));
  const rgba = raster(2, 1, 4, Uint8Array.of(10, 10, 10, 0, 200, 200, 200, 255));
  const deep = raster(2, 1, 1, Uint16Array.of(10 << 8, 200 << 8));
  const expected = samInput(rgb, 16).data;
  for (const image of [grey, rgba, deep]) assertEquals(samInput(image, 16).data, expected);
});

Deno.test("a strip whose shorter side would vanish is refused", () => {
  const error = assertThrows(() => samInput(emptyRaster(2000, 1, 3)), InputError);
  assertEquals(error.code, "IMAGE_TOO_NARROW");
});

Deno.test("a box fills columns and rows in reading order, a point fills ±20 pixels", () => {
  const box = regionMask({ kind: "box", box: [3, 1, 6, 3] }, 8, 5);
  assertEquals(
    Array.from({ length: 5 }, (_, y) => box.data.slice(y * 8, y * 8 + 8).join("")),
    ["00000000", "00011100", "00011100", "00000000", "00000000"],
  );
  const fractional = regionMask({ kind: "box", box: [2.5, 0, 3.5, 1] }, 8, 5);
  assertEquals(count(fractional.data), 2);
  assertEquals(count(regionMask({ kind: "point", x: 50, y: 60 }, 200, 200).data), 41 * 41);
  assertEquals(count(regionMask({ kind: "point", x: 0, y: 199.9 }, 200, 200).data), 21 * 21);
  assertEquals(count(regionMask({ kind: "box", box: [0, 0, 8, 5] }, 8, 5).data), 40);
});

Deno.test("regions that leave the picture, are empty or of another size are refused", () => {
  const mask = (width: number, height: number, value: number) => ({
    kind: "mask" as const,
    mask: { width, height, data: new Uint8Array(width * height).fill(value) },
  });
  for (
    const region of [
      { kind: "box", box: [0, 0, 9, 5] },
      { kind: "box", box: [-1, 0, 3, 5] },
      { kind: "box", box: [3, 0, 3, 5] },
      { kind: "box", box: [NaN, 0, 3, 5] },
      { kind: "point", x: 8, y: 0 },
      { kind: "point", x: 0, y: -0.5 },
      mask(5, 8, 1),
      mask(8, 5, 0),
    ] as const
  ) {
    const error = assertThrows(() => regionMask(region, 8, 5), InputError);
    assertEquals(error.code, "REGION_OUTSIDE");
    assert(error.message.includes("8x5"));
  }
});

Deno.test("a mask file counts every value but 0", () => {
  assertEquals([...maskFromPicture(raster(3, 1, 1, Uint8Array.of(0, 1, 255))).data], [0, 1, 1]);
  assertEquals([...maskFromPicture(raster(3, 1, 1, Uint16Array.of(0, 1, 65535))).data], [0, 1, 1]);
});

Deno.test("the region grid takes every patch's first pixel of the padded region", () => {
  // A picture of half the height: the region's rows move down by a quarter of the side.
  const whole = regionMask({ kind: "box", box: [0, 0, 40, 20] }, 40, 20);
  const resized = resizeRegion(whole, 28);
  assertEquals([resized.width, resized.height], [28, 14]);
  const grid = regionGrid(whole, 28, 7);
  assertEquals([grid.width, grid.height], [4, 4]);
  assertEquals([...grid.data], [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]);
  const dot = regionMask({ kind: "box", box: [1, 1, 2, 2] }, 450, 450);
  assertEquals(count(regionGrid(dot).data), 0);
});

Deno.test("resized regions stay binary and keep what covers at least half a pixel", () => {
  const half = { width: 4, height: 4, data: new Uint8Array(16).fill(1, 8) };
  assertEquals([...resizeRegion(half, 2).data], [0, 0, 1, 1]);
});
