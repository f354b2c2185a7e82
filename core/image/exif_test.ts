import { assertEquals } from "@std/assert";
import { applyOrientation, exifOrientation, type Orientation } from "./exif.ts";
import { raster } from "./raster.ts";

/** A TIFF header with one entry: the orientation. */
function block(little: boolean, value: number): Uint8Array {
  const bytes = new Uint8Array(26);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, little ? 0x4949 : 0x4d4d);
  view.setUint16(2, 42, little);
  view.setUint32(4, 8, little);
  view.setUint16(8, 1, little);
  view.setUint16(10, 0x0112, little);
  view.setUint16(12, 3, little);
  view.setUint32(14, 1, little);
  view.setUint16(18, value, little);
  return bytes;
}

Deno.test("orientation is read in both byte orders; damaged blocks count as upright", () => {
  assertEquals(exifOrientation(block(true, 6)), 6);
  assertEquals(exifOrientation(block(false, 8)), 8);
  assertEquals(
    exifOrientation(Uint8Array.of(...new TextEncoder().encode("Exif\0\0"), ...block(true, 3))),
    3,
  );
  assertEquals(exifOrientation(block(true, 9)), 1);
  assertEquals(exifOrientation(block(true, 6).subarray(0, 20)), 1);
  assertEquals(exifOrientation(new Uint8Array(0)), 1);
});

Deno.test("the eight orientations of a 3x2 picture", () => {
  const image = raster(3, 2, 1, Uint8Array.from([1, 2, 3, 4, 5, 6]));
  const expected: Record<Orientation, number[][]> = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
  };
  for (const [orientation, rows] of Object.entries(expected)) {
    const turned = applyOrientation(image, Number(orientation) as Orientation);
    assertEquals([turned.width, turned.height], [rows[0].length, rows.length], orientation);
    assertEquals([...turned.data], rows.flat(), orientation);
  }
});

Deno.test("channels and depth stay together when turning", () => {
  const image = raster(2, 1, 3, Uint16Array.of(1, 2, 3, 400, 500, 600));
  const turned = applyOrientation(image, 6);
  assertEquals([turned.width, turned.height, turned.bitDepth], [1, 2, 16]);
  assertEquals([...turned.data], [1, 2, 3, 400, 500, 600]);
});
