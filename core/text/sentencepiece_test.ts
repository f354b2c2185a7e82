import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InputError } from "../errors.ts";
import { SentencePiece } from "./sentencepiece.ts";
import {
  buildSentencePieceModel,
  parseSentencePieceModel,
  type Piece,
  type SentencePieceModel,
  writeSentencePieceModel,
} from "./sentencepiece_model.ts";

const golden = new URL("../../tests/golden/tokenizers/tiny/", import.meta.url);
const modelBytes = Deno.readFileSync(new URL("tokenizer.model", golden));
const tiny = SentencePiece.parse(modelBytes, "tokenizer.model");

const model = (pieces: Piece[], more: Partial<SentencePieceModel> = {}): SentencePiece =>
  new SentencePiece({
    pieces: [{ text: "<unk>", score: 0, type: "unknown" }, ...pieces],
    byteFallback: false,
    unkSurface: " \u2047 ",
    addDummyPrefix: false,
    removeExtraWhitespaces: false,
    escapeWhitespaces: true,
    ...more,
  });
const normal = (text: string, score: number): Piece => ({ text, score, type: "normal" });

Deno.test("decoding gives the text back for every text without a literal space symbol", () => {
  const texts = fc.string({ unit: "binary", maxLength: 60 }).filter((text) => !text.includes("▁"));
  fc.assert(fc.property(texts, (text) => {
    assertEquals(tiny.decode(tiny.encode(text)), text.toWellFormed());
  }));
});

Deno.test("equal scores merge the leftmost pair first", () => {
  const ab = model([normal("a", -9), normal("aa", -1)]);
  assertEquals(ab.encodePieces("aaa"), ["aa", "a"]);
  assertEquals(ab.encodePieces("aaaaa"), ["aa", "aa", "a"]);
});

Deno.test("scores are compared as float32", () => {
  // These two differ as doubles only.
  const bytes = writeSentencePieceModel(
    model([
      normal("ab", -1 - 1e-12),
      normal("bc", -1),
      ..."abc".split("").map((c) => normal(c, -5)),
    ]).model,
  );
  assertEquals(SentencePiece.parse(bytes, "t").encodePieces("abc"), ["ab", "c"]);
});

Deno.test("unused pieces merge on the way and are split again", () => {
  const pieces = [normal("a", -9), normal("b", -9), normal("c", -9), normal("abc", -2)];
  const split = model([...pieces, { text: "ab", score: -1, type: "unused" }]);
  assertEquals(split.encodePieces("abab"), ["a", "b", "a", "b"]);
  assertEquals(split.encodePieces("abc"), ["abc"]);
});

Deno.test("user-defined pieces are cut out first and never merge", () => {
  const fixed = model([
    normal("ab", -1),
    normal("a", -5),
    normal("b", -5),
    { text: "bb", score: 0, type: "user-defined" },
  ]);
  assertEquals(fixed.encodePieces("abba"), ["a", "bb", "a"]);
});

Deno.test("without byte fallback neighbouring unknown characters become one unknown id", () => {
  const plain = model([normal("a", -1)]);
  assertEquals(plain.encode("xya\u{1f600}z"), [0, 1, 0]);
  assertEquals(plain.encodePieces("xya\u{1f600}z"), ["xy", "a", "\u{1f600}z"]);
  assertEquals(plain.decode([0, 1]), " \u2047 a");
});

Deno.test("the white-space switches of the model are obeyed", () => {
  const pieces = [normal("▁", -2), normal("a", -1), normal(" ", -3)];
  const squeezed = model(pieces, { addDummyPrefix: true, removeExtraWhitespaces: true });
  assertEquals(squeezed.encodePieces("  a   a  "), ["▁", "a", "▁", "a"]);
  assertEquals(squeezed.encodePieces("   "), []);
  assertEquals(model(pieces, { escapeWhitespaces: false }).encodePieces("a a"), ["a", " ", "a"]);
});

