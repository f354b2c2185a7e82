import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { maskExtent, textSize } from "./canvas.ts";
import { forEachDot, printable, textWidth } from "./font.ts";
import { placeLabels } from "./label_placement.ts";
import { drawOverlay, OVERLAY_COLOURS } from "./overlay.ts";
import { emptyRaster, type Raster8 } from "./raster.ts";

const pixel = (image: Raster8, x: number, y: number) =>
  Array.from(image.data.subarray((y * image.width + x) * 3, (y * image.width + x) * 3 + 3));

Deno.test("a box is drawn along its inner edge, between dark halos", () => {
  const image = emptyRaster(40, 30, 1);
  image.data.fill(200);
  const out = drawOverlay(image, [{ box: [10, 8, 30, 20], colour: [255, 0, 0] }]);
  for (const [x, y] of [[10, 8], [29, 8], [10, 19], [29, 19], [20, 8]]) {
    assertEquals(pixel(out, x, y), [255, 0, 0], `${x},${y}`);
  }
  for (const [x, y] of [[9, 12], [11, 12], [30, 12], [28, 12]]) {
    assertEquals(pixel(out, x, y), [60, 60, 60], `${x},${y}`);
  }
  assertEquals(pixel(out, 20, 14), [200, 200, 200]);
  assertEquals(image.data[10 * 40 + 10], 200, "the input is left alone");
});

Deno.test("a mask is tinted, outlined and set off", () => {
  const image = emptyRaster(40, 40, 3);
  image.data.fill(100);
  const mask = { width: 40, height: 40, data: new Uint8Array(1600) };
  for (let y = 10; y < 30; y++) mask.data.fill(255, y * 40 + 10, y * 40 + 30);
  const out = drawOverlay(image, [{ mask }], { fillOpacity: 0.5 });
  assertEquals(pixel(out, 10, 20), [...OVERLAY_COLOURS[0]]);
  assertEquals(pixel(out, 9, 20), [30, 30, 30]);
  assertEquals(pixel(out, 20, 20), [178, 148, 50]);
  assertEquals(pixel(out, 5, 5), [100, 100, 100]);
});

Deno.test("shapes that leave the picture and empty masks do no harm", () => {
  const image = emptyRaster(8, 8, 3);
  const mask = { width: 8, height: 8, data: new Uint8Array(64) };
  const out = drawOverlay(image, [
    { mask, label: "nothing" },
    { box: [-100, -5, 500, 9], label: "a label much wider than the picture" },
    { box: [20, 20, 30, 30] },
    { box: [3, 3, 3, 3] },
    { mask: { ...mask, data: new Uint8Array(64).fill(1) } },
  ]);
  assertEquals([out.width, out.height, out.channels], [8, 8, 3]);
});

Deno.test("masks of another size and boxes that are no numbers are refused", () => {
  const image = emptyRaster(8, 8, 3);
  const mask = { width: 4, height: 16, data: new Uint8Array(64) };
  assertEquals(assertThrows(() => drawOverlay(image, [{ mask }]), InputError).code, "BAD_SIZE");
  const box = [0, 0, NaN, 4] as const;
  assertEquals(assertThrows(() => drawOverlay(image, [{ box }]), InputError).code, "BAD_BOX");
});

Deno.test("a label is in the middle of what it names, or above it when it is wider", () => {
  const target = { x: 40, y: 50, width: 60, height: 80 }, centre = { x: 70, y: 90 };
  const placed = (width: number) =>
    placeLabels([{ size: { width, height: 10 }, target, centre }], 200, 200)[0];
  assertEquals(placed(60), { x: 40, y: 85, width: 60, height: 10 });
  assertEquals(placed(61), { x: 40, y: 40, width: 61, height: 10 });
});

Deno.test("labels keep inside the picture and off each other", () => {
  const requests = Array.from({ length: 12 }, (_, i) => ({
    size: { width: 40, height: 11 },
    target: { x: 50 + i, y: 2, width: 30, height: 30 },
    ...(i % 2 ? { centre: { x: 60, y: 20 } } : {}),
  }));
  const places = placeLabels(requests, 130, 100);
  for (const [i, a] of places.entries()) {
    assert(a.x >= 0 && a.y >= 0 && a.x + a.width <= 130 && a.y + a.height <= 100, `label ${i}`);
    for (const b of places.slice(0, i)) {
      const apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y ||
        b.y + b.height <= a.y;
      assert(apart, `label ${i}`);
    }
  }
});

Deno.test("every printable character has its own glyph", () => {
  const glyphs = Array.from({ length: 95 }, (_, i) => {
    const dots: string[] = [];
    forEachDot(String.fromCharCode(32 + i), (x, y) => dots.push(`${x},${y}`));
    return dots.join(" ");
  });
  assertEquals(new Set(glyphs).size, 95);
  assertEquals(glyphs[0], "");
  assertEquals(
    printable("Läsion\n5 µm → 肺"),
    "Lasion 5 ?m ? ?".replace("5 ?m", `5 ${printable("µ")}m`),
  );
  assertEquals([textWidth(""), textWidth("a"), textWidth("ab")], [0, 5, 11]);
  assertEquals(textSize("a", 2), { width: 14, height: 22 });
});

Deno.test("the deepest pixel of a mask is in its widest part", () => {
  const mask = new Uint8Array(30 * 20);
  for (let y = 2; y < 18; y++) mask.fill(1, y * 30 + 14, y * 30 + 30);
  mask.fill(1, 10 * 30, 10 * 30 + 14);
  const extent = maskExtent(mask, 30, 20);
  assertEquals(extent?.bounds, { x: 0, y: 2, width: 30, height: 16 });
  assert(extent!.deepest.x >= 20 && extent!.deepest.x <= 23);
  assertEquals(maskExtent(new Uint8Array(4), 2, 2), undefined);
});
