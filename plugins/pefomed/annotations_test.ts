import { assertEquals, assertThrows } from "@std/assert";
import { InputError } from "@medvlm/core";
import { keptRecords, readAnnotations } from "./annotations.ts";
import { drawPicture } from "./augment.ts";
import { judgedAnswers, reportRatings } from "./judging.ts";
import { evaluationQuestion, trainingInstruction, trainingPlaceholder } from "./prompt.ts";
import { stageOf, stages } from "./stages.ts";

Deno.test("annotation files of every class", async () => {
  assertEquals(readAnnotations("medicat", [{ image: "a/b.png", caption: "C" }]), [
    { image: "b.png", answer: "C" },
  ]);
  const reports = readAnnotations("mimiccxr", { "p/a.jpg": ["first", "second"], "b.jpg": ["x"] });
  assertEquals(reports.map(({ answer }) => answer), ["first", "x"]);
  const has = (image: string) => image === "b.jpg";
  assertEquals((await keptRecords("mimiccxr", reports, "train", has)).length, 1);
  assertEquals((await keptRecords("mimiccxr", reports, "evaluate", has)).length, 2);
});

Deno.test("files of another form are refused with the entry that is wrong", () => {
  const bad: readonly (readonly [Parameters<typeof readAnnotations>[0], unknown, string])[] = [
    ["roco", {}, "expected a list"],
    ["roco", [{ image: "a" }], 'entry 0 has no text "caption"'],
    ["vqa", [3], "entry 0 is no object"],
    ["mimiccxr", [], "expected an object"],
    ["mimiccxr", { a: [] }, '"a" has no report'],
  ];
  for (const [dataset, json, message] of bad) {
    assertThrows(() => readAnnotations(dataset, json), InputError, message);
  }
});

Deno.test("what the release leaves undone can be had repaired", () => {
  const repaired = { behaviour: "repaired" } as const;
  assertEquals(
    trainingInstruction("clef", "A photo of ", "", repaired),
    "<img><imagehere></img> [caption] a photo of",
  );
  assertEquals(evaluationQuestion("iuxray", "Describe it.", "", repaired), "[report] describe it");
  assertEquals(trainingPlaceholder(trainingInstruction("clef", "A photo of ")), "<ImageHere>");
  assertEquals(trainingPlaceholder(trainingInstruction("roco", "A photo of ")), "<imagehere>");
});

Deno.test("ratings off the scale and replies without a number are counted apart", () => {
  const { counts, unrated, weightedAverage } = reportRatings([4, 4, 0, 5, undefined]);
  assertEquals([counts, unrated, weightedAverage], [[1, 0, 0, 0, 2], 2, 8 / 3]);
  const of = (rating: number | undefined, answerType: string) => ({
    rating,
    answerType,
    questionType: answerType === "OPEN" ? "SIZE" : "PRES",
  });
  const judged = judgedAnswers([of(1, "OPEN"), of(5, "OPEN"), of(1, "CLOSED"), of(undefined, "")]);
  assertEquals(judged, {
    overall: { count: 3, right: 2 },
    open: { count: 2, right: 1 },
    closed: { count: 1, right: 1 },
    perQuestionType: { SIZE: { count: 2, right: 1 }, PRES: { count: 1, right: 1 } },
    unrated: 1,
  });
});

Deno.test("pictures are mirrored only where asked for", () => {
  const size = { width: 80, height: 60 };
  assertEquals(drawPicture(size, () => 0.4).mirrored, false);
  assertEquals(drawPicture(size, () => 0.4, true).mirrored, true);
});

Deno.test("every second stage starts from the first", () => {
  assertEquals(stages.map(({ after }) => after), ["base", ...Array(4).fill("captioning")]);
  assertEquals(stageOf("report").schedule.minRate, 1e-5);
  assertThrows(() => stageOf("vqa"), RangeError, "vqa-rad");
});
