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

Deno.test("the same step draws the same conversations, by their shares", () => {
  const pool = taughtPictures(teaching, source);
  const draw = (step: number, count = 16) => drawLessons(pool, mix, count, stepRandom(5, step, 1));
  assertEquals(draw(7).map(({ lesson }) => lesson.ids), draw(7).map(({ lesson }) => lesson.ids));
  const counts = new Map<Lesson, number>();
  for (const { lesson } of draw(0, 2600)) {
    counts.set(lesson.lesson, (counts.get(lesson.lesson) ?? 0) + 1);
  }
  for (const [kind, share] of Object.entries(mix)) {
    const got = counts.get(kind as Lesson)! / 2600;
    assertEquals(Math.abs(got - share / 13) < 0.04, true, `${kind} ${got}`);
  }
});

Deno.test("a batch has every sample's pixels, regions and masks in place", () => {
  const pool = taughtPictures(teaching, source);
  const chosen = drawLessons(pool, mix, 24, stepRandom(5, 0, 1));
  const batch = lessonBatch(teaching, chosen);
  assertEquals(batch.size, 24);
  assertEquals(batch.visual.pixels.length, 24 * 3 * config.clip.imageSize ** 2);
  const masked = chosen.flatMap(({ lesson }, b) => lesson.mask === undefined ? [] : [b]);
  assertEquals([...batch.maskSamples], masked);
  assertEquals(batch.masks.map(({ sample }) => sample), masked);
  assertEquals(batch.samPixels.length, masked.length * 3 * config.sam.imageSize ** 2);
  assertEquals(
    batch.regions.map(({ sample }) => sample),
    chosen.flatMap(({ lesson }, b) => lesson.cells === undefined ? [] : [b]),
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
    () => drawLessons(pool, { finding: 1 }, 1, stepRandom(1, 1, 1)),
    RangeError,
    "kind finding",
  );
});
