import { assertEquals, assertRejects } from "@std/assert";
import { type CheckpointFolder, InputError } from "@medvlm/core";
import {
  checkpointSource,
  memoryFolder,
  renamedTensor,
  type TensorEntry,
} from "@medvlm/core/checkpoint";
import { initialSource } from "@medvlm/core/nn";
import { denseConfig } from "./assembly.ts";
import { type MedplibConfig, presets } from "./config.ts";
import { readMedplibConfig } from "./config_files.ts";
import { medplibParameters, names } from "./params.ts";
import { makeCompanions } from "./release_files.ts";
import { stageModel } from "./stage_start.ts";
import { stageOf } from "./stages.ts";

const experts = presets.tiny, dense = denseConfig(experts);

function folderOf(files: ReadonlyMap<string, Uint8Array>, name: string) {
  return memoryFolder(name, files as Map<string, Uint8Array<ArrayBuffer>>);
}

function saved(config: MedplibConfig, seed: number, name: string): CheckpointFolder {
  return {
    folder: folderOf(makeCompanions(config), name),
    tensors: initialSource(name, medplibParameters(config), seed),
  };
}

/** The tensors with this prefix under the names of a file of their own. */
function part(of: CheckpointFolder, prefix: string, as: string, files = new Map()) {
  const tensors = new Map<string, TensorEntry>();
  for (const tensor of of.tensors.entries()) {
    if (!tensor.name.startsWith(prefix)) continue;
    const name = as + tensor.name.slice(prefix.length);
    tensors.set(name, renamedTensor(tensor, name));
  }
  return { folder: folderOf(files, as), tensors: checkpointSource(as, tensors) };
}

const bytesOf = (model: { tensors: CheckpointFolder["tensors"] }, name: string) =>
  model.tensors.get(name)!.read();

Deno.test("experts come from the models of two stages, and the configuration says so", async () => {
  const recognition = saved(dense, 1, "recognition"), grounding = saved(dense, 2, "grounding");
  const parts = { recognition, grounding };
  const model = await stageModel({ parts }, stageOf("experts"), 7);
  const mlp = "model.layers.2.mlp.", up = "up_proj.weight";
  const expert = (n: number) => `${mlp}deepspeed_moe.experts.deepspeed_experts.${n}.${up}`;
  assertEquals(await bytesOf(model, expert(0)), await bytesOf(grounding, mlp + up));
  assertEquals(await bytesOf(model, expert(1)), await bytesOf(recognition, mlp + up));
  const files = folderOf(model.companions, "joined");
  // Saved and read again it is a model with experts.
  assertEquals(await readMedplibConfig({ folder: files, tensors: model.tensors }), {
    ...model.config,
  });
  assertEquals(model.config.moe, experts.moe);
});

Deno.test("a base is put together from a language model, a vision tower and a mask decoder", async () => {
  const whole = saved(dense, 3, "whole");
  const files = makeCompanions(dense);
  const [tower] = [...files.keys()].filter((name) => name.endsWith("/config.json"));
  // A language model of its own has fewer tokens than MedPLIB adds.
  const vocabulary = dense.llama.vocabulary - 267;
  const config = JSON.parse(new TextDecoder().decode(files.get("config.json")));
  const { vocab_size: _, ...rest } = config;
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const language = part(
    whole,
    "",
    "",
    new Map([
      ["config.json", json({ ...rest, "vocab_size": vocabulary, "moe": undefined })],
      ["tokenizer.model", files.get("tokenizer.model")!],
      ["tokenizer_config.json", files.get("tokenizer_config.json")!],
    ]),
  );
  const text = new Map(
    [...language.tensors.entries()].filter(({ name }) =>
      /^(model\.(layers|norm)|lm_head)/.test(name)
    ).map((tensor) => [tensor.name, tensor]),
  );
  const short = initialSource(
    "tables",
    medplibParameters({ ...dense, llama: { ...dense.llama, vocabulary } })
      .filter(({ name }) => /embed_tokens|lm_head/.test(name)),
    5,
  );
  for (const tensor of short.entries()) text.set(tensor.name, tensor);
  const parts = {
    language: { folder: language.folder, tensors: checkpointSource("language", text) },
    clip: part(whole, names.clip, "vision_model.", new Map([["config.json", files.get(tower!)!]])),
    sam: part(whole, names.sam, ""),
  };
  const model = await stageModel({ parts }, stageOf("alignment"), 7);
  // Nothing but a whole model says how many heads a small decoder has.
  const samDecoder = { ...dense.samDecoder, heads: 8 };
  assertEquals(model.config, { ...dense, samDecoder });
  for (
    const name of [`${names.sam}mask_decoder.iou_token.weight`, "model.layers.0.mlp.up_proj.weight"]
  ) {
    assertEquals(await bytesOf(model, name), await bytesOf(whole, name));
  }
  const table = await bytesOf(model, "lm_head.weight"),
    first = await bytesOf(parts.language, "lm_head.weight");
  assertEquals(table.subarray(0, first.length), first);
  assertEquals(table.length / first.length, dense.llama.vocabulary / vocabulary);
  assertEquals(model.tokenizer.tokenToId("<SEG>"), vocabulary);
  const again = folderOf(model.companions, "joined");
  assertEquals(await readMedplibConfig({ folder: again, tensors: model.tensors }), model.config);

  const { clip: _clip, ...blind } = parts;
  await assertRejects(
    () => stageModel({ parts: blind }, stageOf("alignment"), 7),
    InputError,
    "no vision tower; add --clip",
  );
});

Deno.test("starts that do not fit the stage are refused", async () => {
  const checkpoint = saved(dense, 1, "dense"), later = saved(experts, 1, "later");
  const cases = [
    [{ checkpoint }, "experts", "it has no experts"],
    [{ checkpoint: later }, "grounding", "it has experts"],
    [{ parts: { recognition: checkpoint } }, "experts", "give both"],
    [{ parts: { recognition: later, grounding: checkpoint } }, "experts", "experts already"],
    [{ parts: { recognition: checkpoint } }, "grounding", "with --checkpoint DIR"],
    [{ parts: {} }, "alignment", "with --checkpoint DIR"],
  ] as const;
  for (const [start, stage, words] of cases) {
    await assertRejects(() => stageModel(start, stageOf(stage), 0), InputError, words);
  }
});
