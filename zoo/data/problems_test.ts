/** Malformed records, missing pictures, strict reading. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { InputError } from "@medvlm/core";
import { datasets, type Problem } from "./mod.ts";
import { collect, folderOf, readAllExamples } from "./readers_testing.ts";

const odd = (name: string) =>
  Deno.readFile(new URL(`../../tests/golden/odd/${name}`, import.meta.url));

Deno.test("truncated JSON is an error that names file and position", async () => {
  const folder = folderOf({ "trainset.json": await odd("vqa_truncated.json"), "images/a.jpg": "" });
  const reading = datasets.vqa_rad.read(folder);
  const error = await assertRejects(() => collect(reading), InputError);
  assertEquals(error.code, "INVALID_JSON");
  assertStringIncludes(error.message, "trainset.json");
  assertStringIncludes(error.message, "line 1 at byte 84");
  assertEquals([reading.read, reading.skipped], [1, 0]);
});

Deno.test("a record whose picture is missing is counted, or fatal when strict", async () => {
  const folder = folderOf({ "trainset.json": await odd("vqa_missing_image.json") });
  const { examples, problems } = await readAllExamples("vqa_rad", folder);
  assertEquals(examples, []);
  assertEquals(problems, [{
    file: "trainset.json",
    line: 1,
    message: 'there is no file "images/does_not_exist.jpg"',
  }]);
  const strict = await assertRejects(
    () => collect(datasets.vqa_rad.read(folder, { strict: true })),
    InputError,
  );
  assertEquals(strict.code, "INVALID_RECORD");
  assertStringIncludes(strict.message, '"trainset.json" line 1');
  assertStringIncludes(strict.message, "does_not_exist.jpg");
  const kept = await readAllExamples("vqa_rad", folder, { missingImages: "keep", strict: true });
  assertEquals(kept.examples.map(({ image }) => image), ["images/does_not_exist.jpg"]);
});

Deno.test("malformed records do not stop the others", async () => {
  const folder = folderOf({
    "trainset.json": `[
 {"qid": 1, "image_name": "a.jpg", "question": "Q?", "answer": "A"},
 {"qid": 2, "image_name": "a.jpg", "question": "", "answer": "A"},
 {"qid": 3, "image_name": "a.jpg", "question": "Q?", "answer": null},
 {"qid": 4, "image_name": ["a.jpg"], "question": "Q?", "answer": "A"},
 "five", {"qid": 6, "image_name": "../a.jpg", "question": "Q?", "answer": "A"},
 {"qid": 7, "image_name": "a.jpg", "question": "Q?" "answer": "A"},
 {"qid": 8, "image_name": "a.jpg", "question": "Q?", "answer": "A"}
]`,
    "images/a.jpg": "",
  });
  const { examples, problems } = await readAllExamples("vqa_rad", folder);
  assertEquals(examples.map(({ id }) => id), ["1", "8"]);
  assertEquals(problems.slice(0, -1).map(({ line, message }) => `${line}: ${message}`), [
    '3: "question" is no text',
    '4: "answer" is no text',
    '5: "image_name" is no text',
    "6: the record is not an object",
    '6: the file name "images/../a.jpg" leaves the folder',
  ]);
  assertEquals(problems.at(-1)?.line, 7);
});

Deno.test("counts are there while reading", async () => {
  const record = (name: string) => ({ qid: name, image_name: name, question: "Q?", answer: "A" });
  const list = ["a.jpg", "b.jpg", "a.jpg", "c.jpg"].map(record);
  const seen: Problem[] = [];
  const reading = datasets.slake.read(
    folderOf({ "test.json": JSON.stringify(list), "imgs/a.jpg": "" }),
    { report: (problem) => seen.push(problem) },
  );
  const counts: number[][] = [];
  for await (const _ of reading) counts.push([reading.read, reading.skipped, seen.length]);
  assertEquals(counts, [[1, 0, 0], [2, 1, 1]]);
  assertEquals([reading.read, reading.skipped], [2, 2]);
});

Deno.test("a folder without the dataset's files is named", async () => {
  for (const reader of Object.values(datasets)) {
    const error = await assertRejects(
      () => collect(reader.read(folderOf({ "nothing/of/use": "" }))),
      InputError,
    );
    assertEquals(error.code, "NOT_FOUND");
    assertStringIncludes(error.message, `as ${reader.name}`);
  }
});

Deno.test("pictures may lie in another folder", async () => {
  const record = { "qid": 1, "image_name": "a.jpg", "question": "Q?", "answer": "A" };
  const { examples } = await readAllExamples(
    "vqa_rad",
    folderOf({ "testset.json": JSON.stringify([record]) }),
    { images: folderOf({ "a.jpg": "" }) },
  );
  assertEquals(examples.map(({ image, split }) => [image, split]), [["a.jpg", "test"]]);
});
