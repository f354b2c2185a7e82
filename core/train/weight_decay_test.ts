import { assertEquals } from "@std/assert";
import { HostDevice } from "../device/mod.ts";
import { tensor } from "../tensor/tensor.ts";
import { weight } from "../tensor/weight.ts";
import {
  decayGroups,
  decaysLinearWeights,
  decaysNothing,
  decaysUnlessNamed,
} from "./weight_decay.ts";

Deno.test("names and axes decide in the MiniGPT family", () => {
  const decays = (name: string, shape = [4, 4]) => decaysUnlessNamed(name, shape);
  assertEquals(decays("llama_proj.weight"), true);
  assertEquals(decays("llama_proj.bias"), false);
  assertEquals(decays("norm.weight", [4]), false);
  assertEquals(decays("visual_encoder.ln_vision.weight"), false);
  // The test is for parts of names, whatever they mean.
  assertEquals(decays("vulnerable.weight"), false);
  assertEquals(decays("q_proj.lora_A.default.weight"), true);
});

Deno.test("weights of linear layers and convolutions decay in VividMed, tables and factors do not", () => {
  const decaying = [
    "lm_head.weight",
    "model.layers.0.mlp.gate_proj.weight",
    "model.vision.patch_embedding.proj.weight",
    "vg_proj.0.weight",
    "sam.mask_decoder.txt_align_upscaled_embedding.weight",
    "attention.in_proj_weight",
    "attention.q_proj_weight",
  ];
  const staying = [
    "model.embed_tokens.weight",
    "model.vision.patch_embedding.position_embedding.weight",
    "model.vision.patch_embedding.cls_embedding.weight",
    "model.vision.patch_embedding.cls_pos_embed.weight",
    "sam.prompt_encoder.point_embeddings.3.weight",
    "sam.prompt_encoder.no_mask_embed.weight",
    "sam.mask_decoder.mask_tokens.weight",
    "sam.mask_decoder.iou_token.weight",
    "model.layers.0.self_attn.q_proj.lora_A.default.weight",
    "model.embed_tokens.lora_embedding_B.default",
    "positional_encoding_gaussian_matrix",
    "attention.in_proj_bias",
  ];
  for (const name of decaying) {
    assertEquals([name, decaysLinearWeights(name, [4, 4])], [name, true]);
  }
  for (const name of staying) {
    assertEquals([name, decaysLinearWeights(name, [4, 4])], [name, false]);
  }
  assertEquals(decaysLinearWeights("model.norm.weight", [4]), false);
  assertEquals(decaysLinearWeights("conv.weight", [4, 1, 3, 3, 3]), true);
});

Deno.test("groups keep every parameter once", async () => {
  await using device = new HostDevice();
  const parameters = [
    { name: "a.weight", value: weight(device, new Float32Array(6), 2, 3) },
    { name: "a.bias", value: tensor(device, [1, 2]) },
    // A matrix on the device that is a vector in the checkpoint.
    { name: "scale", value: weight(device, new Float32Array(2), 2, 1) },
  ];
  const names = (groups: ReturnType<typeof decayGroups>) =>
    groups.map((group) => [group.weightDecay, ...group.parameters.map(({ name }) => name)]);
  const shapeOf = ({ name }: { name: string }) => name === "a.weight" ? [2, 3] : [2];
  assertEquals(names(decayGroups(parameters, decaysUnlessNamed, 0.1, { shapeOf })), [
    [0.1, "a.weight"],
    [0, "a.bias", "scale"],
  ]);
  assertEquals(names(decayGroups(parameters, decaysUnlessNamed, 0.1)), [
    [0.1, "a.weight", "scale"],
    [0, "a.bias"],
  ]);
  assertEquals(names(decayGroups(parameters, decaysNothing, 0.1)), [
    [0, "a.weight", "a.bias", "scale"],
  ]);
});
