import { assert, assertEquals, assertThrows } from "@std/assert";
import { HostDevice } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import { assertCloseTo } from "../kernels/kernel_testing.ts";
import { differentiate } from "../tensor/mod.ts";
import { AdamW } from "../train/mod.ts";
import {
  factorNames,
  ignoredLabel,
  imageRowCount,
  imageTag,
  initMinigpt,
  madeFiles,
  madeTokenizer,
  type MinigptBatch,
  minigptBatch,
  minigptLoss,
  minigptSample,
  sharedMinigptBatch,
  sharesPictures,
  tiny,
  trainingPrompt,
} from "./mod.ts";

const side = tiny.vision.imageSize;
const pixels = (seed: number) =>
  Float32Array.from({ length: 3 * side * side }, (_, i) => Math.sin(seed + i * 0.01));
const prompt = (question: string) => trainingPrompt(`${imageTag} ${question} `);
const tokenizer = await madeTokenizer(madeFiles(tiny));

function samples() {
  return [
    minigptSample(
      tokenizer,
      prompt("[refer] where is left lung ?"),
      "{<1><20><30><99>}",
      pixels(1),
    ),
    minigptSample(tokenizer, prompt("[vqa] is it normal ?"), "yes", pixels(2)),
  ];
}

Deno.test("a batch is as long as the longest prompt and the longest answer, whoever has them", () => {
  const [long, short] = samples();
  const batch = minigptBatch([long!, short!], tokenizer, tiny);
  const rows = (sample: typeof long) =>
    sample!.prompt[0].length + sample!.prompt[1].length + imageRowCount(tiny);
  assertEquals(batch.length, 1 + rows(long) + long!.answer.length);
  assertEquals([...batch.lengths], [batch.length, 1 + rows(short) + short!.answer.length]);
  const { padId, beginId, endId } = tokenizer;
  const row = (at: number) => batch.tokens[batch.source[at]!];
  assertEquals([row(0), row(batch.length)], [beginId, beginId]);
  assertEquals(row(batch.length + batch.lengths[1]!), padId);
  assertEquals(batch.labels.filter((label) => label === endId).length, 2);
  assertEquals([...batch.targets], [...long!.answer, ...short!.answer]);
  batch.targetRows.forEach((target, i) => assertEquals(batch.labels[target + 1], batch.targets[i]));
  const pictures = [...batch.source].filter((source) => source >= batch.tokens.length);
  assertEquals(pictures.length, 2 * imageRowCount(tiny));
});

Deno.test("answers are cut, padding inside them does not count, a batch must have some", () => {
  const make = (answer: string, maxAnswerTokens = 1024) =>
    minigptSample(tokenizer, prompt("?"), answer, pixels(0), { maxAnswerTokens });
  assertEquals(make("yes yes yes", 2).answer.length, 2);
  const padded = minigptBatch([make("$$ no")], tokenizer, tiny);
  assertEquals(padded.targets.includes(tokenizer.padId!), false);
  assert(padded.labels.filter((label) => label !== ignoredLabel).length >= 2);
  const nothing = { ...make("yes"), answer: [] };
  assertThrows(() => minigptBatch([nothing], tokenizer, tiny), InputError);
  const lower = prompt("?").toLowerCase();
  assertThrows(() => minigptSample(tokenizer, lower, "yes", pixels(0)), InputError, "0 places");
  assertEquals(
    minigptSample(tokenizer, lower, "yes", pixels(0), { placeholder: "<imagehere>" }).prompt.length,
    2,
  );
});

