/**
 * The small files of a release beside its tensors: kept as they were when a checkpoint is loaded, written when a model is
 * made.
 *
 * @module
 */
import { type FolderSource, InputError } from "@medvlm/core";
import type { MedplibConfig } from "./config.ts";
import { builtInTokenizerFiles } from "./tokenizer.ts";

/** Files of the release that a saved model needs again. */
const companionNames = [
  "config.json",
  "generation_config.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
];
const limit = 2 ** 24;

/** The vision tower's folder inside the release, if it has one. */
export function towerFolder(json: Record<string, unknown>): string | undefined {
  const path = json.mm_vision_tower ?? json.vision_tower;
  const name = typeof path === "string"
    ? path.split("/").filter((part) => part !== "").at(-1)
    : undefined;
  return name === undefined || name === ".." || name === "." ? undefined : name;
}

/** Reads the companion files that the folder has. */
export async function readCompanions(
  folder: FolderSource,
  json: Record<string, unknown>,
): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  const tower = towerFolder(json);
  const wanted = tower === undefined
    ? companionNames
    : [...companionNames, `${tower}/config.json`, `${tower}/preprocessor_config.json`];
  for (const name of wanted) {
    if (!await folder.has(name)) continue;
    using file = await folder.open(name);
    if (file.size > limit) {
      throw new InputError(
        "TOO_LARGE",
        `Cannot read "${file.name}": ${file.size} bytes are more than the ${limit} allowed`,
      );
    }
    files.set(name, await file.read(0, file.size));
  }
  return files;
}

const towerName = "clip-vision";
const json = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

/** The companion files of a model made from a configuration, with the built-in tokenizer. */
export function makeCompanions(config: MedplibConfig): Map<string, Uint8Array> {
  const { llama, moe, clip } = config;
  const release = {
    "architectures": ["MedPLIBForCausalLM"],
    "model_type": "medplib_moe_llama",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "hidden_act": "silu",
    "hidden_size": llama.hiddenSize,
    "intermediate_size": llama.intermediateSize,
    "num_hidden_layers": llama.layers,
    "num_attention_heads": llama.heads,
    "num_key_value_heads": llama.keyHeads,
    "max_position_embeddings": llama.maxPositions,
    "rms_norm_eps": llama.epsilon,
    "rope_theta": llama.theta,
    "vocab_size": llama.vocabulary,
    "tie_word_embeddings": false,
    "torch_dtype": config.stored === "BF16" ? "bfloat16" : "float32",
    "mm_vision_tower": towerName,
    "mm_hidden_size": clip.hiddenSize,
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_layer": config.visionLayer,
    "mm_vision_select_feature": "patch",
    "mm_use_im_start_end": true,
    "mm_use_im_patch_token": false,
    "region_fea_adapter": true,
    "region_geo_sampler": false,
    "max_sample_point": config.maxRegionPoints,
    "train_mask_decoder": true,
    "out_dim": config.samDecoder.width,
    "moe": {
      "moe_enable": true,
      "moe_mode": "dense",
      "moe_layers_idx": moe.layers,
      "num_experts": moe.experts,
      "ep_size": 1,
      "top_k_experts": moe.topK,
      "capacity_factor": moe.capacityFactor,
      "eval_capacity_factor": moe.evalCapacityFactor,
      "min_capacity": moe.minCapacity,
      "use_residual": false,
      "router_aux_loss_coef": moe.auxLossWeight,
    },
  };
  const tower = {
    "model_type": "clip_vision_model",
    "hidden_size": clip.hiddenSize,
    "intermediate_size": clip.intermediateSize,
    "num_hidden_layers": clip.layers,
    "num_attention_heads": clip.heads,
    "image_size": clip.imageSize,
    "patch_size": clip.patchSize,
    "hidden_act": clip.activation === "gelu" ? "gelu" : "quick_gelu",
    "layer_norm_eps": clip.epsilon,
  };
  return new Map<string, Uint8Array>([
    ["config.json", json(release)],
    ["generation_config.json", json({ "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0 })],
    [`${towerName}/config.json`, json(tower)],
    ...builtInTokenizerFiles(llama.maxPositions),
  ]);
}
