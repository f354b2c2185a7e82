import { assert, assertEquals } from "@std/assert";
import type { Box } from "@medvlm/core";
import {
  madeFiles,
  madeTokenizer,
  minigptSample,
  sharedMinigptBatch,
  tiny,
} from "@medvlm/core/minigpt";
import { severityWord } from "../phantoms/chest_report.ts";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import { type FamilyLesson, familyLessons, teachBase } from "./minigpt_lessons.ts";
import { answerRows, rowsOf } from "./pointing.ts";
import { sizeStates, sizeTokens, sizeWords } from "./size_words.ts";

const config = { ...tiny, vision: { ...tiny.vision, imageSize: 112 } };
const tokenizer = await madeTokenizer(madeFiles(config));
const prevalence = { normal: 0, each: 0.7 };
const phantomOf = (n: number) =>
  chestPhantom({ size: 96, seed: 9, index: splitIndex("train", n), prevalence });

Deno.test("words of size are those of severities, not parts of other words", () => {
  const text = "The heart is mildly enlarged. Large area, of markings; a SMALL one";
  assertEquals(sizeWords(text), [13, 30, 57]);
  assertEquals(sizeTokens(["▁a", "▁", "l", "arge", "▁mild", "ly", "▁en", "large", "d"]), [2, 4]);
  assertEquals(sizeTokens([]), []);
});

Deno.test("every word of size in a lesson has the boxes of findings of that size", () => {
  const seen = new Set<FamilyLesson>();
  for (let n = 0; n < 30; n++) {
    const phantom = phantomOf(n);
    const wordsOf = (boxes: readonly Box[]) =>
      new Set(
        phantom.findings.filter(({ box }) => boxes.some((one) => one.join() === box.join()))
          .map((finding) => severityWord(finding)),
      );
    for (const [kind, { answer, sizes }] of familyLessons(phantom)) {
      const words = sizeWords(answer);
      if (sizes === undefined) {
        assert(kind !== "size" && (kind === "thing" || kind === "phrase" || words.length === 0));
        continue;
      }
      seen.add(kind);
      assertEquals(sizes.length, words.length);
      words.forEach((start, w) => {
        const [word] = /^[a-z]+?(?=ly\b|\b)/i.exec(answer.slice(start))!;
        assert(sizes[w]!.length > 0 && wordsOf(sizes[w]!).has(word.toLowerCase()), answer);
      });
    }
  }
  assertEquals(seen, new Set<FamilyLesson>(["open", "size", "report", "caption"]));
});

Deno.test("before a word of size each coordinate has a state, at the edges of what it is said of", () => {
  const samples = [0, 1, 2, 3].flatMap((picture) => {
    const phantom = phantomOf(picture), { image } = phantom;
    return familyLessons(phantom).filter(([kind]) => kind === "report" || kind === "size")
      .map(([, { shows, sizes, ...lesson }]) => {
        const { prompt, answer } = teachBase({ ...lesson, image });
        const sample = minigptSample(
          tokenizer,
          prompt,
          answer,
          new Float32Array(3).fill(picture),
        );
        return { sample, image, picture, shows, boxed: false, sizes: sizes! };
      });
  });
  const batch = sharedMinigptBatch(samples.map(({ sample }) => sample), tokenizer, config);
  const answers = answerRows(samples, batch);
  const states = sizeStates(samples, answers, tokenizer, config);
  const wanted = samples.flatMap(({ sample: { answer }, image, picture, sizes }, s) => {
    const written = (end: number) => tokenizer.decode(answer.slice(0, end)).length;
    return sizeWords(tokenizer.decode(answer)).flatMap((start, n) => {
      // The token before which the text is not yet as far as the word.
      const token = answer.findIndex((_, t) => written(t + 1) > start);
      return rowsOf(image, config).edges(sizes[n]!)
        .map((at, coordinate) => ({ row: answers[s]![token]!, picture, at, coordinate }));
    });
  });
  assert(states.length > 40);
  assertEquals(states, wanted);
});
