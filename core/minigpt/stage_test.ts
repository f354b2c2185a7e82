import { assert, assertEquals, assertRejects } from "@std/assert";
import { memoryFolder, openCheckpoint } from "../checkpoint/mod.ts";
import { HostDevice } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import type { TrainingExample } from "../plugin.ts";
import { type Stage, Trainer } from "../train/mod.ts";
import {
  imageTag,
  initMinigpt,
  loadMinigpt,
  type MinigptConfig,
  minigptParameters,
  openMinigpt,
  prepareMinigptStage,
  type Teach,
  tiny,
  trainingPrompt,
} from "./mod.ts";

const config: MinigptConfig = {
  ...tiny,
  llama: { ...tiny.llama, layers: 1 },
  vision: { ...tiny.vision, layers: 1, imageSize: 56, storedGrid: 4 },
};

const stage: Stage = {
  name: "grounding",
  purpose: "boxes",
  source: "test",
  after: "base",
  trains: ["llama_proj", "lora_"],
  losses: { ce: 1 },
  schedule: { kind: "constant", rate: 1e-2 },
  betas: [0.9, 0.999],
  weightDecay: 0.05,
  batch: 2,
  epochs: 1,
  maxTokens: 64,
  data: ["test"],
};

const teach: Teach = ({ prompt, answer }) => ({
  prompt: trainingPrompt(`${imageTag} [refer] ${prompt} `),
  answer,
});

function example(id: string, answer: string): TrainingExample {
  const data = Uint8Array.from({ length: 30 * 20 }, (_, i) => (i * 11) % 256);
  return {
    id,
    task: "ground-box",
    prompt: "where is left lung ?",
    answer,
    findings: [],
    image: { width: 30, height: 20, channels: 1, bitDepth: 8, data },
  };
}

Deno.test("a stage learns, measures and saves; only what it trains changes", async () => {
  const device = new HostDevice();
  const prepared = await prepareMinigptStage({ config }, stage, teach, 5);
  await using run = await prepared.open({ device, seed: 7 });
  const samples = [example("a", "{<1><2><3><4>}"), example("b", "yes")].map((one) =>
    run.sample(one)
  );
  const batch = run.batch(samples);
  assertEquals(
    Math.max(...(batch as { lengths: Uint32Array }).lengths),
    Math.max(
      ...["{<1><2><3><4>}", "yes"].map((answer) =>
        prepared.rows({ prompt: "where is left lung ?", answer })
      ),
    ),
  );
  const memory = prepared.memory({ dtype: "f32", batch: 2, rows: 60, recompute: false });
  // On the device rows of matrices are padded.
  const weights = memory.frozen + memory.trained;
  assert(weights <= run.weightBytes && run.weightBytes < 1.05 * weights);
  const before = await run.measure(batch);
  const trainer = new Trainer(device, {
    parameters: run.parameters,
    batches: () => Promise.resolve([batch]),
    loss: (one, step, part) => run.loss(one, step, part),
  }, { steps: 4, rate: () => 1e-2 });
  for await (const { loss } of trainer.run()) assert(Number.isFinite(loss));
  trainer[Symbol.dispose]();
  const after = await run.measure(batch);
  assert(after.answer_loss!.sum < before.answer_loss!.sum);
  const { targets } = batch as { targets: Int32Array };
  assertEquals(after.answer_loss!.count, targets.length);

  const folder = memoryFolder("saved");
  await run.save(folder);
  using saved = await openMinigpt(folder);
  const changed: string[] = [];
  for (const { name } of minigptParameters(config)) {
    const [own, first] = [saved.get(name)!, prepared.tensors.get(name)!];
    const [x, y] = [await own.read(), await first.read()];
    if (x.some((byte, i) => byte !== y[i])) changed.push(name);
  }
  assert(
    changed.length > 0 && changed.every((name) => /^llama_proj|lora_/.test(name)),
    `${changed}`,
  );
  await using again = await loadMinigpt({ folder, tensors: saved }, { device });
  assertEquals(again.config, config);

  // The next stage starts from what this one wrote.
  const next = await prepareMinigptStage(
    { checkpoint: { folder, tensors: saved } },
    stage,
    teach,
    0,
  );
  await using further = await next.open({ device, seed: 8 });
  const measured = await further.measure(batch);
  assert(Math.abs(measured.answer_loss!.sum - after.answer_loss!.sum) < 1e-4);
  const adapter = memoryFolder("adapter");
  await further.saveAdapter!(adapter);
  assertEquals(await adapter.list(), ["adapter_config.json", "adapter_model.safetensors"]);
  await assertRejects(
    () => Promise.resolve().then(() => further.sample(example("c", " "))),
    InputError,
    '"c"',
  );
});

Deno.test("a model is put together from LLaMA and a vision tower", async () => {
  const device = new HostDevice();
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const folder = memoryFolder("release", files);
  {
    await using model = await initMinigpt(config, { device, seed: 2 });
    await model.save(folder);
  }
  const inside = (name: string) =>
    memoryFolder(
      name,
      new Map(
        [...files].filter(([path]) => path.startsWith(`${name}/`))
          .map(([path, bytes]) => [path.slice(name.length + 1), bytes]),
      ),
    );
  const language = inside("llama");
  const file = (name: string) => memoryFolder(name, new Map([[name, files.get(name)!]]));
  const part = async (source: typeof language) => ({
    folder: source,
    tensors: await openCheckpoint(source),
  });
  const parts = { language: await part(language), vision: await part(file("eva_vit_g.pth")) };
  const fresh = await prepareMinigptStage({ parts }, stage, teach, 3);
  const a = "llama_model.base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
  assertEquals(fresh.tensors.get(a)!.shape, [64, config.llama.hiddenSize]);
  const trained = await part(file("checkpoint.pth"));
  const whole = await prepareMinigptStage({ parts: { ...parts, trained } }, stage, teach, 3);
  assertEquals(whole.tensors.get(a)!.shape, [config.adapters.rank, config.llama.hiddenSize]);
  await assertRejects(
    () => prepareMinigptStage({ parts: { language: parts.language } }, stage, teach, 3),
    InputError,
    "--vision",
  );
});
