import { assert, assertEquals, assertRejects } from "@std/assert";
import { memoryFolder, openCheckpoint } from "../checkpoint/mod.ts";
import { HostDevice } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import type { Raster } from "../image/mod.ts";
import type { AnswerEvent } from "../plugin.ts";
import {
  chatPrompt,
  configOf,
  factorNames,
  initMinigpt,
  loadMinigpt,
  minigptParameters,
  openMinigpt,
  tiny,
} from "./mod.ts";

function picture(width = 60, height = 45): Raster {
  const data = Uint8Array.from({ length: width * height }, (_, i) => (i * 7) % 251);
  return { width, height, channels: 1, data, bitDepth: 8 };
}

async function answer(events: AsyncIterable<AnswerEvent>) {
  const all: AnswerEvent[] = [];
  for await (const event of events) all.push(event);
  const last = all.at(-1);
  assert(last?.type === "done");
  const text = all.map((event) => event.type === "token" ? event.text : "").join("");
  return { ...last.answer, streamed: text };
}

for (const format of ["official", "safetensors"] as const) {
  Deno.test(`a model saved as ${format} loads again as the same`, async () => {
    const device = new HostDevice();
    await using model = await initMinigpt(tiny, { device, seed: 4 });
    const folder = memoryFolder("saved");
    await model.save(folder, format);
    using tensors = await openMinigpt(folder);
    assertEquals(tensors.names().sort(), minigptParameters(tiny).map(({ name }) => name).sort());
    assertEquals(await configOf({ folder, tensors }), tiny);
    await using again = await loadMinigpt({ folder, tensors }, { device });
    assertEquals(again.untrained, false);
    const copy = memoryFolder("copy");
    await again.save(copy, format);
    for (const name of [...await folder.list(), "llama/tokenizer.model", "llama/config.json"]) {
      if (!await folder.has(name)) continue;
      using before = await folder.open(name);
      using after = await copy.open(name);
      assertEquals(await after.read(0, after.size), await before.read(0, before.size), name);
    }
  });
}

Deno.test("answers repeat, adapters act, and a prompt needs one place for the picture", async () => {
  const device = new HostDevice();
  await using model = await initMinigpt(tiny, { device, seed: 3 });
  const { live } = device.memory;
  const ask = () =>
    answer(
      model.run(chatPrompt("[refer] give me the location of left lung"), picture(), {
        maxNewTokens: 6,
        temperature: 1,
        seed: 2,
      }),
    );
  const first = await ask(), second = await ask();
  assertEquals(second.tokens, first.tokens);
  assertEquals(first.streamed.trim(), first.text);
  assertEquals(device.memory.live, live);
  // B starts at zero, so that a fresh adapter changes nothing.
  const { b } = factorNames("model.layers.0.self_attn.q_proj");
  const factor = model.parameters.tensor(b);
  factor.write(new Float32Array(factor.size).fill(0.5));
  assert((await ask()).tokens.join() !== first.tokens.join());
  const run = (prompt: string) => answer(model.run(prompt, picture(), { maxNewTokens: 1 }));
  await assertRejects(() => run("no picture"), InputError, "0 places");
  await assertRejects(
    () => run(chatPrompt("What is <ImageHere>?")),
    InputError,
    "2 places",
  );
  await assertRejects(() => run(chatPrompt("What? ".repeat(300))), InputError, "positions");
});

Deno.test("a folder without the parts is refused in one sentence", async () => {
  const bytes = new Uint8Array(4);
  const files = (names: string[]) =>
    memoryFolder("some", new Map(names.map((name) => [name, bytes])));
  const refuse = (names: string[], includes: string) =>
    assertRejects(() => openMinigpt(files(names)), InputError, includes);
  await refuse(["eva_vit_g.pth", "llama/config.json"], "trained checkpoint");
  await refuse(["eva_vit_g.pth", "a.pth", "b.pth"], '"a.pth", "b.pth"');
  await refuse(["eva_vit_g.pth", "checkpoint.pth"], "no folder inside");
  await refuse(["eva_vit_g.pth", "eva2.pth"], "vision tower");
  await assertRejects(() => openCheckpoint(files(["x.txt"])), InputError);
});
