import { assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { openFolder } from "../files.ts";
import { memoryFolder } from "./memory_folder.ts";
import { collectLora, openAdapter, parsePeftName, saveAdapter, withSavedTensors } from "./peft.ts";
import {
  formatLoraConfig,
  isSavedModule,
  moduleScaling,
  parseLoraConfig,
  targetModules,
} from "./peft_config.ts";
import { checkpointSource } from "./source.ts";
import { memoryTensor } from "./tensor_data.ts";

const golden = new URL("../../tests/golden/training/lora/", import.meta.url).pathname;
const open = async (name: string) => await openAdapter(await openFolder(golden + name));

Deno.test("adapter folders of peft 0.2 and 0.10 open with the scaling peft computes", async () => {
  using mini = await open("minigpt_like_r8_a2_peft_0.2.0");
  assertEquals(mini.modules.map(({ module, scaling }) => [module, scaling]), [
    ["model.layers.0.self_attn.q_proj", 0.25],
    ["model.layers.0.self_attn.v_proj", 0.25],
    ["model.layers.1.self_attn.q_proj", 0.25],
    ["model.layers.1.self_attn.v_proj", 0.25],
  ]);
  assertEquals([mini.modules[0].a.shape, mini.modules[0].b.shape], [[8, 12], [16, 8]]);

  using rslora = await open("rslora_r4_a8");
  assertEquals(rslora.modules.map(({ scaling }) => scaling), [4, 4, 4, 4]);

  using embedding = await open("regex_target_embedding");
  assertEquals(
    embedding.modules.map(({ module, embedding, scaling }) => [module, embedding, scaling]),
    [["model.embed_tokens", true, 2], ["model.layers.0.self_attn.o_proj", false, 2]],
  );
  for (
    const folder of [
      "vividmed_like_rslora_modules_to_save",
      "vividmed_like_rslora_modules_to_save/as_bin",
    ]
  ) {
    using adapter = await open(folder);
    assertEquals(adapter.modules.map(({ module }) => module).toSorted(), [
      "lm_head",
      "model.layers.0.self_attn.q_proj",
      "model.layers.1.self_attn.v_proj",
    ]);
    for (const { scaling } of adapter.modules) assertAlmostEquals(scaling, 8 / Math.sqrt(3), 1e-12);
    assertEquals([...adapter.saved.keys()].toSorted(), [
      "model.embed_tokens.weight",
      "model.layers.0.input_layernorm.bias",
      "model.layers.0.input_layernorm.weight",
      "model.layers.1.input_layernorm.bias",
      "model.layers.1.input_layernorm.weight",
    ]);
  }
});

Deno.test("an adapter saved again holds the same tensors under the same names", async () => {
  for (const name of ["vividmed_like_rslora_modules_to_save", "regex_target_embedding"]) {
    for (const format of ["safetensors", "bin"] as const) {
      using adapter = await open(name);
      const folder = memoryFolder("out");
      assertEquals(await saveAdapter(folder, adapter, format), [
        `adapter_model.${format}`,
        "adapter_config.json",
      ]);
      using back = await openAdapter(folder);
      assertEquals(back.config, adapter.config);
      assertEquals(back.modules.length, adapter.modules.length);
      for (const [i, { module, a, b, scaling, embedding }] of adapter.modules.entries()) {
        const copy = back.modules[i];
        assertEquals([copy.module, copy.scaling, copy.embedding], [module, scaling, embedding]);
        assertEquals([copy.a.name, copy.b.name], [a.name, b.name]);
        assertEquals(await copy.a.read(), await a.read());
        assertEquals(await copy.b.read(), await b.read());
      }
      assertEquals([...back.saved.keys()], [...adapter.saved.keys()]);
    }
  }
});

Deno.test("the written configuration has every field peft wrote", async () => {
  for (
    const name of [
      "rslora_r4_a8",
      "vividmed_like_rslora_modules_to_save",
      "minigpt_like_r8_a2_peft_0.2.0",
    ]
  ) {
    const text = await Deno.readTextFile(`${golden}${name}/adapter_config.json`);
    const written = JSON.parse(formatLoraConfig(parseLoraConfig(text, name)));
    for (const [key, value] of Object.entries(JSON.parse(text))) {
      assertEquals(written[key], value, key);
    }
  }
});

Deno.test("tensor names of adapter files and of training checkpoints", () => {
  const names: [string, string, string][] = [
    ["base_model.model.m.q.lora_A.weight", "A", "m.q"],
    ["base_model.model.m.q.lora_B.default.weight", "B", "m.q"],
    ["llama_model.base_model.model.m.q.lora_A.weight", "A", "m.q"],
    ["m.q.lora_A.weight", "A", "m.q"],
    ["base_model.model.m.e.lora_embedding_A", "embeddingA", "m.e"],
    ["base_model.model.m.e.lora_embedding_B.default", "embeddingB", "m.e"],
    ["base_model.model.m.q.base_layer.weight", "base", "m.q.weight"],
    ["base_model.model.m.norm.weight", "base", "m.norm.weight"],
    ["base_model.model.m.n.modules_to_save.default.weight", "saved", "m.n.weight"],
    ["base_model.model.m.n.original_module.weight", "original", "m.n.weight"],
  ];
  for (const [text, kind, name] of names) {
    assertEquals(parsePeftName(text), { kind, name } as ReturnType<typeof parsePeftName>, text);
  }
});

const config = (fields: Record<string, unknown> = {}) =>
  parseLoraConfig(JSON.stringify({ peft_type: "LORA", r: 4, lora_alpha: 8, ...fields }), "c");

Deno.test("patterns for ranks and alphas", () => {
  const patterned = config({
    rank_pattern: { "layers.0.q": 2, "v": 16 },
    alpha_pattern: { ".*v": 4 },
  });
  assertEquals(moduleScaling(patterned, "m.layers.0.q"), { rank: 2, scaling: 4 });
  assertEquals(moduleScaling(patterned, "m.layers.1.q"), { rank: 4, scaling: 2 });
  assertEquals(moduleScaling(patterned, "m.layers.1.v"), { rank: 16, scaling: 0.25 });
  assertEquals(moduleScaling(patterned, "m.layers.1.xv"), { rank: 4, scaling: 1 });
  assertEquals(moduleScaling(config({ use_rslora: true }), "x"), { rank: 4, scaling: 4 });
});

Deno.test("target modules by ending, expression and all-linear", () => {
  const modules = ["m.a.q", "m.a.xq", "m.b.q", "q", "lm_head"];
  assertEquals(targetModules(config({ target_modules: ["q"] }), modules), ["m.a.q", "m.b.q", "q"]);
  assertEquals(targetModules(config({ target_modules: ["a.q", "xq"] }), modules), [
    "m.a.q",
    "m.a.xq",
  ]);
  assertEquals(targetModules(config({ target_modules: ".*a\\.(?P<n>q|xq)" }), modules), [
    "m.a.q",
    "m.a.xq",
  ]);
  assertEquals(targetModules(config({ target_modules: "q" }), modules), ["q"]);
  const all = { linear: modules, output: "lm_head" };
  assertEquals(
    targetModules(config({ target_modules: "all-linear" }), modules, all),
    modules.slice(0, 4),
  );
  assertThrows(() => targetModules(config({ target_modules: ["z"] }), modules), InputError, '"z"');
  assertEquals(isSavedModule(config({ modules_to_save: ["norm"] }), "m.norm"), true);
  assertEquals(isSavedModule(config({ modules_to_save: ["norm"] }), "m.xnorm"), false);
});

Deno.test("modules and layers can be left out", () => {
  const modules = [0, 1, 2].flatMap((n) => [`m.layers.${n}.a.q`, `m.blocks.${n}.q`]);
  const targets = (fields: Record<string, unknown>) =>
    targetModules(config({ target_modules: ["q"], ...fields }), modules);
  assertEquals(targets({ exclude_modules: ["layers.1.a.q", "blocks.0.q"] }), [
    "m.layers.0.a.q",
    "m.blocks.1.q",
    "m.layers.2.a.q",
    "m.blocks.2.q",
  ]);
  assertEquals(targets({ exclude_modules: ".*blocks.*" }), modules.filter((_, i) => i % 2 === 0));
  assertEquals(targets({ layers_to_transform: 1 }), ["m.layers.1.a.q", "m.blocks.1.q"]);
  assertEquals(targets({ layers_to_transform: [0, 2], layers_pattern: "blocks" }), [
    "m.blocks.0.q",
    "m.blocks.2.q",
  ]);
  assertEquals(
    targets({
      layers_to_transform: [2],
      layers_pattern: ["x", "layers"],
      target_modules: ["q", "m.blocks.0.q"],
    }),
    ["m.blocks.0.q", "m.layers.2.a.q"],
  );
  const text = formatLoraConfig(config({ exclude_modules: ["q"], layers_to_transform: [1] }));
  const back = parseLoraConfig(text, "c");
  assertEquals([back.excludeModules, back.layersToTransform], [["q"], [1]]);
});

Deno.test("unusable configurations and adapters are refused", async () => {
  for (
    const fields of [
      { peft_type: "IA3" },
      { r: 0 },
      { r: "8" },
      { lora_alpha: null },
      { bias: "all" },
      { use_dora: true },
      { target_modules: [3] },
      { target_modules: "(" },
      { target_modules: "a".repeat(2000) },
      { rank_pattern: { q: 0 } },
      { rank_pattern: { "(": 1 } },
      { modules_to_save: "x" },
      { exclude_modules: 3 },
      { exclude_modules: "(" },
      { layers_to_transform: ["x"] },
      { layers_pattern: "(" },
    ]
  ) assertEquals(assertThrows(() => config(fields), InputError).code, "INVALID_ADAPTER");
  assertThrows(() => parseLoraConfig("[", "c"), InputError, '"c"');

  const tensor = (name: string, shape: number[]) =>
    [name, memoryTensor(name, "U8", shape, new Uint8Array(shape[0] * shape[1]))] as const;
  const collect = (...tensors: (readonly [string, ReturnType<typeof memoryTensor>])[]) => () =>
    collectLora(checkpointSource("a", new Map(tensors)), config());
  const a = tensor("m.q.lora_A.weight", [4, 3]), b = tensor("m.q.lora_B.weight", [5, 4]);
  assertEquals(collect(a, b)().modules.length, 1);
  assertThrows(collect(a), InputError, 'module "m.q" has no B');
  assertThrows(collect(b), InputError, 'module "m.q" has no A');
  assertThrows(collect(a, tensor("m.q.lora_B.weight", [5, 3])), InputError, "rank 4");
  assertThrows(collect(a, b, tensor("m.q.lora_A.other.weight", [4, 3])), InputError, "several");

  const missing = openAdapter(memoryFolder("empty"));
  assertEquals((await assertRejects(() => missing, InputError)).code, "NOT_FOUND");
});

Deno.test("training checkpoints: only modules_to_save are fully trained", () => {
  const tensors = ["m.q.lora_A.default.weight", "m.q.lora_B.default.weight"].map((name) =>
    [name, memoryTensor(name, "U8", [4, 4], new Uint8Array(16))] as const
  );
  const weight = (name: string) =>
    [name, memoryTensor(name, "U8", [1], new Uint8Array(1))] as const;
  const source = checkpointSource(
    "t",
    new Map([
      ...tensors,
      weight("base_model.model.m.q.base_layer.weight"),
      weight("base_model.model.m.n.original_module.weight"),
      weight("base_model.model.m.n.modules_to_save.default.weight"),
    ]),
  );
  const adapter = collectLora(source, config(), { trained: true });
  assertEquals([...adapter.saved.keys()], ["m.n.weight"]);
  assertEquals(adapter.modules.map(({ module }) => module), ["m.q"]);
});

Deno.test("fully trained tensors take the place of the base model's", async () => {
  const name = "vividmed_like_rslora_modules_to_save";
  const bytes = (name: string, fill: number) =>
    [name, memoryTensor(name, "U8", [1], Uint8Array.of(fill))] as const;
  using adapter = await open(name);
  const names = [...adapter.saved.keys()];
  const base = checkpointSource(
    "base",
    new Map([...names.map((name) => bytes(name, 1)), bytes("other", 2)]),
  );
  const whole = withSavedTensors(base, adapter);
  assertEquals(whole.names(), [...names, "other"]);
  assertEquals(whole.get(names[0])!.shape, adapter.saved.get(names[0])!.shape);
  assertEquals(await whole.get("other")!.read(), Uint8Array.of(2));
  const small = checkpointSource("small", new Map([bytes(names[0], 1)]));
  assertThrows(() => withSavedTensors(small, adapter), InputError, names[1]);
});