Deno.test("every broken byte becomes its own U+FFFD", () => {
  const bytes = (...list: number[]) => tiny.decode(list.map((byte) => 3 + byte));
  assertEquals(bytes(0xe5, 0x99), "\ufffd\ufffd");
  assertEquals(bytes(0xe5, 0x99, 0xa8, 0xff), "器\ufffd");
  assertEquals(bytes(0xed, 0xa0, 0x80), "\ufffd\ufffd\ufffd");
  assertEquals(bytes(0xc0, 0x80, 0x41), "\ufffd\ufffdA");
  assertEquals(bytes(0xf0, 0x9f, 0x98, 0x80), "\u{1f600}");
  assertEquals(bytes(0xf0, 0x9f, 0x41), "\ufffd\ufffdA");
  assertEquals(bytes(0xef, 0xbf, 0xbd), "\ufffd");
});

Deno.test("a long text without merges is not quadratic in memory or results", () => {
  const text = "lung ".repeat(20000);
  assertEquals(tiny.decode(tiny.encode(text)), text);
});

Deno.test("writing and reading a model gives the same model", () => {
  const again = parseSentencePieceModel(writeSentencePieceModel(tiny.model), "copy");
  assertEquals(again, tiny.model);
});

Deno.test("a built model has Llama's layout and merges its pieces", () => {
  const built = SentencePiece.parse(
    buildSentencePieceModel(["▁▁", "▁l", "un", "▁lun", "▁lung", "g", "▁"]),
    "built",
  );
  assertEquals([built.pieceToId("<s>"), built.pieceToId("</s>"), built.pieceToId("<0xFF>")], [
    1,
    2,
    258,
  ]);
  assertEquals(built.encodePieces("lung lung"), ["▁lung", "▁lung"]);
  assertEquals(built.encodePieces("\n"), ["▁", "<0x0A>"]);
  assertThrows(() => buildSentencePieceModel(["a", "a"]), InputError, `repeats "a"`);
});

Deno.test("damaged models give an InputError and nothing else", () => {
  const onlyInputErrors = (bytes: Uint8Array) => {
    try {
      SentencePiece.parse(bytes, "fuzzed").encode("The lungs are clear");
    } catch (error) {
      assert(error instanceof InputError, String(error));
    }
  };
  const position = fc.nat(modelBytes.length - 1);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), onlyInputErrors));
  fc.assert(fc.property(position, (at) => onlyInputErrors(modelBytes.subarray(0, at))));
  const flips = fc.array(fc.tuple(position, fc.nat(255)), { minLength: 1, maxLength: 8 });
  fc.assert(fc.property(flips, (list) => {
    const bytes = modelBytes.slice();
    for (const [at, value] of list) bytes[at] = value;
    onlyInputErrors(bytes);
  }));
  // The settings are at the end of the file.
  fc.assert(fc.property(fc.nat(200), fc.nat(255), (back, value) => {
    const bytes = modelBytes.slice();
    bytes[bytes.length - 1 - back] = value;
    onlyInputErrors(bytes);
  }));
});

Deno.test("unsupported models are refused by name", () => {
  const bytes = (trainer: number[], normalizer: number[] = []) =>
    Uint8Array.from([
      0x0a,
      9,
      0x0a,
      5,
      0x3c,
      0x75,
      0x6e,
      0x6b,
      0x3e,
      0x18,
      2,
      0x12,
      trainer.length,
      ...trainer,
      0x1a,
      normalizer.length,
      ...normalizer,
    ]);
  const parse = (...args: Parameters<typeof bytes>) =>
    parseSentencePieceModel(bytes(...args), "m.model");
  assertEquals(parse([0x18, 2]).pieces.length, 1);
  assertThrows(() => parse([]), InputError, `"m.model": its model type is unigram`);
  assertThrows(() => parse([0x18, 9]), InputError, "number 9");
  assertThrows(() => parse([0x18, 2], [0x12, 1, 0]), InputError, "character map");
  assertThrows(
    () => parseSentencePieceModel(new Uint8Array(0), "m.model"),
    InputError,
    "no pieces",
  );
});
