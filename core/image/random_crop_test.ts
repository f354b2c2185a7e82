import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InputError } from "../errors.ts";
import { boxInCrop, crop, cropToSquare, drawCrop, mirror } from "./random_crop.ts";
import { raster } from "./raster.ts";

const picture = raster(3, 2, 1, Uint8Array.of(1, 2, 3, 4, 5, 6));

Deno.test("a part of a picture and its mirror image", () => {
  assertEquals([...crop(picture, { top: 0, left: 1, height: 2, width: 2 }).data], [2, 3, 5, 6]);
  assertEquals([...mirror(picture).data], [3, 2, 1, 6, 5, 4]);
  const square = cropToSquare(picture, { top: 1, left: 0, height: 1, width: 1 }, 2, true);
  assertEquals([square.width, square.height, ...square.data], [2, 2, 4, 4, 4, 4]);
  const bad = { top: 0, left: 2, height: 1, width: 2 };
  assertThrows(() => crop(picture, bad), InputError, "must lie inside");
});

Deno.test("drawn parts lie inside, of the area and the shape asked for", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 400 }),
    fc.integer({ min: 1, max: 400 }),
    fc.array(fc.double({ min: 0, max: 0.999999, noNaN: true }), { minLength: 4, maxLength: 40 }),
    (width, height, draws) => {
      let n = 0;
      const part = drawCrop(width, height, { scale: [0.5, 1] }, () => draws[n++ % draws.length]!);
      assert(part.top >= 0 && part.left >= 0 && part.width >= 1 && part.height >= 1);
      assert(part.top + part.height <= height && part.left + part.width <= width);
    },
  ));
});

Deno.test("where nothing fits, the middle is taken at the nearest allowed shape", () => {
  const range = { scale: [1, 1] as const };
  assertEquals(drawCrop(100, 10, range, () => 0.5), { top: 0, left: 43, height: 10, width: 13 });
  assertEquals(drawCrop(9, 100, range, () => 0.5), { top: 44, left: 0, height: 12, width: 9 });
});

Deno.test("boxes follow the part", () => {
  const part = { top: 10, left: 20, height: 30, width: 40 };
  assertEquals(boxInCrop([10, 15, 50, 90], part), [0, 5, 30, 30]);
  assertEquals(boxInCrop([0, 0, 20, 90], part), undefined);
});
