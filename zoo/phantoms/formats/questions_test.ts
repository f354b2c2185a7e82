import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { Example } from "@medvlm/core";
import type { PhantomCase } from "./case.ts";
import { caption, shownLabels } from "./captions.ts";
import { checkPictures, type Written, written } from "./formats_testing.ts";
import {
  choiceQuestions,
  omniKinds,
  shortQuestions,
  slakeKinds,
  vqaMedKinds,
  vqaRadKinds,
} from "./questions.ts";

/** Question, answer, kind of answer and part. */
type Row = readonly [string, string, string | undefined, string | undefined];

const row = ({ prompt, answer, answerType, split }: Example): Row => [
  prompt,
  answer,
  answerType,
  split,
];

function expected({ cases }: Written, of: (one: PhantomCase) => readonly Example[]): Row[] {
  return cases.flatMap((one) => of(one).map((example) => row({ ...example, split: one.split })));
}

for (const kind of ["cxr", "ct"] as const) {
  Deno.test(`VQA-RAD, SLAKE, PathVQA and VQA-Med are read back as written: ${kind}`, async () => {
    for (const name of ["vqa-rad", "slake", "path-vqa", "vqa-med"]) {
      const set = await written(name, { kind }), examples = await set.read();
      assertEquals(examples.map(row), expected(set, shortQuestions), name);
      assert(examples.length > 50);
      await checkPictures(set, examples);
      // Examples of one case, and of no other, share a picture.
      assertEquals(new Set(examples.map(({ image }) => image)).size, set.cases.length);
    }
  });

  Deno.test(`multiple choice: the answer is one of four different choices, in no fixed place: ${kind}`, async () => {
    for (const name of ["pmc-vqa", "omnimedvqa"]) {
      const set = await written(name, { kind }), examples = await set.read();
      const open = examples.filter(({ choices }) => choices!.length === 4);
      const wanted = set.cases.flatMap(choiceQuestions);
      assertEquals(
        open.map(({ prompt, answer, choices }) => [prompt, answer, choices]),
        wanted.map(({ prompt, answer, choices }) => [prompt, answer, choices]),
      );
      const places = new Set<number>();
      for (const { answer, choices } of open) {
        assertEquals(new Set(choices).size, 4);
        places.add(choices!.indexOf(answer));
      }
      assertEquals(places.size, 4);
      const closed = examples.filter(({ choices }) => choices!.length === 2);
      assertEquals(closed.length > 0, name === "omnimedvqa");
      await checkPictures(set, examples);
    }
  });
}

Deno.test("kinds of question have the names that the datasets use", async () => {
  for (
    const [name, kinds] of [
      ["vqa-rad", vqaRadKinds],
      ["slake", slakeKinds],
      ["omnimedvqa", omniKinds],
    ] as const
  ) {
    const set = await written(name), examples = await set.read();
    const known = new Map(
      set.cases.flatMap(shortQuestions).map((one) => [one.prompt, one.category!]),
    );
    for (const { prompt, category } of examples) {
      assertEquals(category, kinds[known.get(prompt)!]);
      assertNotEquals(category, undefined);
    }
  }
  const set = await written("vqa-med"), examples = await set.read({ split: "test" });
  assert(examples.some(({ category }) => category === vqaMedKinds.modality));
});

Deno.test("SLAKE's boxes and label pictures are those of the phantoms", async () => {
  const { cases, bytes } = await written("slake", { count: 4 });
  const names = new TextDecoder().decode(await bytes("mask.txt")).trim().split("\n")
    .map((line) => line.split(":")[1]);
  for (const { number, things } of cases) {
    const base = `imgs/xmlab${number}`;
    const boxes = JSON.parse(new TextDecoder().decode(await bytes(`${base}/detection.json`)));
    assertEquals(
      boxes,
      things.map(({ label, box: [x0, y0, x1, y1] }) => ({ [label]: [x0, y0, x1 - x0, y1 - y0] })),
    );
    assert(things.every(({ label }) => names.includes(label)));
  }
});

Deno.test("captions, keywords and conversations are read back as written", async () => {
  const set = await written("roco"), examples = await set.read();
  assertEquals(
    examples.map(({ answer, labels, split }) => [answer, labels, split]),
    set.cases.map((one) => [caption(one), shownLabels(one), one.split]),
  );
  await checkPictures(set, examples);

  const talks = await written("llava-med"), turns = await talks.read();
  const captions = turns.filter(({ task }) => task === "caption");
  assertEquals(captions.map(({ answer }) => answer), talks.cases.map(caption));
  const asked = turns.filter(({ task }) => task === "vqa");
  assertEquals(
    asked.map(({ prompt, answer }) => [prompt, answer]),
    talks.cases.flatMap((one) =>
      shortQuestions(one).filter(({ answerType }) => answerType === "open")
        .map(({ prompt, answer }) => [prompt, answer])
    ),
  );
  assert(asked.some(({ history }) => history && history.length > 1));
  assert(turns.every(({ attributes }) => attributes!.modality === "chest_xray"));
});
