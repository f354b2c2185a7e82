import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { severityWord } from "../phantoms/chest_report.ts";
import { chestPhantom, splitIndex } from "../phantoms/mod.ts";
import {
  drawFamilyLessons,
  type FamilyLesson,
  familyLessons,
  familyPictures,
  singlePhrases,
  teachBase,
} from "./minigpt_lessons.ts";
import { stepRandom } from "./pool.ts";

const source = { size: 64, seed: 5, count: 12 };

Deno.test("names and phrases are asked for where one box is right", () => {
  for (let n = 0; n < 12; n++) {
    const phantom = chestPhantom({ size: 64, seed: 5, index: splitIndex("train", n) });
    const lessons = familyLessons(phantom);
    for (const [kind, taught] of lessons) {
      const boxes = taught.findings.flatMap(({ boxes }) => boxes);
      assertEquals(boxes.length, kind === "thing" || kind === "phrase" ? 1 : 0);
      assertEquals(taught.regions?.length ?? 0, kind === "identify" ? 1 : 0);
    }
    const nodules = phantom.findings.filter(({ label }) => label === "Nodule/Mass").length;
    const asked = lessons.some(([kind, { prompt }]) => kind === "thing" && prompt === "nodule");
    assertEquals(asked, nodules === 1);
    for (const { label, box } of singlePhrases(phantom)) {
      const own = phantom.findings.filter((finding) => finding.label === label);
      assertEquals(own.some((finding) => finding.box.join() === box.join()), true);
    }
  }
});

Deno.test("lessons become prompts of the family with answers in its grammar", () => {
  const pool = familyPictures(source);
  const mix = { identify: 1, thing: 1, phrase: 1, closed: 1 };
  const size = { pictures: 12, each: 4 };
  for (const example of drawFamilyLessons(pool, mix, size, stepRandom(1, 0, 0))) {
    const { prompt, answer } = teachBase(example);
    assertEquals(prompt.split("<ImageHere>").length, 2);
    const tag = /\[(refer|vqa|identify)\]/.exec(prompt)![1];
    const boxText = /^\{(<\d{1,3}>){4}\}$/;
    assertEquals(boxText.test(answer), tag === "refer");
    if (tag === "vqa") assertEquals(["yes", "no"].includes(answer), true);
    if (tag === "identify") assertEquals(/\{(<\d{1,3}>){4}\}/.test(prompt), true);
  }
});

Deno.test("all lessons of a base have the picture behind the same tag", () => {
  const phantom = chestPhantom({ size: 64, seed: 5, index: splitIndex("train", 1) });
  for (const [kind, taught] of familyLessons(phantom)) {
    const { prompt } = teachBase({ ...taught, image: phantom.image });
    assertStringIncludes(prompt, "<Img><ImageHere></Img>", kind);
    assertEquals(prompt.toLowerCase().split("<img>").length, 2);
  }
});

Deno.test("findings are asked for in both systems' words", () => {
  for (const split of ["train", "validate"] as const) {
    const phantom = chestPhantom({ size: 64, seed: 5, index: splitIndex(split, 3) });
    const lessons = new Map(familyLessons(phantom));
    for (const kind of ["caption", "report"] as const) {
      const { prompt } = teachBase({ ...lessons.get(kind)!, image: phantom.image });
      assertStringIncludes(prompt, `[${kind}]`);
    }
  }
});

Deno.test("a step's lessons are the same every time, and their answers are of one length", () => {
  const pool = familyPictures(source);
  const mix = { caption: 1, report: 1, closed: 2, thing: 2 } as const;
  const kinds = new Set<string>();
  for (let step = 0; step < 20; step++) {
    const size = { pictures: 4, each: 3 };
    const draw = () => drawFamilyLessons(pool, mix, size, stepRandom(1, step, 0));
    const drawn = draw();
    assertEquals(
      draw().map(({ id, prompt }) => id + prompt),
      drawn.map(({ id, prompt }) => id + prompt),
    );
    const lengths = drawn.map(({ task }) =>
      task === "vqa" || task === "ground-box" ? task : "long"
    );
    assertEquals(new Set(lengths).size, 1);
    // Lessons about a picture follow each other, none twice.
    assertEquals(drawn.length, lengths[0] === "long" ? 4 : 12);
    assertEquals(new Set(drawn.map(({ image }) => image)).size <= 4, true);
    kinds.add(lengths[0]!);
  }
  assertEquals(kinds.size, 3);
  const none = familyPictures({ ...source, count: 2, prevalence: { normal: 1, each: 0 } });
  const only = { phrase: 1 } as Partial<Record<FamilyLesson, number>>;
  assertThrows(
    () => drawFamilyLessons(none, only, { pictures: 1, each: 1 }, stepRandom(1, 0, 0)),
    RangeError,
    "phrase",
  );
});

Deno.test("questions say where what they ask for is, on the side they ask for", () => {
  for (let n = 0; n < 20; n++) {
    const phantom = chestPhantom({ size: 64, seed: 8, index: splitIndex("train", n) });
    const boxes = (label: string, side?: string) =>
      phantom.findings.filter((one) => one.label === label && (!side || one.side === side))
        .map(({ box }) => box);
    for (const [kind, { about, prompt, answer, shows }] of familyLessons(phantom)) {
      if (kind === "yesno" && /normal|heart size/.test(about!)) assertEquals(shows, undefined);
      else if (kind === "yesno") {
        const [label, side] = about!.split(", ");
        assertEquals(shows, boxes(label!, side));
        assertEquals(shows!.length > 0, answer === "yes");
      } else if (kind === "open" && /nodules|the nodule/.test(prompt)) {
        assertEquals(shows, boxes("Nodule/Mass"));
      } else if (kind === "open" && /kind|modality/.test(prompt)) assertEquals(shows, undefined);
      else if (kind === "thing" || kind === "phrase") assertEquals(shows!.length, 1);
    }
  }
});

Deno.test("every drawn lesson knows what is in its picture and how large", () => {
  const pool = familyPictures({ ...source, prevalence: { normal: 0.3, each: 0.5 } });
  const size = { pictures: 12, each: 2 };
  for (const { image, sized } of drawFamilyLessons(pool, { yesno: 1 }, size, stepRandom(1, 0, 0))) {
    const n = [...Array(source.count).keys()].find((n) => pool.at(n).image === image)!;
    const { findings } = chestPhantom({
      ...{ size: source.size, seed: source.seed, index: splitIndex("train", n) },
      prevalence: { normal: 0.3, each: 0.5 },
    });
    assertEquals(
      sized,
      findings.map((finding) => ({ word: severityWord(finding), box: finding.box })),
    );
  }
});
