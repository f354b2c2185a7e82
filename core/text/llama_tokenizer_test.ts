import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InputError } from "../errors.ts";
import { bytesSource, type FolderSource } from "../files.ts";
import { type LlamaBehaviour, LlamaTokenizer } from "./llama_tokenizer.ts";
import { SentencePiece } from "./sentencepiece.ts";
import { loadLlamaTokenizer } from "./tokenizer_files.ts";

const golden = new URL("../../tests/golden/tokenizers/tiny/", import.meta.url);
const modelBytes = Deno.readFileSync(new URL("tokenizer.model", golden));
const model = SentencePiece.parse(modelBytes, "tokenizer.model");
const behaviours: LlamaBehaviour[] = [
  "4.31-legacy",
  "4.31-nonlegacy",
  "4.34-legacy",
  "4.34-nonlegacy",
];

function folder(files: Record<string, unknown>): FolderSource {
  const bytes = new Map(
    Object.entries(files).map(([name, value]) => [
      name,
      value instanceof Uint8Array
        ? Uint8Array.from(value)
        : new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value)),
    ]),
  );
  return {
    name: "somewhere",
    list: () => Promise.resolve([...bytes.keys()].sort()),
    has: (name) => Promise.resolve(bytes.has(name)),
    open: (name) => Promise.resolve(bytesSource(`somewhere/${name}`, bytes.get(name)!)),
  };
}

const make = (behaviour: LlamaBehaviour, tokens: string[] = []) =>
  new LlamaTokenizer(model, { behaviour }).withAddedTokens(tokens);

Deno.test("white space beside an added token is stripped by 4.31 and kept from 4.34", () => {
  const text = "It is \u2003<SEG> .";
  assertEquals(make("4.31-legacy", ["<SEG>"]).tokenize(text), ["▁It", "▁is", "<SEG>", "▁."]);
  assertEquals(
    make("4.34-legacy", ["<SEG>"]).tokenize("It is <SEG>."),
    ["▁It", "▁is", "▁", "<SEG>", "▁."],
  );
});

Deno.test("the longest added token wins", () => {
  const tokenizer = make("4.31-legacy", ["<gen_1>", "<gen_10>", "<gen_1"]);
  assertEquals(tokenizer.tokenize("<gen_10><gen_1><gen_1"), ["<gen_10>", "<gen_1>", "<gen_1"]);
  assertEquals(tokenizer.encode("<gen_10>"), [1, 1101]);
});

Deno.test("flags of added tokens are obeyed from 4.34", () => {
  const added = [{ content: "<a>", lstrip: true }, { content: "<b>", rstrip: true }, {
    content: "cat",
    singleWord: true,
  }];
  const tokenizer = new LlamaTokenizer(model, { behaviour: "4.34-nonlegacy" })
    .withAddedTokens(added);
  assertEquals(tokenizer.tokenize("x <a>"), ["▁x", "<a>"]);
  assertEquals(tokenizer.tokenize("<b> \n x").slice(1), ["<b>", "x"]);
  assert(tokenizer.tokenize("a cat sat").includes("cat"));
  assert(!tokenizer.tokenize("concat").includes("cat"));
});

Deno.test("an assigned pad token is skipped in decoding but not cut out of the text", () => {
  const tokenizer = make("4.31-legacy").withPadToken("$$");
  const ids = tokenizer.encode("a $$");
  assert(tokenizer.padId !== undefined && tokenizer.specialIds.has(tokenizer.padId));
  assertEquals(
    tokenizer.decode([...ids, tokenizer.padId], { skipSpecialTokens: true }).includes("$$"),
    false,
  );
  assertThrows(() => tokenizer.withPadToken("<none>"), InputError, "no such token");
});

Deno.test("streamed text equals the whole, whatever the ids, behaviour and options", () => {
  const id = fc.nat(model.size + 2);
  // Broken characters and special tokens are rare among random ids: draw them often.
  const ids = fc.array(fc.oneof(id, fc.integer({ min: 3, max: 258 }), fc.nat(2)), {
    maxLength: 30,
  });
  const any = fc.tuple(ids, fc.constantFrom(...behaviours), fc.boolean());
  const tokenizers = new Map(
    behaviours.map((behaviour) => [behaviour, make(behaviour, ["<SEG>", "<p>", "</p>"])]),
  );
  fc.assert(fc.property(any, ([sequence, behaviour, skipSpecialTokens]) => {
    const tokenizer = tokenizers.get(behaviour)!;
    const stream = tokenizer.streamDecoder({ skipSpecialTokens });
    const whole = tokenizer.decode(sequence, { skipSpecialTokens });
    let text = "";
    for (const one of sequence) {
      text += stream.push(one);
      assert(whole.startsWith(text), `"${text}" does not start "${whole}"`);
      assert(text.isWellFormed());
    }
    assertEquals(text + stream.flush(), whole);
  }));
});

