/**
 * Reads the configuration of a released directory: `config.json`, the CLIP tower's own `config.json` where the directory
 * has one, and the shapes of the tensors for what no file records.
 *
 * @module
 */
import { type CheckpointFolder, type CheckpointSource, InputError, readJson } from "@medvlm/core";
import { type MedplibConfig, paper } from "./config.ts";
import { names } from "./params.ts";
import { decoderHeadsKey, inContextKeys, towerFolder } from "./release_files.ts";

type Json = Record<string, unknown>;

/** Values of a JSON object with their types checked; messages name the file and the key. */
export class Fields {
  readonly #file: string;
  readonly #json: Json;

  /**
   * Wraps an object.
   *
   * @param file Name for messages.
   */
  constructor(file: string, json: Json) {
    this.#file = file;
    this.#json = json;
  }

  #wrong(key: string, expected: string): InputError {
    return new InputError(
      "INVALID_CONFIG",
      `Cannot use "${this.#file}": "${key}" is ${
        JSON.stringify(this.#json[key]) ?? "missing"
      }, expected ${expected}`,
    );
  }

  /** A positive whole number; `fallback` when the key is absent or null. */
  count(key: string, fallback?: number): number {
    const value = this.#json[key] ?? fallback;
    if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > 2 ** 24) {
      throw this.#wrong(key, "a positive whole number");
    }
    return value as number;
  }

  /** A finite number; `fallback` when the key is absent or null. @throws {InputError} code `INVALID_CONFIG`. */
  number(key: string, fallback?: number): number {
    const value = this.#json[key] ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) throw this.#wrong(key, "a number");
    return value;
  }

  /** A text, or undefined when the value is none. */
  text(key: string): string | undefined {
    const value = this.#json[key];
    return typeof value === "string" ? value : undefined;
  }

  /** A list of whole numbers from 0 on. @throws {InputError} code `INVALID_CONFIG`. */
  counts(key: string): number[] {
    const value = this.#json[key];
    if (!Array.isArray(value) || !value.every((one) => Number.isSafeInteger(one) && one >= 0)) {
      throw this.#wrong(key, "a list of whole numbers");
    }
    return value as number[];
  }

  /** The object under a key. @throws {InputError} code `INVALID_CONFIG`. */
  object(key: string): Fields {
    const value = this.#json[key];
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.#wrong(key, "an object");
    }
    return new Fields(`${this.#file}" "${key}`, value as Json);
  }

  /** Says that a value cannot be used. @throws {InputError} code `INVALID_CONFIG`, always. */
  refuse(key: string, reason: string): void {
    throw new InputError("INVALID_CONFIG", `Cannot use "${this.#file}": "${key}" ${reason}`);
  }

  /** Whether a key has exactly this plain value. */
  is(key: string, value: unknown): boolean {
    return this.#json[key] === value;
  }
}

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
  const fields = new Fields(file, json);
  const vision = json.vision_config === undefined ? fields : fields.object("vision_config");
  const activation = vision.text("hidden_act") ?? "quick_gelu";
  if (activation !== "quick_gelu" && activation !== "gelu") {
    vision.refuse("hidden_act", `is "${activation}", expected quick_gelu or gelu`);
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

function readMoe(fields: Fields, layers: number): MedplibConfig["moe"] {
  if (fields.is("moe", undefined) || fields.is("moe", null)) {
    return { ...paper.moe, layers: [], experts: [] };
  }
  const moe = fields.object("moe");
  if (moe.is("use_residual", true)) {
    moe.refuse("use_residual", "is true; residual experts are not part of MedPLIB");
  }
  const topK = moe.count("top_k_experts", 1);
  if (topK !== 1 && topK !== 2) moe.refuse("top_k_experts", `is ${topK}, expected 1 or 2`);
  const indexes = moe.counts("moe_layers_idx");
  const experts = moe.counts("num_experts");
  if (indexes.some((n) => n >= layers)) {
    moe.refuse("moe_layers_idx", `names a layer beyond the ${layers} there are`);
  }
  if (experts.length !== 1 && experts.length !== indexes.length) {
    moe.refuse("num_experts", `has ${experts.length} entries for ${indexes.length} layers`);
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
export function readLlama(fields: Fields): MedplibConfig["llama"] {
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
  const fields = new Fields("config.json", json);
  if (fields.is("region_geo_sampler", true)) {
    fields.refuse("region_geo_sampler", "is true; the released model does not have it");
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
