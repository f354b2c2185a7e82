import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InputError } from "../errors.ts";
import { bleuCoco, bleuHf, bleuNltk, sentenceBleuMedplib, sentenceBleuVividmed } from "./bleu.ts";
import { cider, ciderLitegpt } from "./cider.ts";
import { matchChunks, meteor, meteorMatches } from "./meteor.ts";
import { porterStem } from "./porter.ts";
import { parsePunkt, splitSentences } from "./punkt.ts";
import { splitWhitespace } from "./python_text.ts";
import { longestCommonSubsequence, rouge, rougeLCoco } from "./rouge.ts";
import { cocoTokensApproximate, rougeTokens, tokens13a } from "./tokens.ts";
import { treebankTokens } from "./treebank_words.ts";
import { parseWordNet } from "./wordnet.ts";

Deno.test("a text against itself has the highest score, and texts without shared words 0", () => {
  const text = "there is a small left pleural effusion";
  const pair = { prediction: text, references: [text] };
  const tokens = { prediction: text.split(" "), references: [text.split(" ")] };
  assertEquals(bleuHf([pair]).bleu, 1);
  assertEquals(bleuNltk([tokens]), 1);
  assertAlmostEquals(bleuCoco([tokens])[3], 1, 1e-8);
  assertEquals(rouge(text, text).rouge2.f1, 1);
  assertEquals(rougeLCoco(text, [text]), 1);
  assertAlmostEquals(meteor(pair), 1 - 0.5 / 7 ** 3, 1e-12);
  assertAlmostEquals(
    cider([pair, { prediction: "no", references: ["yes"] }]).perSample[0],
    10,
    1e-9,
  );
  const other = { prediction: "clear lungs", references: [text] };
  assertEquals([bleuHf([other]).bleu, meteor(other), rouge("clear lungs", text).rouge1.f1], [
    0,
    0,
    0,
  ]);
});

Deno.test("BLEU by hand: clipping and the brevity penalty of each variant", () => {
  const pair = { prediction: "the the the", references: ["the cat", "the black cat sat"] };
  // One of three words counts; the shortest reference has two words.
  assertEquals(bleuHf([pair], { maxOrder: 1 }).bleu, 1 / 3);
  const tokens = {
    prediction: ["the", "the", "the"],
    references: pair.references.map(splitWhitespace),
  };
  // The closest lengths are 2 and 4, and the shorter wins.
  assertAlmostEquals(bleuNltk([tokens], [1]), 1 / 3, 1e-12);
  const short = { prediction: ["a"], references: [["a", "b", "c"]] };
  assertAlmostEquals(bleuNltk([short], [1]), Math.exp(1 - 3), 1e-12);
  assertEquals(sentenceBleuVividmed({ prediction: "  ", references: ["a"] }), 0);
  assertThrows(() => bleuHf([{ prediction: "", references: ["a"] }]), InputError);
  assertThrows(() => bleuHf([{ prediction: "a", references: [] }]), InputError);
  // MedPLIB's second score is the bigrams alone.
  assertEquals(sentenceBleuMedplib("a b c d", "a b x c d").bleu2, Math.exp(1 - 5 / 4) * 2 / 3);
});

Deno.test("ROUGE-Lsum takes the union over lines", () => {
  const { rougeL, rougeLsum } = rouge("b a\nc", "a b\nc");
  assertEquals(rougeL.f1, 2 / 3);
  assertEquals(rougeLsum.f1, 2 / 3);
  assertEquals(rouge("a b\nc d", "c d\na b").rougeLsum.f1, 1);
  assertEquals(rougeTokens("Naïve lungs", true), ["na", "ve", "lung"]);
});

Deno.test("the longest common subsequence is symmetric and bounded", () => {
  const words = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 12 });
  fc.assert(fc.property(words, words, (a, b) => {
    const length = longestCommonSubsequence(a, b);
    assertEquals(length, longestCommonSubsequence(b, a));
    assert(length <= Math.min(a.length, b.length));
    assertEquals(longestCommonSubsequence(a, a), a.length);
  }));
});

