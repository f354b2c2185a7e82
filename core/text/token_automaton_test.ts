import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { boxesPattern, boxPattern, groundedPattern } from "./box_grammar.ts";
import { type GridBox, gridBoxText } from "./box_text.ts";
import {
  byteAutomaton,
  type BytePattern,
  choice,
  literal,
  many,
  noneOf,
  oneOf,
  sequence,
} from "./byte_pattern.ts";
import { parseGroundedText } from "./grounded_text.ts";
import { LlamaTokenizer } from "./llama_tokenizer.ts";
import { SentencePiece } from "./sentencepiece.ts";
import { nextState, noState, tokenAutomaton } from "./token_automaton.ts";

const file = new URL("../../tests/golden/tokenizers/tiny/tokenizer.model", import.meta.url);
const model = SentencePiece.parse(Deno.readFileSync(file), "tokenizer.model");
const tokenizer = new LlamaTokenizer(model, { behaviour: "4.31-legacy" });

const matches = (pattern: BytePattern) => {
  const { next, accepts, start } = byteAutomaton(pattern);
  return (text: string) => {
    let state = start;
    for (const byte of new TextEncoder().encode(text)) {
      state = next[256 * state + byte]!;
      if (state < 0) return false;
    }
    return accepts[state] === 1;
  };
};

Deno.test("patterns match what regular expressions match", () => {
  const pattern = sequence(literal("a"), many(choice(oneOf("bc"), literal("dé"))), noneOf("ae"));
  const mine = matches(pattern), theirs = /^a(?:[bc]|dé)*[^aée\p{Cc}]$/u;
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."abcdéef\n"), maxLength: 6 }), (text) => {
      assertEquals(mine(text), theirs.test(text));
    }),
    { numRuns: 3000 },
  );
  assertThrows(() => byteAutomaton(choice()), RangeError, "matches nothing");
  assertThrows(() => oneOf("é"), RangeError, "ASCII");
});

Deno.test("the grammar of a box is that of the grid", () => {
  const isBox = matches(boxPattern);
  const number = fc.oneof(fc.nat(130).map(String), fc.constantFrom("00", "07", "", "-1", "1.5"));
  fc.assert(fc.property(fc.tuple(number, number, number, number), (numbers) => {
    const text = `{<${numbers.join("><")}>}`;
    const valid = numbers.every((one) => String(Number(one)) === one && /^\d+$/.test(one)) &&
      numbers.every((one) => Number(one) <= 100);
    assertEquals(isBox(text), valid);
  }));
  assert(
    !isBox("{<1><2><3><4>} ") && matches(boxesPattern())("{<1><2><3><4>}<delim>{<0><0><0><0>}"),
  );
});

/** A random walk of allowed tokens, ended as soon as the end token is drawn or allowed late. */
function walk(pattern: BytePattern, draws: readonly number[]): number[] {
  const automaton = tokenAutomaton(byteAutomaton(pattern), tokenizer);
  const tokens: number[] = [];
  for (let state = automaton.start, n = 0; n < 400; n++) {
    const allowed = [...automaton.classOf.keys()].filter((id) =>
      nextState(automaton, state, id) !== undefined
    );
    const id = n > 60 && allowed.includes(tokenizer.endId)
      ? tokenizer.endId
      : allowed[Math.floor(draws[n % draws.length]! * allowed.length)]!;
    tokens.push(id);
    if (id === tokenizer.endId) break;
    state = nextState(automaton, state, id)!;
  }
  return tokens;
}

const draws = fc.array(fc.double({ min: 0, max: 0.9999, noNaN: true }), { minLength: 1 });

Deno.test("whatever allowed tokens are drawn, the decoded text is in the grammar", () => {
  const isBox = matches(boxPattern), areBoxes = matches(boxesPattern());
  const isGrounded = matches(groundedPattern());
  fc.assert(
    fc.property(draws, (numbers) => {
      const decode = (pattern: BytePattern) => {
        const tokens = walk(pattern, numbers);
        const text = tokenizer.decode(tokens, { skipSpecialTokens: true });
        return { text, ended: tokens.at(-1) === tokenizer.endId };
      };
      const box = decode(boxPattern);
      assert(box.ended && isBox(box.text), box.text);
      const boxes = decode(boxesPattern());
      assert(!boxes.ended || areBoxes(boxes.text), boxes.text);
      const grounded = decode(groundedPattern());
      if (!grounded.ended) return;
      assert(isGrounded(grounded.text), grounded.text);
      const read = parseGroundedText(grounded.text);
      assert(read.phrases.every(({ closed, boxes }) => closed && boxes.length > 0));
    }),
    { numRuns: 25 },
  );
});

Deno.test("the usual tokens of a box are allowed, one after the other, then the end alone", () => {
  const automaton = tokenAutomaton(byteAutomaton(boxPattern), tokenizer, tokenizer.size + 3);
  assert(automaton.classes < 40 && automaton.classOf.length === tokenizer.size + 3);
  const box: GridBox = [0, 7, 56, 100];
  let state = automaton.start;
  for (const id of tokenizer.encode(gridBoxText(box), { addSpecialTokens: false })) {
    state = nextState(automaton, state, id)!;
    assert(state !== undefined);
  }
  const allowed = [...automaton.classOf.keys()].filter((id) =>
    automaton.next[state * automaton.classes + automaton.classOf[id]!] !== noState
  );
  assertEquals(allowed, [tokenizer.endId]);
  for (const id of [tokenizer.beginId, tokenizer.unknownId, tokenizer.size + 1]) {
    assertEquals(nextState(automaton, automaton.start, id), undefined);
  }
});

Deno.test("a vocabulary that cannot write the pattern is refused", () => {
  assertThrows(
    () => tokenAutomaton(byteAutomaton(literal("{")), tokenizer, 3),
    RangeError,
    "no token of the vocabulary",
  );
});
