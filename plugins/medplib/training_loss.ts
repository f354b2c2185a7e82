/**
 * The training objective of MedPLIB: next-token cross-entropy of the answers, and mask losses of every `<SEG>` (official
 * `model/MedPLIB.py`).
 *
 * @module
 */
import {
  linearLayer,
  llama,
  type Parameters,
  projection,
  sharedPositions,
  sharedPrefixes,
  type Trace,
} from "@medvlm/core/nn";
import {
  add,
  concat,
  crop2d,
  crossEntropy,
  diceLoss,
  gatherRows,
  iouLoss,
  pixelLoss,
  resizeBilinear,
  rowIndex,
  sampleGridMeans,
  scale,
  slice,
  sumRows,
  type Tensor,
  tensor,
} from "@medvlm/core/tensor";
import type { MedplibConfig } from "./config.ts";
import { decodeMasks, pixelEmbeddings, segEmbedding, singleMask } from "./grounding.ts";
import { visualRows } from "./icl.ts";
import { feedForwardOf, type RoutingOptions } from "./language.ts";
import { names } from "./params.ts";
import { maskCrop } from "./postprocess.ts";
import type { MaskTarget, TrainingBatch } from "./training_batch.ts";
import { regionPoints } from "./vision.ts";

/** Factors of the parts of the loss, as the stage scripts set them. */
export interface LossWeights {
  /** Next-token cross-entropy, router loss included. */
  readonly ce: number;
  /** Binary cross-entropy of mask pixels. */
  readonly bce: number;
  /** Soft Dice of masks. */
  readonly dice: number;
  /** Squared error of the predicted IoU. */
  readonly iou: number;
  /** Focal loss of mask pixels. */
  readonly focal: number;
}

/** What a loss is computed with, besides parameters and batch. */
export interface LossOptions {
  /** Factors of the parts. */
  readonly weights: LossWeights;
  /** How tokens are routed to experts. */
  readonly routing: RoutingOptions;
  /** Recompute decoder layers on the way back instead of keeping what is inside. Default false. */
  readonly recompute?: boolean;
  /** Gets intermediate values under the names of the reference cases. */
  readonly trace?: Trace;
}

/** A loss and its parts, each f32 [1] on the device. */
export interface MedplibLoss {
  /** The weighted sum. */
  readonly total: Tensor;
  /** `ce`, and where there are masks `bce`, `dice`, `iou`, `focal` (those with a weight), without weights. */
  readonly terms: Readonly<Record<string, Tensor>>;
}

/** Added to the number of masks in means, as in the official code. */
const countEpsilon = 1e-8;

/** The features of the regions of a batch, one row each [R, H]. */
function regionFeatures(
  p: Parameters,
  features: Tensor,
  { regions, visual }: TrainingBatch,
): Tensor {
  const { device } = features;
  const [rows, width] = features.shape as [number, number];
  const side = Math.round(Math.sqrt(rows / visual.images));
  const images = tensor(device, Int32Array.from(regions, ({ image }) => image));
  const chosen = gatherRows(features.reshape(visual.images, -1), images).reshape(-1, width);
  const adapted = linearLayer(p.at("model."), "region_fea_adapter", chosen);
  const points = Float32Array.from(regions.flatMap(({ cells }) => [...regionPoints(cells, side)]));
  let first = 0;
  const spans = Uint32Array.from(regions.flatMap(({ cells: { length } }, r) => {
    first += length;
    return [r, first - length, length];
  }));
  return sampleGridMeans(
    adapted.reshape(regions.length, side * side, -1),
    [side, side],
    tensor(device, points, [points.length / 2, 2]),
    tensor(device, spans, [regions.length, 3]),
  );
}

/** Input rows of the decoder, those of shared prefixes and then [B * T, H]: token, image, mask and region rows in their places, zeros as padding. */
export function embedBatch(
  p: Parameters,
  batch: TrainingBatch,
  config: MedplibConfig,
  trace?: Trace,
): Tensor {
  const { device } = p;
  const { rows: visual, features } = visualRows(p, batch.visual, config, trace);
  const rows = [
    gatherRows(p.weight("model.embed_tokens.weight"), rowIndex(device, batch.tokens)),
    visual,
  ];
  if (batch.regions.length > 0) rows.push(regionFeatures(p, features, batch));
  const embedded = gatherRows(concat(rows, 0), rowIndex(device, batch.source));
  trace?.("inputs_embeds", embedded);
  return embedded;
}

/** Masks of equal geometry, which one resize serves. */
function groupsOf(masks: readonly MaskTarget[]): { index: number; target: MaskTarget }[][] {
  const groups = new Map<string, { index: number; target: MaskTarget }[]>();
  masks.forEach((target, index) => {
    const { resized, mask } = target;
    const key = [resized.width, resized.height, mask.width, mask.height].join();
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [{ index, target }]);
    else group.push({ index, target });
  });
  return [...groups.values()];
}

/** Masks of equal geometry at the size of their pictures. */
export interface DecodedMasks {
  /** Numbers of the masks in the batch. */
  readonly members: readonly number[];
  /** Logits, f32 [members, height, width]. */
  readonly logits: Tensor;
  /** Predicted IoU of each member, f32 [members, 1]. */
  readonly predicted: Tensor;
}

