import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { chestLabels, chestPhantom, maskBox, splitCounts, splitIndex } from "./mod.ts";
import { Noise, Random } from "./random.ts";

const phantoms = Array.from(
  { length: 60 },
  (_, index) => chestPhantom({ size: 64, seed: 5, index }),
);

Deno.test("every finding has pixels, a tight box, and lies on its side", () => {
  const seen = new Map<string, number>();
  for (const { id, image, findings, structures } of phantoms) {
    for (const { label, mask, box, side, zone } of findings) {
      seen.set(label, (seen.get(label) ?? 0) + 1);
      assertEquals(maskBox(mask), box);
      if (side === undefined) continue;
      const lung = structures[`${side} lung`].data;
      let row = 0, area = 0;
      mask.data.forEach((value, i) => {
        if (value === 0) return;
        assertEquals(lung[i], 1, `${id} ${label}`);
        row += Math.floor(i / 64);
        area++;
      });
      if (label !== "Nodule/Mass" && label !== "Atelectasis") continue;
      // Where it lies between the ends of its lung agrees with its zone.
      const [, top, , bottom] = maskBox(structures[`${side} lung`])!;
      const share = (row / area - top) / (bottom - top);
      const [low, high] = { upper: [0, 0.45], middle: [0.25, 0.68], lower: [0.45, 1] }[zone!];
      assert(share > low && share < high, `${id} ${label} ${zone} ${share}`);
    }
    assertEquals(image.data.length, 64 * 64);
  }
  assertEquals(new Set(seen.keys()), new Set(chestLabels));
});

Deno.test("lungs are dark, heart, fluid and consolidation bright, free air the darkest", () => {
  for (const { id, image, structures, findings } of phantoms) {
    const mean = (data: Uint8Array) => {
      let sum = 0, count = 0;
      data.forEach((value, i) => {
        if (value === 0) return;
        sum += image.data[i];
        count++;
      });
      return sum / count;
    };
    const healthy = Uint8Array.from(
      structures["left lung"].data,
      (value, i) =>
        (value | structures["right lung"].data[i]) &
        (findings.some(({ mask }) => mask.data[i] === 1) ? 0 : 1),
    );
    const lung = mean(healthy);
    assert(mean(structures.heart.data) > lung + 60, id);
    for (const { label, mask } of findings) {
      if (label === "Pneumothorax") assert(mean(mask.data) < lung + 5, id);
      if (label === "Pleural effusion") assert(mean(mask.data) > lung + 40, id);
      if (label === "Consolidation") assert(mean(mask.data) > lung + 20, id);
    }
  }
});

Deno.test("the heart is wide exactly when cardiomegaly is among the findings", () => {
  for (const { id, structures, findings } of phantoms) {
    const [left, , right] = maskBox(structures.heart)!;
    const [from] = maskBox(structures["right lung"])!, [, , to] = maskBox(structures["left lung"])!;
    const ratio = (right - left) / (to - from);
    assertEquals(
      ratio > 0.525,
      findings.some(({ label }) => label === "Cardiomegaly"),
      `${id} ${ratio}`,
    );
  }
});

Deno.test("the same options give the same bytes; parts have nothing in common", () => {
  const one = chestPhantom({ size: 48, seed: 2, index: splitIndex("train", 3) });
  assertEquals(chestPhantom({ size: 48, seed: 2, index: 3 }), one);
  const held = chestPhantom({ size: 48, seed: 2, index: splitIndex("test", 3) });
  assertNotEquals(held.image.data, one.image.data);
  assertNotEquals(held.id, one.id);
  assert(splitIndex("train", 2 ** 30 - 1) < splitIndex("validate", 0));
  assert(splitIndex("validate", 2 ** 30 - 1) < splitIndex("test", 0));
  assertThrows(() => splitIndex("train", 2 ** 30), RangeError);
  assertEquals(splitCounts(10), { train: 7, validate: 1, test: 2 });
  assertEquals(splitCounts(1), { train: 1, validate: 0, test: 0 });
  assertThrows(() => chestPhantom({ size: 16, seed: 0, index: 0 }), RangeError);
});

Deno.test("maps of noise agree with single values; many draws are near the standard normal", () => {
  const noise = new Noise(new Random(1, 2), 4), map = noise.map(9, 5, 2);
  for (const [j, k] of [[0, 0], [3, 8], [8, 4]]) {
    const value = noise.value((k + 0.5) / 9, (j + 0.5) / 9, 5, 2);
    assert(Math.abs(map[j * 9 + k] - value) < 1e-6);
  }
  const draws = new Random(3, 0).normals(20_000);
  const mean = draws.reduce((sum, value) => sum + value, 0) / draws.length;
  const square = draws.reduce((sum, value) => sum + value * value, 0) / draws.length;
  assert(Math.abs(mean) < 0.02 && Math.abs(square - 1) < 0.03, `${mean} ${square}`);
  assertNotEquals(new Random(3, 1).words(4), new Random(3, 0).words(4));
});
