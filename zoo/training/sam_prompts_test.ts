import { assertEquals } from "@std/assert";
import { chestPhantom, chestThings } from "../phantoms/mod.ts";
import { Random } from "../phantoms/random.ts";
import { boxPrompt, drawForm, drawPrompt, drawThing } from "./sam_prompts.ts";

const size = 48, side = 96;
const phantom = chestPhantom({ size, seed: 2, index: 3, prevalence: { normal: 0, each: 0.7 } });
const things = chestThings(phantom);

/** Whether the thing covers the pixel of the picture that a place in the input belongs to. */
function covered({ mask }: (typeof things)[number], x: number, y: number): boolean {
  const pixel = (at: number) => Math.floor((at + 0.5) * size / side);
  return mask.data[pixel(y) * size + pixel(x)] !== 0;
}

Deno.test("points lie on the thing or beside it, whatever the draws", () => {
  for (const thing of things) {
    for (let n = 0; n < 20; n++) {
      const form = { box: false, inside: 1 + n % 3, outside: n % 2 };
      const { points = [], box } = drawPrompt(thing, form, side, new Random(1, n));
      assertEquals(box, undefined);
      assertEquals(points.length, form.inside + form.outside);
      for (const { x, y, inside } of points) assertEquals(covered(thing, x, y), inside);
    }
  }
});

Deno.test("an exact box runs from the first to the last pixel, a moved one stays close and in order", () => {
  for (const { box } of things) {
    const exact = boxPrompt(box, size, side);
    // Centres of the pixels: two pixels of the input to one of the picture.
    assertEquals(exact, [2 * box[0] + 0.5, 2 * box[1] + 0.5, 2 * box[2] - 1.5, 2 * box[3] - 1.5]);
    for (let n = 0; n < 20; n++) {
      const [x0, y0, x1, y1] = boxPrompt(box, size, side, new Random(5, n));
      assertEquals(x0 <= x1 && y0 <= y1 && x0 >= 0 && y0 >= 0 && x1 < side && y1 < side, true);
      [x0, y0, x1, y1].forEach((edge, i) => assertEquals(Math.abs(edge - exact[i]!) <= 4, true));
    }
  }
});

Deno.test("findings are asked for as often as wanted, each kind alike; forms are boxes and points", () => {
  const structures = things.filter(({ label }) => label in phantom.structures);
  const findings = things.filter(({ label }) => !(label in phantom.structures));
  const random = new Random(7, 0);
  const counts = new Map<string, number>();
  for (let n = 0; n < 2000; n++) {
    const { label } = drawThing(structures, findings, 0.75, random);
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  const kinds = new Set(findings.map(({ label }) => label));
  const asked = [...kinds].map((label) => counts.get(label)! / 2000);
  assertEquals(Math.abs(asked.reduce((sum, share) => sum + share, 0) - 0.75) < 0.05, true);
  for (const share of asked) assertEquals(Math.abs(share - 0.75 / kinds.size) < 0.05, true);
  assertEquals(drawThing(structures, [], 1, random).label in phantom.structures, true);

  const forms = Array.from({ length: 400 }, () => drawForm(random, 0.5));
  const boxes = forms.filter(({ box }) => box);
  assertEquals(Math.abs(boxes.length / 400 - 0.5) < 0.1, true);
  assertEquals(boxes.every(({ inside, outside }) => inside + outside === 0), true);
  const points = forms.filter(({ box }) => !box);
  assertEquals(points.every(({ inside }) => inside >= 1 && inside <= 3), true);
  assertEquals(new Set(points.map(({ outside }) => outside)), new Set([0, 1]));
});
