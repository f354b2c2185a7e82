import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { type FileSource, InputError } from "@medvlm/core";
import { csvRecords, csvRows, splitFields } from "./csv.ts";
import { textRecords } from "./text_records.ts";
import { collect, textFile } from "./readers_testing.ts";

const quote = (field: string) => `"${field.replaceAll('"', '""')}"`;
const needsQuotes = (field: string) => /^"|[,\r\n]/.test(field);

Deno.test("written tables read back, whatever the fields hold", async () => {
  const field = fc.oneof(
    fc.string({ unit: "binary", maxLength: 12 }),
    fc.string({ unit: fc.constantFrom('"', ",", "\n", "\r", "a", " "), maxLength: 8 }),
  ).filter((text) => text.isWellFormed());
  const table = fc.array(fc.array(field, { minLength: 2, maxLength: 5 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(table, fc.boolean(), fc.boolean(), async (rows, always, windows) => {
      const end = windows ? "\r\n" : "\n";
      const text = rows.map((row) =>
        row.map((value) => always || needsQuotes(value) ? quote(value) : value).join(",")
      ).join(end);
      const read = await collect(csvRows(textFile("\ufeff" + text)));
      // Rows of blanks only cannot be told from blank lines.
      const kept = rows.filter((row) => always || row.join(",").trim() !== "");
      assertEquals(read.map((row) => row.fields), kept);
    }),
    { numRuns: 300 },
  );
});

/** A file that is read in pieces of one mebibyte, so that borders fall inside records. */
Deno.test("records across the borders of pieces", async () => {
  const rows = Array.from({ length: 9000 }, (_, index) => [
    `id${index}`,
    `${'long, "quoted"\n'.repeat(index % 23)}é${index}`,
    "x".repeat(index % 401),
  ]);
  const text = rows.map((row) => row.map(quote).join(",")).join("\n");
  assert(text.length > 3 * 2 ** 20);
  const read = await collect(csvRows(textFile(text)));
  assertEquals(read.map((row) => row.fields), rows);
  const lines = text.split("\n");
  for (const { fields, line } of read) assertStringIncludes(lines[line - 1], fields![0]);
});

Deno.test("a quote inside a field is an ordinary character", () => {
  assertEquals(splitFields('5" nail,a ""b"",c'), ['5" nail', 'a ""b""', "c"]);
  assertEquals(splitFields('"a"b,'), ["ab", ""]);
  assertEquals(splitFields(""), [""]);
  assertEquals(splitFields('"a""'), "a quote is not closed");
  assertEquals(splitFields("a|b,c|d", "|"), ["a", "b,c", "d"]);
  assertEquals(splitFields(",".repeat(5000)), "more than 4096 columns");
});

Deno.test("an inner quote does not join rows", async () => {
  const read = await collect(csvRows(textFile('a,5" nail\nb,6"" nail\nc,"two\nlines"\nd,e\n')));
  assertEquals(read.map(({ fields, line }) => [fields, line]), [
    [["a", '5" nail'], 1],
    [["b", '6"" nail'], 2],
    [["c", "two\nlines"], 3],
    [["d", "e"], 5],
  ]);
});

Deno.test("malformed rows have a line and a reason", async () => {
  const bytes = new TextEncoder().encode('id,text\na,b\nonly one\nx,?\n\nc,d,further\ne,"open');
  bytes[bytes.indexOf(0x3f)] = 0xff;
  const read = await collect(csvRecords(textFile(bytes), ["id", "text"]));
  assertEquals(read.map(({ line, problem }) => [line, problem]), [
    [2, undefined],
    [3, "1 fields instead of 2"],
    [4, "not UTF-8 text"],
    [6, undefined],
    [7, "a quote is not closed"],
  ]);
  assertEquals({ ...read[3].values }, { id: "c", text: "d" });
});

Deno.test("tables without their columns are refused", async () => {
  const missing = await assertRejects(
    () => collect(csvRecords(textFile("id,x\n1,2\n", "a.csv"), ["id", "text"])),
    InputError,
  );
  assertEquals(missing.code, "INVALID_TABLE");
  assertStringIncludes(missing.message, 'no column "text"');
  await assertRejects(() => collect(csvRecords(textFile(""), ["id"])), InputError, "empty");
});

Deno.test("a quote that is never closed does not fill the memory", async () => {
  let read = 0;
  const endless: FileSource = {
    name: "endless.csv",
    size: 2 ** 40,
    read(_, length) {
      read += length;
      const bytes = new Uint8Array(length).fill(0x61);
      if (read === length) bytes[0] = 0x22;
      return Promise.resolve(bytes);
    },
    [Symbol.dispose]() {},
  };
  const error = await assertRejects(() => collect(csvRows(endless)), InputError);
  assertEquals(error.code, "TOO_LARGE");
  assert(read < 2 ** 25);
});

Deno.test("lines know nothing of quotes", async () => {
  const read = await collect(textRecords(textFile('"a\r\n\r\n b\nc')));
  assertEquals(read, [{ text: '"a', line: 1 }, { text: " b", line: 3 }, { text: "c", line: 4 }]);
});
