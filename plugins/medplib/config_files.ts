/**
 * Reads the configuration of a released directory: `config.json`, the CLIP tower's own `config.json` where the directory
 * has one, and the shapes of the tensors for what no file records.
 *
 * @module
 */
import {
  type CheckpointFolder,
  type CheckpointSource,
  InputError,
  JsonFields,
  readJson,
} from "@medvlm/core";
import { type MedplibConfig, paper } from "./config.ts";
import { names } from "./params.ts";
import { decoderHeadsKey, inContextKeys, towerFolder } from "./release_files.ts";

/** The shape of a tensor that every checkpoint of this system has. */
function shapeOf(tensors: CheckpointSource, name: string, rank: number): readonly number[] {
  const shape = tensors.get(name)?.shape;
  if (shape === undefined || shape.length !== rank) {
    throw new InputError(
      "NOT_MEDPLIB",
      `Cannot read the sizes of "${name}" with ${rank} dimensions: it is ${
        shape === undefined ? "missing" : `of shape [${shape}]`
      }; this is no MedPLIB checkpoint`,
    );
  }
  return shape;
}

function countBlocks(tensors: CheckpointSource, name: (n: number) => string): number {
  let count = 0;
  while (tensors.get(name(count)) !== undefined) count++;
  return count;
}

/**
 * The tower's sizes: its own configuration file if the directory has one, else from shapes with CLIP's 64-wide heads.
 *
 * @param file Name of that file; undefined where nobody says.
 */
export async function readClip(
  { folder, tensors }: CheckpointFolder,
  file: string | undefined,
): Promise<MedplibConfig["clip"]> {
  const prefix = names.clip;
  const [hiddenSize, , patchSize] = shapeOf(
    tensors,
    `${prefix}embeddings.patch_embedding.weight`,
    4,
  ) as [number, number, number];
  const [positions] = shapeOf(tensors, `${prefix}embeddings.position_embedding.weight`, 2) as [
    number,
  ];
  const [intermediateSize] = shapeOf(tensors, `${prefix}encoder.layers.0.mlp.fc1.weight`, 2) as [
    number,
  ];
  const shapes = {
    hiddenSize,
    patchSize,
    intermediateSize,
    imageSize: Math.round(Math.sqrt(positions - 1)) * patchSize,
    layers: countBlocks(tensors, (n) => `${prefix}encoder.layers.${n}.layer_norm1.weight`),
  };
  if (file === undefined || !await folder.has(file)) {
    return { ...paper.clip, ...shapes, heads: Math.max(1, Math.round(hiddenSize / 64)) };
  }
  const json = await readJson(folder, file);
  const fields = new JsonFields(file, json);
  const vision = json.vision_config === undefined ? fields : fields.object("vision_config");
  const activation = vision.text("hidden_act") ?? "quick_gelu";
  if (activation !== "quick_gelu" && activation !== "gelu") {
    vision.refuse("hidden_act", "quick_gelu or gelu");
  }
  return {
    ...shapes,
    heads: vision.count("num_attention_heads"),
    epsilon: vision.number("layer_norm_eps", 1e-5),
    activation: activation === "gelu" ? "gelu" : "quickGelu",
  };
}

/**
 * Sizes of SAM-Med2D, from its shapes.
 *
 * @param heads Of the decoder, where a file says. Default: SAM's 8; narrower decoders keep heads of 8 channels.
 */
