import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { TextBox } from "./box_scanner.ts";
import { type GridBox, gridBoxText, gridToPixels, pixelsToGrid } from "./box_text.ts";
import { boxIn, type GroundedPart, parseGroundedText, writeGroundedText } from "./grounded_text.ts";

const outcomes = (text: string) =>
  parseGroundedText(text).boxes.map((one) =>
    one.outcome === "rejected"
      ? one.fault
      : [...one.box, ...(one.outcome === "repaired" ? one.repairs : [])]
  );

/** What models write, and what becomes of it. */
const fixtures: readonly (readonly [string, ...unknown[]])[] = [
  ["{<56><12><82><31>}", [56, 12, 82, 31]],
  ["{<0><0><100><100>}", [0, 0, 100, 100]],
  ["{<5><5><5><5>}", [5, 5, 5, 5]],
  ["the location is {<56><12><82><31>}.", [56, 12, 82, 31]],
  ["{<56><12><82><31>}{<1><2><3><4>}", [56, 12, 82, 31], [1, 2, 3, 4]],
  ["{<56><12><82><31>}<delim>{<1><2><3><4>}", [56, 12, 82, 31], [1, 2, 3, 4]],
  ["{<56><12><82><31>}</s>", [56, 12, 82, 31]],
  ["<unk>{<56><12><82><31>}", [56, 12, 82, 31]],
  ["{<56><unk><12><82><31>}", [56, 12, 82, 31, "blanks"]],
  ["{<56> <12> <82> <31>}", [56, 12, 82, 31, "blanks"]],
  ["{ < 5 6 > < 1 2 > < 8 2 > < 3 1 > }", [56, 12, 82, 31, "blanks"]],
  ["{<056><012><082><+31>}", [56, 12, 82, 31, "digits"]],
  ["{<5.5><12><82><31.0>}", [5, 12, 82, 31, "decimal"]],
  ["{<-5><12><82><131>}", [0, 12, 82, 100, "range"]],
  ["{<82><31><56><12>}", [56, 12, 82, 31, "order"]],
  ["{<82><12><56><31>}", [56, 12, 82, 31, "order"]],
  ["{<56><12><82><31>", [56, 12, 82, 31, "braces"]],
  ["<56><12><82><31>", [56, 12, 82, 31, "braces"]],
  ["<56><12><82><31>} and more", [56, 12, 82, 31, "braces"]],
  [
    "<56><12><82><31><1><2><3><4>",
    [56, 12, 82, 31, "braces"],
    [1, 2, 3, 4, "braces"],
  ],
  ["<56><12><82><31><delim>{<1><2><3><4>}", [56, 12, 82, 31, "braces"], [1, 2, 3, 4]],
  ["{56,12,82,31}", [56, 12, 82, 31, "brackets"]],
  ["{<56,<12><82><31>}", [56, 12, 82, 31, "brackets"]],
  ["[56, 12, 82, 31]", [56, 12, 82, 31, "brackets", "braces"]],
  ["(56,12,82,31)", [56, 12, 82, 31, "brackets", "braces"]],
  ["{ <105> <12><82><031> ", [82, 12, 100, 31, "blanks", "braces", "digits", "range", "order"]],
  ["{<56><12><82>}", "count"],
  ["{<56><12><82><31><9>}", "count"],
  ["{<1><2><3><4><5><6><7><8>}", "count"],
  ["{<56><12><82>", "truncated"],
  ["{<56><12><82><3", "truncated"],
  ["{56,12,82,3", "truncated"],
  ["{<" /* words */],
  ["{<><><><>}", "number"],
  ["{<1560><12><82><31>}", "number"],
  ["{<5-6><12><82><31>}", "number"],
  ["{<156><12><282><331>}", "outside"],
  ["{<10><-9><20><-2>}", "outside"],
  ["{<56><12><82><oops>} {<1><2><3><4>}", "count", [1, 2, 3, 4]],
  ["no finding"],
  [""],
  ["nodule <3 cm, {see above}, [1], (2, 3), a < b > c, {}"],
];

for (const [text, ...expected] of fixtures) {
  Deno.test(`boxes of ${JSON.stringify(text)}`, () => assertEquals(outcomes(text), expected));
}

