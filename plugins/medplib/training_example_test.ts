import { assertEquals, assertThrows } from "@std/assert";
import { InputError, type Mask, type TrainingExample } from "@medvlm/core";
import { groundedAnswer, recordOf, unionOf } from "./training_example.ts";

const image = { width: 3, height: 2, channels: 1, bitDepth: 8, data: new Uint8Array(6) } as const;
const mask = (...data: number[]): Mask => ({ width: 3, height: 2, data: Uint8Array.from(data) });
const left = mask(1, 0, 0, 1, 0, 0), right = mask(0, 0, 1, 0, 0, 1), top = mask(1, 1, 1, 0, 0, 0);

function example(rest: Partial<TrainingExample>): TrainingExample {
  return {
    id: "e",
    task: "vqa",
    image,
    prompt: "What is it?",
    answer: "a lung",
    findings: [],
    ...rest,
  };
}

const finding = (label: string, masks: readonly Mask[], start?: number) => ({
  label,
  boxes: [],
  masks,
  ...(start === undefined ? {} : { span: [start, start + 5] as const }),
});

Deno.test("questions and answers become turns, the picture first", () => {
  const { turns, masks, region } = recordOf(example({
    history: [{ question: "Is it a chest?", answer: "yes" }],
    // Masks of an example that asks for text are of no use.
    findings: [finding("lung", [left])],
  }));
  assertEquals(turns, [
    { from: "human", value: "<image>\nIs it a chest?" },
    { from: "gpt", value: "yes" },
    { from: "human", value: "What is it?" },
    { from: "gpt", value: "a lung" },
  ]);
  assertEquals([masks, region], [undefined, undefined]);
});

Deno.test("a region is marked in the question, and earlier turns about places are left out", () => {
  const regions = [{ kind: "box", box: [0, 0, 1, 2] }] as const;
  const { turns, region } = recordOf(example({
    task: "region-vqa",
    regions,
    history: [
      { question: "What is <region></region>?", answer: "the heart" },
      { question: "Is it large?", answer: "no" },
    ],
  }));
  assertEquals(region, left);
  assertEquals(turns.map(({ value }) => value), [
    "<image>\nIs it large?",
    "no",
    "What is it <region></region>?",
    "a lung",
  ]);
  const marked = recordOf(example({ regions, prompt: "Is <region></region> a lung?" }));
  assertEquals(marked.turns[0]!.value, "<image>\nIs <region></region> a lung?");
});

Deno.test("every <SEG> gets its mask; an answer without one gets the published kind of answer", () => {
  const lungs = [finding("right", [right], 20), finding("left", [left, top], 5)];
  const of = (answer: string, findings = lungs) =>
    recordOf(example({ task: "ground-mask", answer, findings }));
  const all = unionOf([right, left, top]);
  assertEquals(all, mask(1, 1, 1, 1, 0, 1));
  assertEquals(of("Both lungs.").turns.at(-1)!.value, groundedAnswer);
  assertEquals(of("Both lungs.").masks, [all]);
  assertEquals(of("It is <SEG>.").masks, [all]);
  // Two findings in the order of the text, or three masks one by one.
  assertEquals(of("left <SEG>, right <SEG>").masks, [unionOf([left, top]), right]);
  assertEquals(of("<SEG> <SEG> <SEG>").masks, [right, left, top]);
  assertEquals(left, mask(1, 0, 0, 1, 0, 0));
});

Deno.test("examples that nothing can be learned from are refused", () => {
  const cases: [Partial<TrainingExample>, string][] = [
    [{ answer: " " }, "its answer is empty"],
    [{ prompt: "" }, "its question is empty"],
    [{ prompt: "What is <region></region>?" }, "the dataset has none for it"],
    [{
      regions: [{ kind: "point", x: 1, y: 1 }, { kind: "point", x: 2, y: 1 }],
    }, "it has 2 regions"],
    [{ task: "ground-mask", answer: "here" }, "has no mask for it"],
    [{ task: "ground-box", findings: [finding("lung", [])] }, "has no mask for it"],
    [{
      task: "ground-mask",
      answer: "<SEG> <SEG> <SEG>",
      findings: [finding("a", [left]), finding("b", [right])],
    }, "3 <SEG> for 2 findings with 2 masks"],
  ];
  for (const [rest, words] of cases) {
    const error = assertThrows(() => recordOf(example(rest)), InputError, words);
    assertEquals(error.code, "BAD_RECORD");
  }
});
