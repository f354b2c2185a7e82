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

/** Where `config.json` has the heads of the mask decoder, which no official file records. */
export const decoderHeadsKey = "mask_decoder_heads";

/** Where `config.json` says which in-context modules there are and how many rows they make. */
export const inContextKeys = {
  compress: "mm_token_compress",
  imageTokens: "mm_compressed_token_count",
  encodeMasks: "icl_mask_encoder",
  maskTokens: "mask_encoder_token_count",
} as const;

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

/** Files of the tokenizer. */
const tokenizerNames = ["tokenizer.model", "tokenizer_config.json"];

/**
 * The companion files of a model that was put together: configurations from its sizes, the tokenizer's own files with
 * MedPLIB's tokens added.
 *
 * @param folder Of the language model.
 * @param ids Numbers of the added tokens.
 */
export async function joinCompanions(
  folder: FolderSource,
  config: MedplibConfig,
  ids: Readonly<Record<string, number>>,
): Promise<Map<string, Uint8Array>> {
  const files = makeCompanions(config);
  const made = files.get("special_tokens_map.json")!;
  for (const name of [...tokenizerNames, "special_tokens_map.json"]) files.delete(name);
  const found = await readCompanions(folder, {});
  for (const name of tokenizerNames) {
    const bytes = found.get(name);
    if (bytes !== undefined) files.set(name, bytes);
  }
  files.set("special_tokens_map.json", made);
  files.set("added_tokens.json", json(ids));
  return files;
}

/** The same files for a model of other experts: the configuration says how many there are and how tokens find them. */
export function withExperts(
  companions: ReadonlyMap<string, Uint8Array>,
  config: MedplibConfig,
): Map<string, Uint8Array> {
  const own = JSON.parse(new TextDecoder().decode(companions.get("config.json")));
  const release = releaseConfig(config);
  const { architectures, model_type, moe } = release;
  return new Map([
    ...companions,
    ["config.json", json({ ...own, architectures, "model_type": model_type, moe })],
  ]);
}

const towerName = "clip-vision";
const json = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

/** `config.json` of a release of these sizes. */
function releaseConfig(config: MedplibConfig) {
  const { llama, moe, clip } = config;
  return {
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
    ...(config.imageTokens !== undefined && {
      [inContextKeys.compress]: true,
      [inContextKeys.imageTokens]: config.imageTokens,
    }),
    ...(config.maskTokens !== undefined && {
      [inContextKeys.encodeMasks]: true,
      [inContextKeys.maskTokens]: config.maskTokens,
    }),
    "train_mask_decoder": true,
    "out_dim": config.samDecoder.width,
    [decoderHeadsKey]: config.samDecoder.heads,
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
}

/** The companion files of a model made from a configuration, with the built-in tokenizer. */
export function makeCompanions(config: MedplibConfig): Map<string, Uint8Array> {
  const { llama, clip } = config;
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
    ["config.json", json(releaseConfig(config))],
    ["generation_config.json", json({ "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0 })],
    [`${towerName}/config.json`, json(tower)],
    ...builtInTokenizerFiles(llama.maxPositions),
  ]);
}
