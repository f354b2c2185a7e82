import { assertEquals, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { emptyRaster, raster, toDepth8, toGrey, toRgb, toRgba } from "./raster.ts";

Deno.test("colour conversions: grey is repeated, alpha is dropped, luma is ITU-R 601", () => {
  const grey = raster(2, 1, 1, Uint8Array.of(7, 250));
  assertEquals([...toRgb(grey).data], [7, 7, 7, 250, 250, 250]);
  const rgba = raster(2, 1, 4, Uint8Array.of(255, 0, 0, 0, 0, 255, 0, 9));
  assertEquals([...toRgb(rgba).data], [255, 0, 0, 0, 255, 0]);
  assertEquals([...toGrey(rgba).data], [76, 150]);
  assertEquals([...toGrey(raster(1, 1, 3, Uint8Array.of(0, 0, 255))).data], [29]);
  assertEquals([...toRgba(grey).data], [7, 7, 7, 255, 250, 250, 250, 255]);
});

Deno.test("every grey level survives grey to RGB to grey", () => {
  const grey = raster(256, 1, 1, Uint8Array.from({ length: 256 }, (_, i) => i));
  assertEquals(toGrey(toRgb(grey)).data, grey.data);
});

Deno.test("deep samples: the high byte, or Pillow's clipping for grey", () => {
  const grey = raster(4, 1, 1, Uint16Array.of(0, 255, 256, 65535));
  assertEquals([...toDepth8(grey).data], [0, 0, 1, 255]);
  assertEquals([...toDepth8(grey, "pillow").data], [0, 255, 255, 255]);
  const rgb = raster(1, 1, 3, Uint16Array.of(255, 256, 65535));
  assertEquals([...toRgb(rgb, "pillow").data], [0, 1, 255]);
  const twelve = raster(2, 1, 1, Uint16Array.of(4095, 16), 12);
  assertEquals([...toDepth8(twelve).data], [255, 1]);
  const shallow = raster(3, 1, 1, Uint8Array.of(0, 1, 3), 2);
  assertEquals([...toDepth8(shallow).data], [0, 85, 255]);
});

Deno.test("pictures whose samples do not fit their size are refused", () => {
  for (
    const make of [
      () => raster(2, 2, 1, new Uint8Array(3)),
      () => raster(0, 2, 1, new Uint8Array(0)),
      () => raster(1.5, 2, 1, new Uint8Array(3)),
      () => raster(1, 1, 1, new Uint8Array(1), 9),
      () => emptyRaster(-1, 4, 3),
    ]
  ) assertEquals(assertThrows(make, InputError).code, "BAD_RASTER");
});
