/**
 * Reference cases of MedPLIB's parts: CLIP tower, region sampler, decoder, SAM-Med2D.
 *
 * @module
 */
import { openCheckpoint } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import {
  clipVisionParameters,
  loadParameters,
  type Parameters,
  TraceCollector,
} from "@medvlm/core/nn";
import { slice, type Tensor, tensor } from "@medvlm/core/tensor";
import {
  clipFeatures,
  decodeMasks,
  gridPositions,
  maskLogits,
  type MedplibConfig,
  paper,
  pixelEmbeddings,
  projectFeatures,
  projectorParameters,
  regionCells,
  regionFeature,
  regionGrid,
  regionParameters,
  resizeRegion,
  samParameters,
  singleMask,
} from "@medvlm/medplib/parts";
import { openFolder } from "@medvlm/core";
import { type CaseFiles, checkpointPath, openCase } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";
import { compareDecoderGradients, compareRegionGradients } from "./medplib_gradients.ts";

/** Compares every traced value that the case also has. */
export async function compareTrace(
  report: Report,
  files: CaseFiles,
  collected: TraceCollector,
  tolerance: Tolerance,
  rename: (name: string) => string = (name) => name,
): Promise<void> {
  for (const name of collected.names()) {
    const wanted = rename(name);
    if (files.expected.has(wanted)) {
      report.close(
        wanted,
        (await collected.values(name))!,
        (await files.expected.get(wanted)).values,
        tolerance,
      );
    }
  }
}

/** Compares one tensor with an expected one. */
export async function compare(
  report: Report,
  files: CaseFiles,
  name: string,
  actual: Tensor,
  tolerance: Tolerance,
): Promise<void> {
  report.close(name, await actual.readFloats(), (await files.expected.get(name)).values, tolerance);
}

async function inputTensor(device: Device, files: CaseFiles, name: string): Promise<Tensor> {
  const { shape } = await files.inputs.get(name);
  return tensor(device, await files.inputs.floats(name), shape);
}

function pathEnding(files: CaseFiles, ending: RegExp): string {
  const listed = Object.keys(files.case.checkpoint).find((name) => ending.test(name));
  return checkpointPath(files, listed);
}

/** CLIP's sizes from a case's `clip` object. */
// deno-lint-ignore no-explicit-any
export function clipConfig(clip: any): MedplibConfig["clip"] {
  return {
    hiddenSize: clip.hidden_size,
    intermediateSize: clip.intermediate_size,
    layers: clip.num_hidden_layers,
    heads: clip.num_attention_heads,
    imageSize: clip.image_size,
    patchSize: clip.patch_size,
    activation: clip.hidden_act === "gelu" ? "gelu" : "quickGelu",
    epsilon: clip.layer_norm_eps ?? 1e-5,
  };
}

/** SAM's sizes from a case's `sam` object. */
export function samConfig(
  // deno-lint-ignore no-explicit-any
  sam: any,
): Pick<MedplibConfig, "sam" | "samDecoder" | "maskInputChannels"> {
  return {
    sam: {
      imageSize: sam.image_size,
      patchSize: sam.patch_size,
      width: sam.embed_dim,
      depth: sam.depth,
      heads: sam.num_heads,
      mlpRatio: sam.mlp_ratio,
      window: sam.window_size,
      globalBlocks: sam.global_attn_indexes,
      outputWidth: sam.prompt_embed_dim,
      adapter: true,
    },
    samDecoder: {
      width: sam.prompt_embed_dim,
      depth: sam.decoder_depth,
      heads: sam.decoder_num_heads,
      mlpWidth: sam.decoder_mlp_dim,
      maskTokens: 4,
      iouLayers: 3,
      iouWidth: sam.iou_head_hidden_dim,
    },
    maskInputChannels: sam.mask_in_chans,
  };
}

/** `medplib/clip-tower`. */
export async function runClipTower(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const clip = clipConfig(files.config.clip);
  const config: MedplibConfig = {
    ...paper,
    clip,
    llama: { ...paper.llama, hiddenSize: files.config.hidden_size },
    visionLayer: files.config.mm_vision_select_layer,
    stored: "F32",
  };
  using tower = await openCheckpoint(await openFolder(pathEnding(files, /\/$/)));
  using projector = await openCheckpoint(pathEnding(files, /projector/));
  const prefix = "vision_model.";
  const specs = clipVisionParameters(clip, prefix, "F32").map((spec) => ({
    ...spec,
    official: spec.name,
  }));
  const vision = await loadParameters(device, specs, tower, {
    ignore: [
      /^text_model\./,
      /^visual_projection\./,
      /^text_projection\./,
      /^logit_scale$/,
      /position_ids$/,
    ],
  });
  const projection = await loadParameters(device, projectorParameters(config), projector);
  const collected = new TraceCollector();
  const tolerance = files.case.tolerance as Tolerance;
  using _scope = device.scope();
  const pixels = await inputTensor(device, files, "pixel_values");
  // The last block is run too, because the case also holds its output.
  clipFeatures(vision, pixels, { ...config, visionLayer: -1 }, collected.trace, prefix);
  const features = clipFeatures(vision, pixels, config, undefined, prefix);
  await compareTrace(
    report,
    files,
    collected,
    tolerance,
    (name) => name === "embeddings" ? "embeddings_pre_layrnorm" : name,
  );
  await compare(report, files, "features", features, tolerance);
  await compare(report, files, "projected", projectFeatures(projection, features), tolerance);
  vision.dispose();
  projection.dispose();
}