export function readSam(
  tensors: CheckpointSource,
  heads?: number,
): Pick<MedplibConfig, "sam" | "samDecoder" | "maskInputChannels"> {
  const encoder = `${names.sam}image_encoder.`, decoder = `${names.sam}mask_decoder.`;
  const [width, , patchSize] = shapeOf(tensors, `${encoder}patch_embed.proj.weight`, 4) as [
    number,
    number,
    number,
  ];
  const [, grid] = shapeOf(tensors, `${encoder}pos_embed`, 4) as [number, number];
  const depth = countBlocks(tensors, (n) => `${encoder}blocks.${n}.norm1.weight`);
  const sides = Array.from(
    { length: depth },
    (_, n) => (shapeOf(tensors, `${encoder}blocks.${n}.attn.rel_pos_h`, 2)[0]! + 1) / 2,
  );
  const [, headSize] = shapeOf(tensors, `${encoder}blocks.0.attn.rel_pos_h`, 2) as [number, number];
  const [inner] = shapeOf(tensors, `${encoder}blocks.0.mlp.lin1.weight`, 2) as [number];
  const [outputWidth] = shapeOf(tensors, `${encoder}neck.0.weight`, 4) as [number];
  const window = sides.find((side) => side !== grid) ?? paper.sam.window;
  const [maskTokens] = shapeOf(tensors, `${decoder}mask_tokens.weight`, 2) as [number];
  const [mlpWidth] = shapeOf(tensors, `${decoder}transformer.layers.0.mlp.lin1.weight`, 2) as [
    number,
  ];
  const [iouWidth] = shapeOf(tensors, `${decoder}iou_prediction_head.layers.0.weight`, 2) as [
    number,
  ];
  const [maskInputChannels] = shapeOf(
    tensors,
    `${names.sam}prompt_encoder.mask_downscaling.3.weight`,
    4,
  ) as [number];
  return {
    sam: {
      imageSize: grid * patchSize,
      patchSize,
      width,
      depth,
      heads: width / headSize,
      mlpRatio: inner / width,
      window,
      globalBlocks: sides.flatMap((side, n) => side === grid && side !== window ? [n] : []),
      outputWidth,
      adapter: tensors.get(`${encoder}blocks.0.Adapter.norm.weight`) !== undefined,
    },
    samDecoder: {
      width: outputWidth,
      depth: countBlocks(tensors, (n) => `${decoder}transformer.layers.${n}.norm1.weight`),
      heads: heads ?? Math.max(1, Math.min(8, Math.floor(outputWidth / 8))),
      mlpWidth,
      maskTokens,
      iouLayers: countBlocks(tensors, (n) => `${decoder}iou_prediction_head.layers.${n}.weight`),
      iouWidth,
    },
    maskInputChannels,
  };
}

function readMoe(fields: JsonFields, layers: number): MedplibConfig["moe"] {
  if (!fields.has("moe")) {
    return { ...paper.moe, layers: [], experts: [] };
  }
  const moe = fields.object("moe");
  if (moe.is("use_residual", true)) {
    moe.refuse("use_residual", "false: residual experts are not part of MedPLIB");
  }
  const topK = moe.count("top_k_experts", 1);
  if (topK !== 1 && topK !== 2) moe.refuse("top_k_experts", "1 or 2");
  const indexes = moe.counts("moe_layers_idx");
  const experts = moe.counts("num_experts");
  if (indexes.some((n) => n >= layers)) {
    moe.refuse("moe_layers_idx", `numbers below the ${layers} layers there are`);
  }
  if (experts.length !== 1 && experts.length !== indexes.length) {
    moe.refuse("num_experts", `one entry or one for each of ${indexes.length} layers`);
  }
  return {
    layers: indexes,
    experts: indexes.map((_, n) => experts[experts.length === 1 ? 0 : n]!),
    topK: topK as 1 | 2,
    capacityFactor: moe.number("capacity_factor", 1),
    evalCapacityFactor: moe.number("eval_capacity_factor", 1),
    minCapacity: moe.number("min_capacity", 4),
    auxLossWeight: moe.number("router_aux_loss_coef", 0.01),
  };
}

/** Sizes of the language model. */
export function readLlama(fields: JsonFields): MedplibConfig["llama"] {
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

/**
 * Configuration of a released MedPLIB directory.
 *
 * @throws {InputError} code `INVALID_CONFIG` or `NOT_MEDPLIB` naming the file and the key or tensor.
 */
export async function readMedplibConfig(checkpoint: CheckpointFolder): Promise<MedplibConfig> {
  const { folder, tensors } = checkpoint;
  const json = await readJson(folder, "config.json");
  const fields = new JsonFields("config.json", json);
  if (fields.is("region_geo_sampler", true)) {
    fields.refuse("region_geo_sampler", "false: the released model does not have it");
  }
  const dtype = tensors.get("model.embed_tokens.weight")?.dtype;
  const tower = towerFolder(json);
  const llama = readLlama(fields);
  return {
    llama,
    moe: readMoe(fields, llama.layers),
    clip: await readClip(checkpoint, tower && `${tower}/config.json`),
    visionLayer: fields.number("mm_vision_select_layer", -2),
    // Not in the release: models of other sizes that were made here have it.
    ...readSam(
      tensors,
      fields.is(decoderHeadsKey, undefined) ? undefined : fields.count(decoderHeadsKey),
    ),
    maxRegionPoints: fields.count("max_sample_point", 512),
    ...(fields.is(inContextKeys.compress, true) &&
      { imageTokens: fields.count(inContextKeys.imageTokens, 256) }),
    ...(fields.is(inContextKeys.encodeMasks, true) &&
      { maskTokens: fields.count(inContextKeys.maskTokens, 64) }),
    maskThreshold: paper.maskThreshold,
    stored: dtype === "BF16" ? "BF16" : "F32",
  };
}
