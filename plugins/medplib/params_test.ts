import { assert, assertEquals } from "@std/assert";
import { paper, presets } from "./config.ts";
import { medplibParameters, names } from "./params.ts";

const count = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);

Deno.test("the published sizes give the release's 1238 tensors and 11.69 billion parameters", () => {
  const specs = medplibParameters(paper);
  assertEquals(specs.length, 1238);
  assertEquals(new Set(specs.map(({ name }) => name)).size, 1238);
  const sum = (pattern: RegExp) =>
    specs.filter(({ name, derived }) => pattern.test(name) && !derived).reduce(
      (total, { shape }) => total + count(shape),
      0,
    );
  const millions = (pattern: RegExp) => Math.round(sum(pattern) / 1e5) / 10;
  assertEquals(millions(/^(model\.(embed_tokens|layers|norm)|lm_head)/), 11069.4);
  assertEquals(millions(/vision_tower/), 303.5);
  assertEquals(millions(/visual_model/), 271.2);
  assertEquals(millions(/visual_model.*Adapter/), 180.5);
  assertEquals(millions(/mm_projector/), 21);
  assertEquals(millions(/text_hidden_fcs/), 17.8);
  assertEquals(millions(/region_fea_adapter/), 4.2);
  assertEquals(Math.round(sum(/./) / 1e7) / 100, 11.69);
});

Deno.test("shapes of the release's tensors", () => {
  const shapes = new Map(medplibParameters(paper).map(({ name, shape }) => [name, shape]));
  const expected: Record<string, number[]> = {
    "model.embed_tokens.weight": [32267, 4096],
    "model.layers.31.mlp.deepspeed_moe.gate.wg.weight": [2, 4096],
    "model.layers.0.mlp.deepspeed_moe.experts.deepspeed_experts.1.down_proj.weight": [4096, 11008],
    "model.layers.7.self_attn.rotary_emb.inv_freq": [64],
    [`${names.clip}embeddings.position_embedding.weight`]: [577, 1024],
    [`${names.clip}encoder.layers.23.mlp.fc1.weight`]: [4096, 1024],
    [`${names.sam}image_encoder.blocks.2.attn.rel_pos_h`]: [31, 64],
    [`${names.sam}image_encoder.blocks.3.attn.rel_pos_w`]: [27, 64],
    [`${names.sam}image_encoder.blocks.0.Adapter.channel.0.weight`]: [192, 768],
    [`${names.sam}prompt_encoder.mask_downscaling.3.weight`]: [16, 4, 2, 2],
    [`${names.sam}mask_decoder.output_upscaling.3.weight`]: [64, 32, 2, 2],
    [`${names.sam}mask_decoder.iou_prediction_head.layers.2.weight`]: [4, 256],
    "model.text_hidden_fcs.0.2.weight": [256, 4096],
  };
  for (const [name, shape] of Object.entries(expected)) assertEquals(shapes.get(name), shape, name);
});

Deno.test("the router alone is stored in float32", () => {
  for (const { name, stored, derived } of medplibParameters(paper)) {
    if (!derived) assertEquals(stored, /\.wg\.weight$/.test(name) ? "F32" : "BF16", name);
  }
});

Deno.test("small presets differ from the paper in numbers alone", () => {
  for (const [preset, config] of Object.entries(presets)) {
    assertEquals(Object.keys(config).sort(), Object.keys(paper).sort(), preset);
    const unknown = medplibParameters(config).filter(({ name }) =>
      !/^(model\.|lm_head)/.test(name)
    );
    assert(unknown.length === 0);
  }
});