/** `medplib/region-sampler`. */
export async function runRegionSampler(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const {
    clip_image_size: size,
    patch_size: patch,
    mm_hidden_size: width,
    hidden_size: hidden,
    max_sample_point: most,
  } = files.config;
  const config: MedplibConfig = {
    ...paper,
    clip: { ...paper.clip, hiddenSize: width, imageSize: size, patchSize: patch },
    llama: { ...paper.llama, hiddenSize: hidden },
    maxRegionPoints: most,
  };
  using checkpoint = await openCheckpoint(pathEnding(files, /region/));
  const p = await loadParameters(device, regionParameters(config), checkpoint);
  const tolerance = { atol: files.case.tolerance.atol, rtol: files.case.tolerance.rtol ?? 0 };
  const side = size / patch;
  for (let k = 0; k < files.case.cases.length; k++) {
    using _scope = device.scope();
    const { shape: [height, columns], values } = await files.inputs.get(`${k}.mask`);
    const mask = { width: columns!, height: height!, data: Uint8Array.from(values) };
    const grid = regionGrid(mask, size, patch);
    report.close(`${k}.grid`, grid.data, (await files.expected.get(`${k}.grid`)).values, {});
    if (files.expected.has(`${k}.resized`)) {
      report.close(
        `${k}.resized`,
        resizeRegion(mask, size).data,
        (await files.expected.get(`${k}.resized`)).values,
        {},
      );
    }
    let cells = regionCells(grid, most, 0);
    if (files.inputs.has(`${k}.sample_indices`)) {
      // The reference kept a random part; the case records which.
      report.holds(
        `${k}.sampled`,
        cells.length === most,
        `${cells.length} cells kept, expected ${most}`,
      );
      const all = regionCells(grid, Infinity, 0);
      cells = Array.from(
        (await files.inputs.get(`${k}.sample_indices`)).values,
        (index) => all[index]!,
      );
    }
    report.close(
      `${k}.points_rc`,
      cells.flat().map((index) => Math.fround(index / side)),
      (await files.expected.get(`${k}.points_rc`)).values,
      tolerance,
    );
    const features = await inputTensor(device, files, `${k}.features`);
    await compare(
      report,
      files,
      `${k}.region_feature`,
      regionFeature(p, features, cells, side),
      tolerance,
    );
    if (files.expected.has(`${k}.grad.weight`)) {
      await compareRegionGradients(report, files, tolerance, p, features, { k, cells, side });
    }
  }
  p.dispose();
}

async function loadSam(
  files: CaseFiles,
  device: Device,
): Promise<{ config: MedplibConfig; p: Parameters }> {
  const config: MedplibConfig = { ...paper, ...samConfig(files.config.sam), stored: "F32" };
  using checkpoint = await openCheckpoint(pathEnding(files, /\.pth$/), { key: "model" });
  return { config, p: await loadParameters(device, samParameters(config, ""), checkpoint) };
}

/** `medplib/sam-med2d-encoder`. */
export async function runSamEncoder(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const { config, p } = await loadSam(files, device);
  const { shape, values } = await files.inputs.get("pixels_u8");
  const plane = shape[2]! * shape[3]!;
  const mean = [123.675, 116.28, 103.53], deviation = [58.395, 57.12, 57.375];
  const normalised = Float32Array.from(values, (value, i) => {
    const channel = Math.floor(i / plane) % 3;
    return Math.fround(value - Math.fround(mean[channel]!)) / Math.fround(deviation[channel]!);
  });
  const collected = new TraceCollector((name) => files.expected.has(name));
  using _scope = device.scope();
  const embeddings = pixelEmbeddings(
    p.at(""),
    tensor(device, normalised, shape),
    config,
    collected.trace,
  );
  const tolerance = files.case.tolerance as Tolerance;
  await compareTrace(report, files, collected, tolerance);
  await compare(report, files, "image_embeddings", embeddings, tolerance);
  p.dispose();
}

/** `medplib/sam-mask-decoder`. */
export async function runSamDecoder(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const { config, p } = await loadSam(files, device);
  const tolerance = files.case.tolerance as Tolerance;
  const sam = p.at("");
  using _scope = device.scope();
  const positions = await gridPositions(sam, config);
  const { shape: [cells, width] } = positions as unknown as { shape: [number, number] };
  report.close(
    "dense_pe",
    transposed(await positions.readFloats(), cells, width),
    (await files.expected.get("dense_pe")).values,
    tolerance,
  );
  const images = await inputTensor(device, files, "image_embeddings");
  const texts = await inputTensor(device, files, "text_embeds");
  for (let i = 0; i < images.shape[0]!; i++) {
    const collected = new TraceCollector();
    const text = slice(texts, 0, i, 1);
    const masks = decodeMasks(
      sam,
      slice(images, 0, i, 1),
      positions,
      text,
      config,
      collected.trace,
    );
    const low = singleMask(masks);
    collected.trace("sparse", text);
    collected.trace("all_masks", masks.masks);
    collected.trace("all_iou", masks.iou);
    collected.trace("low_res_masks", low);
    collected.trace("iou", slice(masks.iou, 1, 0, 1));
    const lowValues = await low.readFloats();
    for (const [k, post] of files.case.posts.entries()) {
      const name = `${i}.post${k}`;
      if (!files.expected.has(name)) continue;
      const logits = maskLogits(lowValues, size(post.input_size), size(post.original_size), {
        inputSide: config.sam.imageSize,
      });
      report.close(name, logits, (await files.expected.get(name)).values, tolerance);
    }
    await compareTrace(report, files, collected, tolerance, (name) => `${i}.${name}`);
  }
  await compareDecoderGradients(report, files, p, config, { images, positions, texts });
  const dense = await p.tensor("prompt_encoder.no_mask_embed.weight").readFloats();
  report.close("0.dense_row", dense, (await files.expected.get("0.dense_row")).values, tolerance);
  p.dispose();
}

function size([height, width]: [number, number]): { width: number; height: number } {
  return { width, height };
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c]!;
  }
  return out;
}
