import { assertEquals, assertThrows } from "@std/assert";
import { wordModel } from "./word_model.ts";
import { SentencePiece } from "./sentencepiece.ts";

Deno.test("frequent words are one piece, sizes are exact, other text is spelled", () => {
  const words = ["lung", "lungs", "lung", "left"], characters = [..."abcdefghijklmnopqrstuvwxyz"];
  const full = SentencePiece.parse(wordModel(words, characters, 320), "full");
  assertEquals(full.size, 320);
  assertEquals(full.encodePieces("lungs left"), ["▁lungs", "▁left"]);
  assertEquals(full.decode(full.encode("a lung, left")), "a lung, left");
  const bare = SentencePiece.parse(wordModel(words, characters, 259 + 27), "bare");
  assertEquals(bare.encodePieces("lung"), ["▁", "l", "u", "n", "g"]);
  assertThrows(() => wordModel(words, characters, 280), RangeError);
  const tags = SentencePiece.parse(wordModel(words, [...characters, "["], 320, ["left"]), "tags");
  assertEquals(tags.encodePieces("[left left"), ["▁", "[", "left", "▁left"]);
});