Deno.test("boxes follow their phrase over blanks and delimiters, not over words", () => {
  const { phrases, boxes, words } = parseGroundedText(
    "there is <p>a left pneumothorax</p> {<1><2><3><4>}<delim>{<5><6><7><8>} and {<9><9><9><9>}",
  );
  assertEquals(phrases.map(({ text, boxes, closed }) => [text, boxes.length, closed]), [
    ["a left pneumothorax", 2, true],
  ]);
  assertEquals(boxes.length, 3);
  assertEquals(words, "there is a left pneumothorax  and ");
});

Deno.test("phrases without their closing tag end where their boxes start", () => {
  const { phrases } = parseGroundedText("<p>effusion {<1><2><3><4>} <p>heart<p>lung");
  assertEquals(phrases.map(({ text, span, boxes, closed }) => [text, span, boxes.length, closed]), [
    ["effusion", [3, 11], 1, false],
    ["heart", [30, 35], 0, false],
    ["lung", [38, 42], 0, false],
  ]);
});

Deno.test("encoding truncates in the published order of operations, decoding does not round", () => {
  assertEquals(pixelsToGrid([580, 0.9, 1000, 9], 1000, 1000), [57, 0, 100, 0]);
  assertEquals(gridBoxText(pixelsToGrid([-3, -20, 550, 500], 500, 400)), "{<0><-5><110><125>}");
  assertEquals(gridToPixels([56, 12, 82, 31], 2544, 3056), [
    1424.64,
    366.71999999999997,
    2086.08,
    947.36,
  ]);
});

Deno.test("words that would read as marks are not written", () => {
  for (const words of ["a <p> b", "</s>", "at {<1><2><3><4>}", "<7>"]) {
    assertThrows(() => writeGroundedText([words]), RangeError, "tags or boxes");
    assertThrows(() => writeGroundedText([{ phrase: words, boxes: [] }]), RangeError);
  }
});

const gridBox: fc.Arbitrary<GridBox> = fc.tuple(
  fc.nat(100),
  fc.nat(100),
  fc.nat(100),
  fc.nat(100),
).map(([a, b, c, d]) => [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)]);
const letters = fc.string({ unit: fc.constantFrom(..."ab {}.,<>é 1"), minLength: 1 });

Deno.test("what is written reads back", () => {
  fc.assert(fc.property(
    fc.array(fc.record({ phrase: letters, boxes: fc.array(gridBox, { maxLength: 3 }) })),
    fc.constantFrom("", " "),
    fc.constantFrom("<delim>", "", " "),
    (phrases, gap, delimiter) => {
      let text: string;
      const parts = phrases.flatMap((one): GroundedPart[] => [one, " so"]);
      try {
        text = writeGroundedText(parts, { gap, delimiter });
      } catch (error) {
        assert(error instanceof RangeError);
        return;
      }
      const read = parseGroundedText(text);
      assertEquals(
        read.phrases.map(({ text, boxes }) => ({ phrase: text, boxes: boxes.map(boxIn) })),
        phrases,
      );
      assert(read.boxes.every(({ outcome }) => outcome === "kept"));
    },
  ));
});

const pieces = fc.array(fc.oneof(
  fc.constantFrom("{", "}", "<", ">", "<p>", "</p>", "<delim>", "<unk>", ",", " ", "[", "]", "-"),
  fc.nat(200).map(String),
  fc.string({ maxLength: 3 }),
)).map((parts) => parts.join(""));

function check(text: string, one: TextBox, from: number): void {
  const [start, end] = one.span;
  assert(start >= from && end > start && end <= text.length);
  if (one.outcome === "rejected") return;
  const [x1, y1, x2, y2] = one.box;
  assert([...one.box].every((value) => Number.isInteger(value) && value >= 0 && value <= 100));
  assert(x1 <= x2 && y1 <= y2);
  if (one.outcome === "kept") assertEquals(text.slice(start, end), gridBoxText(one.box));
  else assertEquals(one.repairs.length, new Set(one.repairs).size);
}

Deno.test("any text parses: boxes apart, in order, inside the grid", () => {
  fc.assert(
    fc.property(fc.oneof(pieces, fc.string({ unit: "binary" })), (text) => {
      let end = 0;
      for (const one of parseGroundedText(text).boxes) {
        check(text, one, end);
        end = one.span[1];
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("long hostile texts are read in linear time", () => {
  for (const unit of ["{<", "<1>", "{<1>", "[1,", "<p>", "{ ", "< ", "<1 ", "{<1><2><3><4>"]) {
    const text = unit.repeat(20000);
    assert(parseGroundedText(text).words.length <= text.length);
  }
});