Deno.test("a streamed character appears only when it is complete", () => {
  const stream = make("4.31-legacy").streamDecoder({ skipSpecialTokens: true });
  const bytes = [...new TextEncoder().encode("器")];
  assertEquals(bytes.map((byte) => stream.push(3 + byte)), ["", "", "器"]);
  assertEquals([stream.push(3 + 0xe5), stream.push(3 + 0x99), stream.flush()], [
    "",
    "",
    "\ufffd\ufffd",
  ]);
});

Deno.test("decoding gives plain text back in every behaviour", () => {
  const texts = fc.string({ unit: "grapheme", maxLength: 40 })
    .filter((text) => !/[▁<>]/.test(text) && !text.startsWith(" "));
  for (const behaviour of behaviours) {
    const tokenizer = make(behaviour);
    fc.assert(fc.property(texts, (text) => {
      assertEquals(tokenizer.decode(tokenizer.encode(text), { skipSpecialTokens: true }), text);
    }));
  }
});

Deno.test("batches need a pad token and room", () => {
  const tokenizer = make("4.31-legacy");
  const texts = ["a", "The lungs are clear."];
  assertThrows(
    () => tokenizer.encodeBatch(texts, { padding: "longest" }),
    InputError,
    "no pad token",
  );
  assertThrows(
    () => tokenizer.encodeBatch(texts, { truncation: true, maxLength: 1 }),
    InputError,
    "truncate to 1",
  );
  assertThrows(
    () => tokenizer.withPadToken("<unk>").encodeBatch(texts, { padding: "max_length" }),
    InputError,
    "maximal length",
  );
  assertEquals(tokenizer.encodeBatch([]), { inputIds: [], attentionMask: [] });
});

Deno.test("ids outside the vocabulary are refused", () => {
  assertThrows(() => make("4.31-legacy").decode([99999]), InputError, "token id 99999");
  assertThrows(() => make("4.31-legacy").decode([-200]), InputError, "token id -200");
});

Deno.test("a directory's own legacy setting decides, unless the behaviour is given", async () => {
  const files = { "tokenizer.model": modelBytes, "tokenizer_config.json": { "legacy": false } };
  const own = await loadLlamaTokenizer(folder(files), { release: "4.34" });
  assertEquals(own.options.behaviour, "4.34-nonlegacy");
  const fixed = await loadLlamaTokenizer(folder(files), { behaviour: "4.31-legacy" });
  assertEquals(fixed.options.behaviour, "4.31-legacy");
  const bare = await loadLlamaTokenizer(folder({ "tokenizer.model": modelBytes }), {
    release: "4.31",
  });
  assertEquals(bare.encode("a"), [1, 260]);
});

Deno.test("a special token that no file numbers is added at the end", async () => {
  const loaded = await loadLlamaTokenizer(
    folder({
      "tokenizer.model": modelBytes,
      "special_tokens_map.json": { "pad_token": "<pad>" },
      "added_tokens.json": { "<x>": 1100 },
    }),
    { release: "4.31" },
  );
  assertEquals([loaded.tokenToId("<x>"), loaded.padId, loaded.size], [1100, 1101, 1102]);
});

Deno.test("wrong tokenizer files are refused by name", async () => {
  const refuse = (files: Record<string, unknown>, message: string) =>
    assertRejects(
      () =>
        loadLlamaTokenizer(folder({ "tokenizer.model": modelBytes, ...files }), {
          release: "4.34",
        }),
      InputError,
      message,
    );
  await assertRejects(
    () => loadLlamaTokenizer(folder({}), { release: "4.31" }),
    InputError,
    "tokenizer.model",
  );
  await refuse({ "tokenizer_config.json": "{" }, "tokenizer_config.json");
  await refuse({ "tokenizer_config.json": [] }, "is not an object");
  await refuse({ "tokenizer_config.json": { "legacy": "yes" } }, "legacy is not true or false");
  await refuse({ "tokenizer_config.json": { "bos_token": 3 } }, "bos_token");
  await refuse({ "tokenizer_config.json": { "model_max_length": -1 } }, "model_max_length");
  await refuse({ "tokenizer_config.json": { "clean_up_tokenization_spaces": true } }, "clean_up");
  await refuse({ "added_tokens.json": { "<x>": "1" } }, "added_tokens.json");
  await refuse({ "added_tokens.json": { "<x>": 5 } }, "instead of");
  await refuse({ "added_tokens.json": { "<x>": 1e9 } }, "out of range");
  await refuse({ "added_tokens.json": { "<x>": 1100, "<y>": 1100 } }, "unique");
  await refuse(
    { "tokenizer_config.json": { "added_tokens_decoder": { "x": {} } } },
    "added_tokens_decoder",
  );
});