Deno.test("samples about one picture are learned from as if each came alone", async () => {
  const device = new HostDevice();
  const small = {
    ...tiny,
    llama: { ...tiny.llama, layers: 2 },
    vision: { ...tiny.vision, layers: 1 },
  };
  await using model = await initMinigpt(small, { device, seed: 3 });
  const { parameters: p } = model;
  const shared = pixels(7),
    make = (question: string, answer: string, of = shared) =>
      minigptSample(tokenizer, prompt(question), answer, of);
  const lower = prompt("[vqa] is it ?").replaceAll("Img", "img").replace("Here", "here")
    .replace("Image", "image");
  const all = [
    make("[refer] where is left lung ?", "{<1><20><30><99>}"),
    make("[vqa] is it normal ?", "yes"),
    make("[vqa] nodule ?", "no", pixels(8)),
    // Its picture comes behind other words.
    minigptSample(tokenizer, lower, "no", shared, { placeholder: "<imagehere>" }),
  ];
  assertEquals([sharesPictures(all), sharesPictures(samples())], [true, false]);
  const batch = sharedMinigptBatch(all, tokenizer, small);
  const side = tiny.vision.imageSize;
  assertEquals([batch.size, batch.prefixes!.count, batch.pixels.length], [4, 3, 2 * 3 * side ** 2]);
  const trained = ["llama_proj.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight"];
  const optimiser = new AdamW(device, [{
    parameters: trained.map((name) => ({ name, value: p.value(name) })),
  }]);
  const measure = async (one: MinigptBatch) => {
    using _scope = device.scope();
    const { value, gradients } = differentiate(
      device,
      optimiser.leaves,
      () => minigptLoss(p, one, small).total,
    );
    const [loss] = await value.readFloats();
    return { loss, read: await Promise.all(gradients.map((gradient) => gradient!.readFloats())) };
  };
  const own = await measure(minigptBatch(all, tokenizer, small)), found = await measure(batch);
  assertCloseTo([found.loss!], [own.loss!], { rtol: 1e-5, what: "loss" });
  trained.forEach((what, i) =>
    assertCloseTo(found.read[i]!, own.read[i]!, { nmse: 1e-8, atol: 1e-4, what })
  );
  const other = { ...all[1]!, prompt: [[5], [6]] as const };
  assertEquals(sharesPictures([...all, other]), false);
  const nothing = { ...all[0]!, answer: [] };
  assertThrows(() => sharedMinigptBatch([nothing, nothing], tokenizer, small), InputError);
  optimiser[Symbol.dispose]();
});

Deno.test("adapters and projection learn, with and without recomputation", async () => {
  const device = new HostDevice();
  const small = {
    ...tiny,
    llama: { ...tiny.llama, layers: 2 },
    vision: { ...tiny.vision, layers: 1 },
    adapters: { ...tiny.adapters, dropout: 0.2 },
  };
  await using model = await initMinigpt(small, { device, seed: 1 });
  const { parameters: p, adapters } = model;
  const batch = minigptBatch(samples(), tokenizer, small);
  const { a, b } = factorNames("model.layers.1.self_attn.v_proj");
  const trained = [a, b, "llama_proj.weight", "llama_proj.bias"];
  const optimiser = new AdamW(device, [{
    parameters: trained.map((name) => ({ name, value: p.value(name) })),
  }]);
  const step = async (recompute: boolean, seed: number) => {
    using _scope = device.scope();
    adapters.dropFor(seed);
    const { value, gradients } = differentiate(
      device,
      optimiser.leaves,
      () => minigptLoss(p, batch, small, { recompute }).total,
    );
    const loss = (await value.readFloats())[0]!;
    const read = await Promise.all(gradients.map((gradient) => gradient!.readFloats()));
    return { loss, read };
  };
  const kept = await step(false, 0), again = await step(true, 0), other = await step(false, 1);
  assertEquals(again.loss, kept.loss);
  assertEquals(again.read, kept.read);
  // B is zero in the beginning, so that what is dropped shows in its gradient alone.
  assertEquals(other.loss, kept.loss);
  assert(other.read[1]!.join() !== kept.read[1]!.join());
  const before = kept.loss;
  for (let n = 0; n < 5; n++) {
    using _scope = device.scope();
    const { gradients } = differentiate(
      device,
      optimiser.leaves,
      () => minigptLoss(p, batch, small).total,
    );
    optimiser.step(gradients, 1e-2);
  }
  adapters.dropNothing();
  const after = (await minigptLoss(p, batch, small).total.readFloats())[0]!;
  assert(after < before - 0.3, `${before} to ${after}`);
  optimiser[Symbol.dispose]();
});
