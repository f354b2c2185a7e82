import { assertEquals } from "@std/assert";
import { blipCaption, blipQuestion } from "./blip_text.ts";

Deno.test("captions lose marks, capitals and outer blanks", () => {
  assertEquals(blipCaption(" A 3.5 cm mass (arrow);\n\nsee #2!\n"), "a 3 5 cm mass arrow see 2");
  assertEquals(blipCaption("a\tb\nc"), "a\tb\nc");
  assertEquals(blipCaption("a\x1c\x1db\ufeff\ufeffc"), "a b\ufeff\ufeffc");
  assertEquals(blipCaption("\n\n"), "");
});

Deno.test("questions keep their blanks and join what the marks stood between", () => {
  assertEquals(blipQuestion("  Is it 3.5 cm?  "), "  is it 35 cm?");
});

Deno.test("words beyond the limit go; a run of blanks counts as words in a question", () => {
  const words = Array.from({ length: 60 }, (_, i) => `w${i}`);
  assertEquals(blipCaption(words.join("  ")).split(" "), words.slice(0, 50));
  assertEquals(blipQuestion("a  b c", 3), "a  b");
  assertEquals(blipCaption("a b c d", 2), "a b");
});
