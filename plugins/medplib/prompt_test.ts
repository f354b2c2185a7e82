import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError } from "@medvlm/core";
import { loadLlamaTokenizer } from "@medvlm/core/text";
import { openFolder } from "../../core/files.ts";
import {
  addedTokens,
  cutEvaluationPrompt,
  encodeMedplibPrompt,
  ignoredLabel,
  medplibPrompt,
  placeImage,
  takeMaskPath,
  trainingText,
} from "./prompt.ts";

const golden = new URL("../../tests/golden/medplib/tokenizer/tokenizer", import.meta.url).pathname;
const tokenizer = await loadLlamaTokenizer(await openFolder(golden), { behaviour: "4.31-legacy" });

Deno.test("267 tokens are added, in the released order", () => {
  assertEquals(addedTokens.length, 267);
  assertEquals(new Set(addedTokens).size, 267);
  assertEquals([0, 3, 9, 264, 265, 266].map((i) => addedTokens[i]), [
    "<SEG>",
    "<region>",
    "<gen_1>",
    "<gen_256>",
    "<im_start>",
    "<im_end>",
  ]);
});

Deno.test("the image goes to the front, or stays in place for in-context examples", () => {
  assertEquals(placeImage("What is this? <image>"), "<im_start><image><im_end>\nWhat is this?");
  assertEquals(placeImage("<image>\n"), "<im_start><image><im_end>");
  assertEquals(placeImage("no picture "), "no picture ");
  assertEquals(
    placeImage("a <image> b <image>", "in-place"),
    "a <im_start><image><im_end> b <im_start><image><im_end>",
  );
});

Deno.test("mask paths are taken out of the turns", () => {
  assertEquals(takeMaskPath("It is <SEG>.<mask>masks/a.png</mask>", "mask"), {
    turn: "It is <SEG>.",
    path: "masks/a.png",
  });
  assertEquals(takeMaskPath("Here <region>$&.png</region>?", "region"), {
    turn: "Here <region></region>?",
    path: "$&.png",
  });
  assertEquals(takeMaskPath("Here <region></region>?", "region"), {
    turn: "Here <region></region>?",
  });
  assertThrows(() => takeMaskPath("Here.<mask>a.png</mask>", "mask"), InputError, "no <SEG>");
  const two = "<region>a</region><region>b</region>";
  assertThrows(() => takeMaskPath(two, "region"), InputError, "2 <region> tags");
});

Deno.test("a prompt shows the image once, before the first question", () => {
  const prompt = medplibPrompt({
    question: "And here <region></region>? <image>",
    history: [{ question: "<image>\nWhat is it?", answer: " A liver. " }],
  });
  assert(prompt.endsWith(
    "questions. USER: <im_start><image><im_end>\nWhat is it? ASSISTANT: A liver.</s>" +
      "USER: And here <region></region>? ASSISTANT:",
  ));
  const ids = encodeMedplibPrompt(tokenizer, prompt);
  assertEquals(ids.filter((id) => id < 0), [-200, -300]);
  assertEquals(ids.filter((id) => id === tokenizer.beginId).length, 1);
  assertThrows(() => medplibPrompt({ question: " <image> " }), InputError, "question is empty");
});

Deno.test("several images each get a placeholder", () => {
  const ids = encodeMedplibPrompt(
    tokenizer,
    "<im_start><image><im_end> a <im_start><image><im_end>",
  );
  const [start, end] = [tokenizer.tokenToId("<im_start>"), tokenizer.tokenToId("<im_end>")];
  assertEquals(ids.slice(0, 4), [1, start, -200, end]);
  assertEquals(ids.slice(-3), [start, -200, end]);
});

Deno.test("only the leaking cut shows the beginning of an answer with a colon", () => {
  const { inputIds } = trainingText(tokenizer, [
    { from: "human", value: "<image>\nWhich organ?" },
    { from: "gpt", value: "The answer is A: spleen." },
  ]);
  const clean = cutEvaluationPrompt(tokenizer, inputIds);
  const leaking = cutEvaluationPrompt(tokenizer, inputIds, "last-colon");
  const text = (ids: number[]) => tokenizer.decode(ids.filter((id) => id >= 0));
  assert(text(clean).endsWith(" ASSISTANT:"));
  assert(text(leaking).endsWith(" ASSISTANT: The answer is A:"));
  assertThrows(() => cutEvaluationPrompt(tokenizer, [1]), InputError, "no ASSISTANT:");
});

Deno.test("answers and their closing tokens are the only targets", () => {
  const { inputIds, labels, answers } = trainingText(tokenizer, [
    { from: "gpt", value: "dropped" },
    { from: "human", value: "<image>\nWhat is shown at <region></region>?" },
    { from: "gpt", value: "A liver." },
    { from: "human", value: "Segment it." },
    { from: "gpt", value: "<SEG>" },
  ]);
  assertEquals(answers, ["A liver.", "<SEG>"]);
  const targets = labels.filter((label) => label !== ignoredLabel);
  assertEquals(
    targets.map((id) => tokenizer.idToToken(id)).join("|"),
    "▁A|▁l|iv|er|.|</s>|<SEG>|</s>",
  );
  assert(labels.every((label, i) => label === ignoredLabel || label === inputIds[i]));
});

Deno.test("a sample whose rounds cannot be counted is ignored as a whole", () => {
  const { labels } = trainingText(tokenizer, [
    { from: "human", value: "<image>\nWhat?" },
    { from: "gpt", value: "It is <unk>." },
  ]);
  assert(labels.every((label) => label === ignoredLabel));
});
