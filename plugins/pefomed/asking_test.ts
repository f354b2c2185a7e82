import { assertEquals } from "@std/assert";
import type { Raster, TrainingExample } from "@medvlm/core";
import { HostDevice } from "@medvlm/core/device";
import type { MinigptAnswerer } from "@medvlm/core/minigpt";
import { ask } from "./asking.ts";
import { pefomed } from "./mod.ts";
import { teach } from "./teaching.ts";

const image: Raster = {
  width: 3,
  height: 2,
  channels: 1,
  bitDepth: 8,
  data: new Uint8Array(6),
};

Deno.test("requests become the prompts of the released evaluation", async () => {
  const { tiny } = pefomed.presets;
  const small = {
    ...tiny!,
    llama: { ...tiny!.llama, layers: 1 },
    vision: { ...tiny!.vision, layers: 1 },
  };
  const how = { device: new HostDevice(), seed: 1 };
  await using model = await pefomed.init(small, how) as MinigptAnswerer;
  const question = (prompt: string, task?: "vqa" | "report" | "caption", repaired = false) =>
    ask(
      { image, prompt, ...(task ? { task } : {}) },
      repaired ? { behaviour: "repaired" } : {},
      model.inner,
    ).question;
  const short = "[vqa] based on the image, respond to this question with a short answer";
  assertEquals(question(" Is it OK? "), `${short} is it ok?`);
  assertEquals(question("[vqa] Is it OK?", "vqa"), "[vqa] is it ok?");
  assertEquals(question("Describe it.", "report"), "[caption] describe it");
  assertEquals(question("Describe it.", "report", true), "[report] describe it");
  assertEquals(question("A photo of ", "caption"), "[caption] a photo of");
});

Deno.test("lessons are those of the released dataset classes", () => {
  const example: TrainingExample = {
    id: "7",
    image,
    task: "vqa",
    prompt: "Is it OK?",
    answer: "Yes: it (is).",
    findings: [],
  };
  const { prompt, answer, placeholder } = teach(example);
  assertEquals([answer, placeholder], ["yes it is", "<imagehere>"]);
  assertEquals(
    /^\[INST\] <img><imagehere><\/img> \[vqa\] .*is it ok\? \[\/INST\]$/.test(prompt),
    true,
  );
  const report = teach({ ...example, task: "report", answer: "Heart size is 3.5." });
  assertEquals(report.prompt.startsWith("[INST] <img><imagehere></img> [report] "), true);
  assertEquals(report.answer, "heart size is 3 5");
});
