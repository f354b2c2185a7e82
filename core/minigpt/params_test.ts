import { assertEquals, assertRejects } from "@std/assert";
import { checkpointSource, memoryFolder, memoryTensor } from "../checkpoint/mod.ts";
import { InputError } from "../errors.ts";
import {
  configOf,
  joinParts,
  llamaConfigFile,
  minigptParameters,
  paper,
  tableName,
  tiny,
  wholeConfig,
} from "./mod.ts";

function count(pattern: RegExp): number {
  return minigptParameters(paper).filter(({ name }) => pattern.test(name))
    .reduce((sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1), 0);
}

Deno.test("the published sizes have the published numbers of parameters", () => {
  assertEquals(count(/^visual_encoder\./), 985_894_528);
  assertEquals(count(/^(model|lm_head)\.(?!.*inv_freq)/), 6_738_415_616);
  // PeFoMed's paper says 56.63 million trained.
  assertEquals(count(/^llama_/), 56_627_200);
});

Deno.test("both spellings of adapters and whole states get the names of the table", () => {
  const at = "llama_model.base_model.model.model.layers.3.self_attn.";
  assertEquals(tableName(`${at}q_proj.lora_A.weight`), `${at}q_proj.lora_A.weight`);
  assertEquals(tableName(`${at}v_proj.lora_B.default.weight`), `${at}v_proj.lora_B.weight`);
  assertEquals(tableName(`${at}rotary_emb.inv_freq`), undefined);
  assertEquals(tableName("llama_proj.bias"), "llama_proj.bias");
  assertEquals(tableName("llama_model.base_model.model.lm_head.0.weight"), "lm_head.weight");
  assertEquals(
    tableName(`${at}q_proj.base_layer.weight`),
    "model.layers.3.self_attn.q_proj.weight",
  );
  assertEquals(tableName("llama_model.model.norm.weight"), "model.norm.weight");
  const tensors = new Map(
    ["lora_A.weight", "lora_A.default.weight"].map((name) => {
      const full = `${at}q_proj.${name}`;
      return [full, memoryTensor(full, "F32", [1, 1], new Uint8Array(4))];
    }),
  );
  const both = checkpointSource("both", tensors), none = checkpointSource("none", new Map());
  let message = "";
  try {
    joinParts("joined", { language: none, vision: none, trained: both });
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals(message.includes("two of its tensors"), true);
});

Deno.test("configurations that the model cannot have are refused by file and key", async () => {
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const tensors = checkpointSource(
    "shapes",
    new Map(
      minigptParameters(tiny).map(({ name, shape }) => {
        const bytes = new Uint8Array(4 * shape.reduce((product, extent) => product * extent, 1));
        return [name, memoryTensor(name, "F32", shape, bytes)];
      }),
    ),
  );
  const read = (whole: object, llama: object) =>
    configOf({
      folder: memoryFolder(
        "some",
        new Map([
          ["config.json", json({ ...wholeConfig(tiny), ...whole })],
          ["llama/config.json", json({ ...llamaConfigFile(tiny), ...llama })],
        ]),
      ),
      tensors,
    });
  const { stored: _, ...sizes } = await read({}, {});
  assertEquals(sizes, (({ stored: _, ...rest }) => rest)(tiny));
  const refuse = (whole: object, llama: object, ...includes: string[]) =>
    Promise.all(includes.map((text) => assertRejects(() => read(whole, llama), InputError, text)));
  await refuse({}, { "hidden_act": "gelu" }, "hidden_act", "llama/config.json");
  await refuse({}, { "rope_scaling": { type: "linear" } }, "rope_scaling");
  await refuse({}, { "hidden_size": 1.5 }, "hidden_size");
  await refuse({ vit: { "num_heads": 7 } }, {}, "num_heads");
  await refuse({ "lora_alpha": "16" }, {}, "lora_alpha");
  await refuse({ vit: { "image_size": 15 * 14 } }, {}, "llama_proj");
});
