import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { InputError } from "@medvlm/core";
import { jsonRecords } from "./json_records.ts";
import { collect, textFile } from "./readers_testing.ts";

Deno.test("elements and members are those of JSON.parse", async () => {
  const values = fc.array(fc.jsonValue(), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(values, fc.constantFrom(undefined, 1, "\t\r\n"), async (list, indent) => {
      const read = await collect(jsonRecords(textFile(JSON.stringify(list, null, indent))));
      assertEquals(read.map(({ value }) => value), JSON.parse(JSON.stringify(list)));
    }),
  );
  const names = fc.uniqueArray(fc.string({ unit: "binary", maxLength: 8 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(names, fc.jsonValue(), async (keys, value) => {
      const text = `{${keys.map((key) => `${JSON.stringify(key)} : ${JSON.stringify(value)}`)}}`;
      const read = await collect(jsonRecords(textFile(text)));
      assertEquals(read.map(({ key }) => key), keys);
      for (const record of read) assertEquals(record.value, JSON.parse(JSON.stringify(value)));
    }),
  );
});

Deno.test("elements across the borders of pieces, with their lines", async () => {
  const list = Array.from({ length: 6000 }, (_, index) => ({
    index,
    text: '\\"[]{},\n'.repeat(index % 90),
  }));
  const text = "\ufeff" + JSON.stringify(list, null, 1);
  assert(text.length > 3 * 2 ** 20);
  const read = await collect(jsonRecords(textFile(text)));
  assertEquals(read.map(({ value }) => value), list);
  assertEquals(read.map(({ line }) => line), list.map((_, index) => 2 + 4 * index));
});

Deno.test("a malformed element is named, the others are read", async () => {
  const read = await collect(jsonRecords(textFile('[1,\n{"a": tru},\n\n"b",\n2 3]')));
  assertEquals(read.map(({ value }) => value), [1, undefined, "b", undefined]);
  assertEquals(read.map(({ line }) => line), [1, 2, 4, 5]);
  assertStringIncludes(read[1].problem!, "not JSON");
});

Deno.test("files that are no list are refused with their position", async () => {
  const cases = [
    ["", "no array or object in line 1 at byte 0"],
    ["\n\n 3", "no array or object in line 3 at byte 3"],
    ["[1, 2", "ends inside the list in line 1 at byte 5"],
    ['[{"qid": 1},\n {"qid": 2, "ima', "ends inside the list in line 2 at byte 29"],
    ["[1,, 2]", "an element is missing in line 1 at byte 3"],
    ["[1,]", "an element is missing"],
    ["[1}", "a bracket of the other kind"],
    ["[1]\n[2]", "more after the end in line 2 at byte 4"],
  ];
  for (const [text, message] of cases) {
    const error = await assertRejects(
      () => collect(jsonRecords(textFile(text, "a.json"))),
      InputError,
    );
    assertEquals(error.code, "INVALID_JSON");
    assertStringIncludes(error.message, '"a.json"');
    assertStringIncludes(error.message, message);
  }
  assertEquals(await collect(jsonRecords(textFile(" { }\n"))), []);
});
