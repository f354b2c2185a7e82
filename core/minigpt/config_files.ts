/**
 * The configuration of a checkpoint: LLaMA's own `config.json`, `config.json` of the whole where there is one, shapes of tensors for
 * the rest.
 *
 * @module
 */
import type { CheckpointSource, FloatDType } from "../checkpoint/mod.ts";
import { isFloatDType } from "../checkpoint/mod.ts";
import { InputError } from "../errors.ts";
import { type FolderSource, readJson } from "../files.ts";
import { JsonFields } from "../json_fields.ts";
import { evaGrid } from "../nn/eva_vit.ts";
import { type MinigptConfig, paper } from "./config.ts";
import { names } from "./params.ts";

/** Sizes of a LLaMA directory. @throws {InputError} code `INVALID_CONFIG` for other decoders. */
export async function readLlamaConfig(folder: FolderSource): Promise<MinigptConfig["llama"]> {
  const fields = new JsonFields(
    `${folder.name}/config.json`,
    await readJson(folder, "config.json"),
  );
  fields.only("hidden_act", ["silu"], "silu");
  fields.only("rope_scaling", [], "no scaling of positions");
  fields.only("tie_word_embeddings", [false], "an output head of its own");
  const heads = fields.count("num_attention_heads");
  return {
    vocabulary: fields.count("vocab_size"),
    hiddenSize: fields.count("hidden_size"),
    intermediateSize: fields.count("intermediate_size"),
    layers: fields.count("num_hidden_layers"),
    heads,
    keyHeads: fields.count("num_key_value_heads", heads),
    maxPositions: fields.count("max_position_embeddings", 4096),
    epsilon: fields.number("rms_norm_eps", 1e-6),
    theta: fields.number("rope_theta", 10000),
  };
}

function shapeOf(tensors: CheckpointSource, name: string, rank: number): readonly number[] {
  const shape = tensors.get(name)?.shape;
  if (shape === undefined || shape.length !== rank) {
    throw new InputError(
      "NOT_MINIGPT",
      `Cannot read the sizes of "${name}" with ${rank} dimensions: it is ${
        shape === undefined ? "missing" : `of shape [${shape}]`
      }; this is no checkpoint of the MiniGPT-v2 family`,
    );
  }
  return shape;
}

/** The tower's sizes from its shapes; heads, size of the picture and number of blocks as the whole says or as published. */
function readVision(tensors: CheckpointSource, vit: JsonFields): MinigptConfig["vision"] {
  const at = names.vision;
  const [hiddenSize, , patchSize] = shapeOf(tensors, `${at}patch_embed.proj.weight`, 4) as [
    number,
    number,
    number,
  ];
  const [, positions] = shapeOf(tensors, `${at}pos_embed`, 3) as [number, number];
  const [intermediateSize] = shapeOf(tensors, `${at}blocks.0.mlp.fc1.weight`, 2) as [number];
  let blocks = 0;
  while (tensors.get(`${at}blocks.${blocks}.norm1.weight`) !== undefined) blocks++;
  const { vision } = paper;
  const layers = vit.count(
    "depth",
    // The published file has a block more than the model.
    hiddenSize === vision.hiddenSize ? Math.min(blocks, vision.layers) : blocks,
  );
  const headSize = vision.hiddenSize / vision.heads;
  const heads = vit.count("num_heads", Math.max(1, Math.round(hiddenSize / headSize)));
  if (hiddenSize % heads !== 0) vit.refuse("num_heads", `a divisor of ${hiddenSize}`);
  return {
    hiddenSize,
    intermediateSize,
    layers,
    heads,
    imageSize: vit.count("image_size", vision.imageSize),
    patchSize,
    storedGrid: Math.round(Math.sqrt(positions - 1)),
    epsilon: vision.epsilon,
  };
}

function storedAs(tensors: CheckpointSource, name: string): FloatDType {
  const dtype = tensors.get(name)?.dtype;
  return dtype !== undefined && isFloatDType(dtype) ? dtype : "F16";
}

/**
 * Configuration of a checkpoint.
 *
 * @param folder Of the whole; may have a `config.json` with `vit`, `lora_alpha` and so on, as the published runs have them in YAML.
 * @param language LLaMA's directory.
 * @param tensors All tensors under the names of the parameter table.
 * @throws {InputError} code `INVALID_CONFIG` or `NOT_MINIGPT` naming the file and the key, or the tensor.
 */
export async function readMinigptConfig(
  folder: FolderSource,
  language: FolderSource,
  tensors: CheckpointSource,
): Promise<MinigptConfig> {
  const llama = await readLlamaConfig(language);
  const whole = new JsonFields(
    `${folder.name}/config.json`,
    await folder.has("config.json") ? await readJson(folder, "config.json") : {},
  );
  const vision = readVision(tensors, whole.object("vit"));
  const [, joined] = shapeOf(tensors, "llama_proj.weight", 2) as [number, number];
  const patchesPerRow = joined / vision.hiddenSize;
  if (!Number.isInteger(patchesPerRow) || evaGrid(vision) ** 2 % patchesPerRow !== 0) {
    throw new InputError(
      "INVALID_CONFIG",
      `Cannot use "${folder.name}": llama_proj takes ${joined} values, which no whole number of the ${
        evaGrid(vision) ** 2
      } patches of ${vision.hiddenSize} gives`,
    );
  }
  const factor = tensors.names().find((name) => name.endsWith(".lora_A.weight"));
  if (factor === undefined) {
    throw new InputError(
      "NOT_MINIGPT",
      `Cannot use "${folder.name}": it has no adapter of the language model (lora_A); the trained checkpoint is missing or another one`,
    );
  }
  const [rank] = shapeOf(tensors, factor, 2) as [number];
  const { adapters } = paper;
  return {
    llama,
    vision,
    visionEpsilon: paper.visionEpsilon,
    patchesPerRow,
    adapters: {
      rank,
      alpha: whole.number("lora_alpha", adapters.alpha),
      dropout: whole.number("lora_dropout", adapters.dropout),
      targets: whole.texts("lora_target_modules", adapters.targets),
    },
    stored: {
      language: storedAs(tensors, "model.embed_tokens.weight"),
      vision: storedAs(tensors, `${names.vision}patch_embed.proj.weight`),
    },
  };
}

/** `config.json` of the whole, from which {@linkcode readMinigptConfig} reads the same configuration again. */
export function wholeConfig({ vision, adapters }: MinigptConfig): Record<string, unknown> {
  return {
    "arch": "minigpt_v2",
    "vit": {
      "image_size": vision.imageSize,
      "patch_size": vision.patchSize,
      "embed_dim": vision.hiddenSize,
      "num_heads": vision.heads,
      "depth": vision.layers,
      "checkpoint_image_size": vision.storedGrid * vision.patchSize,
    },
    "lora_r": adapters.rank,
    "lora_alpha": adapters.alpha,
    "lora_dropout": adapters.dropout,
    "lora_target_modules": adapters.targets,
  };
}

/** `config.json` of the LLaMA directory. */
export function llamaConfigFile({ llama, stored }: MinigptConfig): Record<string, unknown> {
  const dtype = { "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64" };
  return {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
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
    "torch_dtype": dtype[stored.language],
  };
}