/** Decodes a mask for every `<SEG>` of the batch. */
export function batchMasks(
  p: Parameters,
  hidden: Tensor,
  batch: TrainingBatch,
  config: MedplibConfig,
  positions: Tensor,
  trace?: Trace,
): DecodedMasks[] {
  const { device } = p;
  const sam = p.at(names.sam);
  const side = config.sam.imageSize;
  const pixels = tensor(device, batch.samPixels).reshape(-1, 3, side, side);
  const images = pixelEmbeddings(sam, pixels, config);
  // One image per mask, the same one again for several masks of a picture.
  const index = Int32Array.from(batch.masks, ({ picture }) => picture);
  const repeated = gatherRows(images.reshape(images.shape[0]!, -1), tensor(device, index))
    .reshape(batch.masks.length, ...images.shape.slice(1));
  const rows = tensor(device, Int32Array.from(batch.masks, ({ row }) => row));
  const prompt = segEmbedding(p, gatherRows(hidden, rows));
  const masks = decodeMasks(sam, repeated, positions, prompt, config);
  const low = singleMask(masks), iou = slice(masks.iou, 1, 0, 1);
  trace?.("low_res_mask", low);
  trace?.("iou_pred", iou);
  return groupsOf(batch.masks).map((group) => {
    const { resized, mask: { width, height } } = group[0]!.target;
    const members = group.map(({ index }) => index);
    const chosen = tensor(device, Int32Array.from(members));
    const own = gatherRows(low.reshape(batch.masks.length, -1), chosen)
      .reshape(group.length, ...low.shape.slice(1));
    const [top, bottom] = maskCrop(low.shape[2]!, resized.height, side);
    const [left, right] = maskCrop(low.shape[3]!, resized.width, side);
    const cropped = crop2d(own, top, left, bottom - top, right - left);
    const logits = resizeBilinear(cropped, height, width);
    trace?.("mask_logits", logits);
    return {
      members,
      logits: logits.reshape(group.length, height, width),
      predicted: gatherRows(iou, chosen),
    };
  });
}

/** Means over masks of every mask loss that has a weight, without weights. */
function maskLosses(
  decoded: readonly DecodedMasks[],
  batch: TrainingBatch,
  weights: LossWeights,
): Record<string, Tensor> {
  const sums: Record<string, Tensor[]> = {};
  for (const { members, logits, predicted } of decoded) {
    const { device, shape: [count, height, width] } = logits;
    const truth = new Float32Array(logits.size);
    members.forEach((n, i) => truth.set(batch.masks[n]!.mask.data, i * width! * height!));
    const targets = tensor(device, truth, logits.shape);
    const made: Record<string, () => Tensor> = {
      bce: () => pixelLoss(logits, targets, { form: "bce", mean: 2 }),
      dice: () => diceLoss(logits, targets, { form: "smooth" }),
      focal: () => pixelLoss(logits, targets, { form: "probabilityFocal", alpha: 0.25, mean: 2 }),
      // One mask at a time, as the official code calls it.
      iou: () => {
        const one = (x: Tensor, i: number) => slice(x, 0, i, 1);
        return concat(
          Array.from(
            { length: count! },
            (_, i) => iouLoss(one(logits, i), one(targets, i), one(predicted, i)),
          ),
          0,
        );
      },
    };
    for (const [name, make] of Object.entries(made)) {
      if (weights[name as keyof LossWeights] === 0) continue;
      (sums[name] ??= []).push(sumRows(make().reshape(-1, 1)));
    }
  }
  const share = 1 / (batch.masks.length + countEpsilon);
  return Object.fromEntries(
    Object.entries(sums).map(([name, parts]) => [name, scale(parts.reduce(add), share)]),
  );
}

/** What the decoder makes of a batch. */
export interface DecodedBatch {
  /** After the final norm, as many rows as {@linkcode embedBatch} gives. */
  readonly hidden: Tensor;
  /** Of the rows whose prediction counts, [targets, vocabulary]. */
  readonly logits: Tensor;
  /** Router losses of the layers that have one. */
  readonly auxiliary: readonly Tensor[];
}

/** Runs encoders and decoder on a batch. */
export function decodeBatch(
  p: Parameters,
  batch: TrainingBatch,
  config: MedplibConfig,
  { routing, recompute = false, trace }: Omit<LossOptions, "weights">,
): DecodedBatch {
  const { device } = p;
  const { size, length, prefixes } = batch;
  const auxiliary: Tensor[] = [];
  const hidden = llama(p.at("model."), embedBatch(p, batch, config, trace), config.llama, {
    batch: size,
    positions: tensor(device, sharedPositions(prefixes, size, length)),
    keyLengths: tensor(device, batch.lengths),
    ...(prefixes && { prefixes: sharedPrefixes(device, prefixes, length) }),
    feedForward: feedForwardOf(config, routing),
    auxiliary: (loss) => auxiliary.push(loss),
    recompute,
    trace,
  });
  const predicting = gatherRows(hidden, rowIndex(device, batch.targetRows));
  return { hidden, logits: projection(p.at(""), "lm_head", predicting), auxiliary };
}

/**
 * Queues the loss of a batch.
 *
 * @param positions Positional encoding of SAM's grid (see `gridPositions`).
 */
export function medplibLoss(
  p: Parameters,
  batch: TrainingBatch,
  config: MedplibConfig,
  positions: Tensor,
  { weights, ...options }: LossOptions,
): MedplibLoss {
  const { hidden, logits, auxiliary } = decodeBatch(p, batch, config, options);
  let ce = crossEntropy(logits, tensor(p.device, batch.targets));
  if (config.moe.auxLossWeight !== 0 && auxiliary.length > 0) {
    ce = add(ce, scale(auxiliary.reduce(add), config.moe.auxLossWeight));
  }
  const terms: Record<string, Tensor> = { ce };
  if (batch.masks.length > 0) {
    const decoded = batchMasks(p, hidden, batch, config, positions, options.trace);
    Object.assign(terms, maskLosses(decoded, batch, weights));
  }
  const total = Object.entries(terms)
    .map(([name, term]) => scale(term, weights[name as keyof LossWeights]))
    .reduce(add);
  return { total, terms };
}