Deno.test("METEOR: stages and chunks", () => {
  const prediction = ["lungs", "are", "clear"], reference = ["clear", "lung", "is"];
  assertEquals(meteorMatches(prediction, reference), [[0, 1], [2, 0]]);
  const synonyms = (name: string) => name === "are" ? [["be", "is"], ["small_scale"]] : [];
  const matches = meteorMatches(prediction, reference, synonyms);
  assertEquals(matches, [[0, 1], [1, 2], [2, 0]]);
  assertEquals(matchChunks(matches), 2);
  assertEquals(meteor({ prediction: "yes", references: ["yes"] }), 0.5);
});

Deno.test("CIDEr in LiteGPT's order takes rarity from the predictions", () => {
  // The one shared word is rare among the references and in every prediction.
  const pairs = [
    { prediction: "effusion left", reference: "effusion right" },
    { prediction: "effusion small", reference: "clear lungs" },
    { prediction: "effusion large", reference: "normal heart" },
  ];
  assertEquals(ciderLitegpt(pairs).cider, 0);
  const standard = cider(pairs.map((one) => ({ ...one, references: [one.reference] })));
  assert(standard.cider > 0.1);
});

Deno.test("tokens of the schemes", () => {
  assertEquals(tokens13a("5-10 mm, don't &lt; well-known."), [
    "5",
    "-",
    "10",
    "mm",
    ",",
    "don't",
    "<",
    "well-known",
    ".",
  ]);
  assertEquals(treebankTokens('It isn\'t "clear".'), ["It", "is", "n't", "``", "clear", "''", "."]);
  assertEquals(cocoTokensApproximate("No (acute)\ndisease: clear!"), [
    "no",
    "acute",
    "disease",
    "clear",
  ]);
  assertEquals(splitWhitespace("a\x1cb\u00a0c\ufeffd"), ["a", "b", "c\ufeffd"]);
});

Deno.test("stems of clinical words", () => {
  const stems = { effusions: "effus", opacities: "opac", dying: "die", skies: "sky", is: "is" };
  for (const [word, stem] of Object.entries(stems)) assertEquals(porterStem(word), stem);
});

Deno.test("sentences with and without knowledge of abbreviations", () => {
  const text = 'Seen by dr. Smith. "Stable." No change.';
  const punkt = parsePunkt({
    "abbrev_types": ["dr"],
    collocations: [],
    "sent_starters": [],
    "ortho_context": {},
  });
  assertEquals(splitSentences(text, punkt), ["Seen by dr. Smith.", '"Stable."', "No change."]);
  assertEquals(splitSentences(text), ["Seen by dr.", "Smith.", '"Stable."', "No change."]);
  assertEquals(splitSentences(""), []);
  assertThrows(() => parsePunkt({ "abbrev_types": [1] }), InputError);
});

Deno.test("splitting loses nothing but white space", () => {
  const text = fc.string({ unit: fc.constantFrom("a", ".", " ", "?", '"', "\n", "B", ")", "1") });
  fc.assert(fc.property(text, (one) => {
    assertEquals(splitSentences(one).join("").replace(/\s/g, ""), one.replace(/\s/g, ""));
  }));
});

Deno.test("WordNet's files: base forms, exceptions, markers of adjectives", () => {
  const licence = "  1 This text stands for the licence.\n";
  const empty = {
    "index.adv": licence,
    "data.adv": licence,
    "index.verb": licence,
    "data.verb": licence,
  };
  const synonyms = parseWordNet({
    ...empty,
    "index.noun": `${licence}goose n 1 1 @ 1 0 00000010  \nlung n 1 0 1 1 00000020  \n`,
    "data.noun":
      "00000010 05 n 02 goose 0 fowl_bird 0 000 | a bird\n00000020 08 n 02 lung 0 Lights 0 000 | organ\n",
    "noun.exc": "geese goose\n",
    "index.adj": "clear a 1 0 1 0 00000030\n",
    "data.adj": "00000030 00 a 02 clear(p) 0 open 0 000 | not blocked\n",
  });
  assertEquals([...synonyms("geese")], [["goose", "fowl_bird"]]);
  assertEquals([...synonyms("Lungs")], [["lung", "Lights"]]);
  assertEquals([...synonyms("clearer")], [["clear", "open"]]);
  assertEquals([...synonyms("unknown")], []);
  assertThrows(() => parseWordNet(empty), InputError);
  assertThrows(
    () => parseWordNet({ ...empty, "index.noun": "a n 2 0 1 0 1", "data.noun": "" }),
    InputError,
  );
});
