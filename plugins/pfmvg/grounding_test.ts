import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { InputError, type Raster, type TrainingExample } from "@medvlm/core";
import { HostDevice } from "@medvlm/core/device";
import type { MinigptAnswerer, MinigptConfig } from "@medvlm/core/minigpt";
import { parseGroundedText } from "@medvlm/core/text";
import { answerPhrases, boxAgreement, type PfmvgOptions } from "./grounding.ts";
import { pfmvg } from "./mod.ts";
import { pools } from "./prompt.ts";
import { teach } from "./teaching.ts";

const size = { width: 1000, height: 500 };

Deno.test("boxes of an answer in pixels, under the label or under their phrase", () => {
  assertEquals(answerPhrases("{<10><20><30><40>} {<90><80><110><70>", "nodule", size), [
    {
      text: "nodule",
      span: [0, 37],
      boxes: [[100, 100, 300, 200], [900, 350, 1000, 400]],
      masks: [],
    },
  ]);
  const text = "a <p>heart</p>{<10><20><30><40>}, {<1><2><3><4>} <p>none</p>";
  assertEquals(answerPhrases(text, "it", size).map(({ text, span }) => [text, span]), [
    ["heart", [5, 10]],
    ["it", [34, 48]],
  ]);
  assertEquals(answerPhrases("no finding {<1>", "it", size), []);
});

const example: TrainingExample = {
  id: "a",
  task: "ground-box",
  prompt: "Left Effusion.",
  answer: "Left Effusion.",
  image: { ...size, channels: 1, bitDepth: 8, data: new Uint8Array(500000) },
  findings: [{ label: "Pleural Effusion", boxes: [[100, 5, 300, 499]], masks: [] }],
};

Deno.test("lessons: a phrase to its box, a report to its words", () => {
  const lesson = teach(example);
  assert(
    /^\[INST\] <Img><ImageHere><\/Img> \[refer\] .*left effusion.* {2}\[\/INST\]$/.test(
      lesson.prompt,
    ),
  );
  assertEquals(lesson.answer, "{<10><1><30><99>}");
  assertEquals(teach({ ...example, task: "report", answer: "No EFFUSION." }).answer, "no effusion");
  const drawn = new Set(
    Array.from({ length: 200 }, (_, i) => teach({ ...example, id: `s${i}` }).prompt),
  );
  assertEquals(drawn.size, pools.refer.length);
  assertThrows(() => teach({ ...example, findings: [] }), InputError, "it has 0");
});

Deno.test("constrained answers are one box whatever the weights say, beams and consensus too", async () => {
  const { tiny } = pfmvg.presets;
  const small: MinigptConfig = {
    ...tiny!,
    llama: { ...tiny!.llama, layers: 1 },
    vision: { ...tiny!.vision, layers: 1 },
  };
  const device = new HostDevice();
  await using model = await pfmvg.init(small, { device, seed: 2 }) as MinigptAnswerer<PfmvgOptions>;
  const image: Raster = {
    width: 30,
    height: 20,
    channels: 1,
    bitDepth: 8,
    data: new Uint8Array(600),
  };
  const request = { image, prompt: "left effusion", task: "ground-box" } as const;
  for (const options of [{ seed: 1, temperature: 2 }, { beams: 3 }, { consensus: 3 }, {}]) {
    const all = { ...options, constrained: true, maxNewTokens: 30 };
    for await (const event of model.answer(request, all)) {
      if (event.type !== "done") continue;
      const { text, phrases, finish } = event.answer;
      assertEquals(finish, "stop");
      const [box] = parseGroundedText(text).boxes;
      assert(box!.outcome !== "rejected" && box!.span[1] === text.length, text);
      assertEquals(phrases.map((phrase) => [phrase.text, phrase.boxes.length]), [[
        "left effusion",
        1,
      ]]);
    }
  }
  const search = async () => {
    for await (const _ of model.answer(request, { beams: 2, temperature: 1 })) { /* all of it */ }
  };
  await assertRejects(search, InputError, "temperature 0");
  const both = async () => {
    for await (const _ of model.answer(request, { beams: 2, consensus: 4 })) { /* all of it */ }
  };
  await assertRejects(both, InputError, "consensus of 4 answers with 2 beams");
  assertEquals(boxAgreement("{<0><0><10><10>}", "{<0><0><10><20>}"), 0.5);
  assertEquals(boxAgreement("{<0><0><10><10>}", "no idea"), 0);
});
