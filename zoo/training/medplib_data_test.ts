import { assertEquals, assertThrows } from "@std/assert";
import { memoryFolder } from "@medvlm/core/checkpoint";
import { loadLlamaTokenizer } from "@medvlm/core/text";
import { denseConfig, makeCompanions, presets } from "@medvlm/medplib/parts";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { union } from "../phantoms/thing_examples.ts";
import {
  drawLessons,
  lessonBatch,
  type Mix,
  taughtPicture,
  taughtPictures,
} from "./medplib_data.ts";
import type { Lesson } from "./medplib_lessons.ts";
import { stepRandom } from "./pool.ts";

const config = denseConfig(presets.tiny);
const tokenizer = await loadLlamaTokenizer(
  memoryFolder("built-in", makeCompanions(config) as Map<string, Uint8Array<ArrayBuffer>>),
  { behaviour: "4.31-legacy" },
);
const teaching = { config, tokenizer };
const source = { size: 64, seed: 5, count: 12 };
const mix: Mix = { caption: 1, report: 1, closed: 3, open: 2, region: 2, structure: 2, finding: 2 };

Deno.test("a picture is taught by conversations that fit the model", () => {
  const phantom = chestPhantom({ size: 64, seed: 5, index: splitIndex("train", 3) });
  const picture = taughtPicture(phantom, teaching);
  assertEquals(picture.clip.length, config.clip.imageSize ** 2);
  assertEquals(picture.sam.length, config.sam.imageSize ** 2);
  const image = -200, region = -300, seg = tokenizer.tokenToId("<SEG>");
  for (const [kind, plans] of picture.lessons) {
    for (const plan of plans) {
      const { lesson, ids, labels, cells, mask, answer } = plan.prepared();
      assertEquals(lesson, kind);
      assertEquals(labels.length, ids.length);
      assertEquals(ids.filter((id) => id === image).length, 1);
      assertEquals(ids.includes(region), kind === "region");
      assertEquals(cells !== undefined, kind === "region");
      const grounds = mask !== undefined || kind === "request";
      assertEquals(ids.filter((id) => id === seg).length, grounds ? 1 : 0);
      if (mask !== undefined) assertEquals([answer.endsWith(" <SEG>."), mask.width], [true, 64]);
      // Every id is known and the answers are spelt in words, not in letters.
      assertEquals(ids.every((id) => id < config.llama.vocabulary), true);
      const targets = labels.filter((label) => label >= 0);
      if (cells?.length !== 0) {
        const words = answer.split(" ").length;
        assertEquals(targets.length >= words && targets.length <= 3 * words + 4, true);
      }
    }
  }
});

Deno.test("the same step draws the same conversations, by their shares, long answers among themselves", () => {
  const pool = taughtPictures(teaching, source);
  const draw = (step: number, pictures = 8) =>
    drawLessons(pool, mix, { pictures, each: 4 }, stepRandom(5, step, 1));
  const idsOf = (step: number) => draw(step).map(({ lessons }) => lessons.map(({ ids }) => ids));
  assertEquals(idsOf(7), idsOf(7));
  const long = new Set<Lesson>(["caption", "report"]);
  let longBatches = 0;
  const steps = 300;
  for (let step = 0; step < steps; step++) {
    const drawn = draw(step, 3);
    assertEquals(drawn.length, 3);
    const kinds = drawn.flatMap(({ lessons }) => lessons.map(({ lesson }) => lesson));
    const isLong = long.has(kinds[0]!);
    assertEquals(kinds.every((kind) => long.has(kind) === isLong), true);
    assertEquals(drawn.every(({ lessons }) => new Set(lessons).size === lessons.length), true);
    assertEquals(drawn.every(({ lessons }) => lessons.length === (isLong ? 1 : 4)), true);
    if (isLong) longBatches++;
  }
  assertEquals(Math.abs(longBatches / steps - 2 / 13) < 0.06, true, `${longBatches}`);
  const counts = new Map<Lesson, number>(), all = { pictures: 3000, each: 1 };
  for (
    const { lessons: [one] } of drawLessons(pool, { closed: 3, open: 1 }, all, stepRandom(5, 0, 1))
  ) {
    counts.set(one!.lesson, (counts.get(one!.lesson) ?? 0) + 1);
  }
  assertEquals(Math.abs(counts.get("closed")! / 3000 - 0.75) < 0.04, true);
});

Deno.test("a batch has every sample's pixels, regions and masks in place", () => {
  const pool = taughtPictures(teaching, source);
  const short = { closed: 3, open: 2, region: 2, structure: 2, finding: 2 };
  const chosen = drawLessons(pool, short, { pictures: 6, each: 5 }, stepRandom(5, 0, 1));
  const batch = lessonBatch(teaching, chosen);
  const all = chosen.flatMap(({ lessons }, picture) => lessons.map((one) => ({ ...one, picture })));
  assertEquals(batch.size, all.length);
  assertEquals(batch.visual.pixels.length, 6 * 3 * config.clip.imageSize ** 2);
  const masked = all.flatMap(({ mask }, b) => mask === undefined ? [] : [b]);
  assertEquals(batch.masks.map(({ sample }) => sample), masked);
  const shown = [...new Set(masked.map((b) => all[b]!.picture))];
  assertEquals(batch.samPixels.length, shown.length * 3 * config.sam.imageSize ** 2);
  assertEquals(
    batch.masks.map(({ picture }) => shown[picture]),
    masked.map((b) => all[b]!.picture),
  );
  assertEquals(
    batch.regions.map(({ sample, image }) => [sample, image]),
    all.flatMap(({ cells, picture }, b) => cells === undefined ? [] : [[b, picture]]),
  );
  // The row before <SEG> becomes the mask.
  const seg = tokenizer.tokenToId("<SEG>");
  for (const { row } of batch.masks) assertEquals(batch.tokens[batch.source[row + 1]!], seg);
  // What a row should predict is the token that follows.
  batch.targetRows.forEach((row, i) =>
    assertEquals(batch.tokens[batch.source[row + 1]!], batch.targets[i])
  );
});

Deno.test("masks of several instances are joined, and kinds that nobody has are refused", () => {
  const mask = (...data: number[]) => ({ width: 2, height: 2, data: Uint8Array.from(data) });
  assertEquals([...union([mask(1, 0, 0, 0), mask(0, 0, 1, 0)]).data], [1, 0, 1, 0]);
  const pool = taughtPictures(teaching, {
    ...source,
    count: 2,
    prevalence: { normal: 1, each: 0 },
  });
  assertThrows(
    () => drawLessons(pool, { finding: 1 }, { pictures: 1, each: 1 }, stepRandom(1, 1, 1)),
    RangeError,
    "kind finding",
  );
});
