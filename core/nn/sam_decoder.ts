/**
 * SAM's mask decoder: a two-way transformer between prompt tokens and image, learned upscaling, and one hypernetwork per
 * mask token. Tensor names of `segment-anything`.
 *
 * @module
 */
import { attention } from "../tensor/attention.ts";
import { convTranspose2d } from "../tensor/conv.ts";
import { add, unary } from "../tensor/elementwise.ts";
import { matmul } from "../tensor/matmul.ts";
import { broadcastRows, concat, permute, slice } from "../tensor/movement.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { linearLayer, normLayer, normLayer2d } from "./layers.ts";
import { specMaker } from "./specs.ts";
import type { Trace } from "./trace.ts";

/** Sizes of the mask decoder. */
export interface SamDecoderConfig {
  /** Width of tokens and image embeddings. */
  readonly width: number;
  /** Two-way blocks. */
  readonly depth: number;
  /** Attention heads, of `width / heads` in self-attention and half of that in cross-attention. */
  readonly heads: number;
  /** Width inside the MLP of a two-way block. */
  readonly mlpWidth: number;
  /** Mask tokens: one for the single mask, the others for the ambiguous ones. */
  readonly maskTokens: number;
  /** Linear layers of the IoU head. */
  readonly iouLayers: number;
  /** Width of the IoU head's hidden layers. */
  readonly iouWidth: number;
}

const epsilon = 1e-5;
const upscalingEpsilon = 1e-6;
/** Cross attention works at half the width. */
const downsample = 2;

/** The decoder's tensors, each name starting with `prefix` (which ends in `mask_decoder.`). */
export function samDecoderParameters(
  config: SamDecoderConfig,
  prefix: string,
  stored: "F32" | "BF16",
): ParameterSpec[] {
  const { width } = config;
  const { tensor, linear: linearPair, conv, norm } = specMaker(prefix, stored, "pytorch");
  // The default of PyTorch's tables.
  const standard = { kind: "normal", std: 1 } as const;
  const attentionTensors = (name: string, inner: number): ParameterSpec[] => [
    ...["q_proj", "k_proj", "v_proj"].flatMap((one) => linearPair(`${name}.${one}`, inner, width)),
    ...linearPair(`${name}.out_proj`, width, inner),
  ];
  const mlp = (name: string, sizes: number[]): ParameterSpec[] =>
    sizes.slice(1).flatMap((size, n) => linearPair(`${name}.layers.${n}`, size, sizes[n]!));
  const specs: ParameterSpec[] = [];
  for (let n = 0; n < config.depth; n++) {
    const layer = `transformer.layers.${n}.`;
    specs.push(
      ...attentionTensors(`${layer}self_attn`, width),
      ...norm(`${layer}norm1`, width),
      ...attentionTensors(`${layer}cross_attn_token_to_image`, width / downsample),
      ...norm(`${layer}norm2`, width),
      ...linearPair(`${layer}mlp.lin1`, config.mlpWidth, width),
      ...linearPair(`${layer}mlp.lin2`, width, config.mlpWidth),
      ...norm(`${layer}norm3`, width),
      ...norm(`${layer}norm4`, width),
      ...attentionTensors(`${layer}cross_attn_image_to_token`, width / downsample),
    );
  }
  const iou = [
    width,
    ...Array.from({ length: config.iouLayers - 1 }, () => config.iouWidth),
    config.maskTokens,
  ];
  specs.push(
    ...attentionTensors("transformer.final_attn_token_to_image", width / downsample),
    ...norm("transformer.norm_final_attn", width),
    tensor("iou_token.weight", [1, width], standard),
    tensor("mask_tokens.weight", [config.maskTokens, width], standard),
    ...conv("output_upscaling.0", [width, width / 4, 2, 2], width / 4),
    ...norm("output_upscaling.1", width / 4),
    ...conv("output_upscaling.3", [width / 4, width / 8, 2, 2], width / 8),
  );
  for (let n = 0; n < config.maskTokens; n++) {
    specs.push(...mlp(`output_hypernetworks_mlps.${n}`, [width, width, width, width / 8]));
  }
  return [...specs, ...mlp("iou_prediction_head", iou)];
}

/** Multi-head attention with separate projections; all of q, k, v are [B * tokens, width]. */
function attend(
  p: ParameterScope,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  batch: number,
  heads: number,
): Tensor {
  using scope = q.device.scope();
  const project = (name: string, x: Tensor) => linearLayer(p, name, x);
  const queries = project("q_proj", q), keys = project("k_proj", k), values = project("v_proj", v);
  const inner = queries.shape[1]!;
  const mixed = attention({ tensor: queries }, { tensor: keys }, { tensor: values }, {
    batch,
    queries: q.shape[0]! / batch,
    keys: k.shape[0]! / batch,
    heads,
    headSize: inner / heads,
  });
  return scope.keep(project("out_proj", mixed.reshape(-1, inner)));
}

function norm(p: ParameterScope, name: string, x: Tensor): Tensor {
  return normLayer(p, name, x, epsilon);
}

/** A stack of linear layers with ReLU between them. */
function mlp(p: ParameterScope, x: Tensor, layers: number): Tensor {
  using scope = x.device.scope();
  let y = x;
  for (let n = 0; n < layers; n++) {
    y = linearLayer(p, `layers.${n}`, y, {
      ...(n + 1 < layers ? { activation: "relu" as const } : {}),
    });
  }
  return scope.keep(y);
}

interface TwoWay {
  queries: Tensor;
  keys: Tensor;
}

/** Adds [n, width] to every batch entry of [B * n, width]. */
function addToEach(x: Tensor, rows: Tensor): Tensor {
  return add(x.reshape(-1, ...rows.shape), rows).reshape(...x.shape);
}

/** One two-way block. The first skips the query positions in self-attention and replaces the queries by its output. */
function twoWayBlock(
  p: ParameterScope,
  { queries, keys }: TwoWay,
  queryPositions: Tensor,
  keyPositions: Tensor,
  first: boolean,
  batch: number,
  heads: number,
): TwoWay {
  using scope = queries.device.scope();
  let q = first ? queries : add(queries, queryPositions);
  const self = attend(p.at("self_attn."), q, q, queries, batch, heads);
  let x = norm(p, "norm1", first ? self : add(queries, self));
  q = add(x, queryPositions);
  let k = addToEach(keys, keyPositions);
  x = norm(
    p,
    "norm2",
    add(x, attend(p.at("cross_attn_token_to_image."), q, k, keys, batch, heads)),
  );
  const inner = linearLayer(p, "mlp.lin1", x, {
    activation: "relu",
  });
  x = norm(
    p,
    "norm3",
    linearLayer(p, "mlp.lin2", inner, { residual: x }),
  );
  q = add(x, queryPositions);
  k = addToEach(keys, keyPositions);
  const image = norm(
    p,
    "norm4",
    add(keys, attend(p.at("cross_attn_image_to_token."), k, q, x, batch, heads)),
  );
  return { queries: scope.keep(x), keys: scope.keep(image) };
}

/** What the decoder gives. */
export interface SamMasks {
  /** Low-resolution logits of every mask token [B, maskTokens, 4h, 4w]. */
  readonly masks: Tensor;
  /** Predicted IoU of every mask [B, maskTokens]. */
  readonly iou: Tensor;
}

/**
 * Decodes masks for one prompt per image.
 *
 * @param p Parameters below `mask_decoder.`.
 * @param image Image embeddings with the dense prompt already added, [B, width, h, w].
 * @param positions Positional encoding of the image grid, token-major [h * w, width].
 * @param prompts Sparse prompt tokens [B, n, width].
 */
export function samMaskDecoder(
  p: ParameterScope,
  image: Tensor,
  positions: Tensor,
  prompts: Tensor,
  config: SamDecoderConfig,
  trace?: Trace,
): SamMasks {
  using scope = image.device.scope();
  const { width, maskTokens, heads } = config;
  const [batch, , height, columns] = image.shape as [number, number, number, number];
  const cells = height * columns;
  const learned = concat([p.tensor("iou_token.weight"), p.tensor("mask_tokens.weight")], 0);
  const repeated = broadcastRows(learned.reshape(-1), batch).reshape(batch, -1, width);
  const count = repeated.shape[1]! + prompts.shape[1]!;
  const tokens = concat([repeated, prompts], 1).reshape(batch * count, width);
  const transformer = p.at("transformer.");
  let state: TwoWay = {
    queries: tokens,
    keys: permute(image, [0, 2, 3, 1]).reshape(batch * cells, width),
  };
  for (let n = 0; n < config.depth; n++) {
    state = twoWayBlock(
      transformer.at(`layers.${n}.`),
      state,
      tokens,
      positions,
      n === 0,
      batch,
      heads,
    );
    trace?.(`layer${n}.queries`, state.queries);
    trace?.(`layer${n}.keys`, state.keys);
  }
  const final = attend(
    transformer.at("final_attn_token_to_image."),
    add(state.queries, tokens),
    addToEach(state.keys, positions),
    state.keys,
    batch,
    heads,
  );
  const hs = norm(transformer, "norm_final_attn", add(state.queries, final)).reshape(
    batch,
    count,
    width,
  );
  trace?.("hs", hs);
  trace?.("src", state.keys);
  const upscaled = upscale(p.at("output_upscaling."), state.keys, {
    batch,
    height,
    columns,
    width,
  });
  trace?.("upscaled", upscaled);
  const tokenOut = (index: number) => slice(hs, 1, index, 1).reshape(batch, width);
  const weights = Array.from(
    { length: maskTokens },
    (_, n) =>
      mlp(p.at(`output_hypernetworks_mlps.${n}.`), tokenOut(1 + n), 3).reshape(batch, 1, width / 8),
  );
  const flat = upscaled.reshape(batch, width / 8, 16 * cells);
  const masks = matmul(concat(weights, 1), flat);
  const iou = mlp(p.at("iou_prediction_head."), tokenOut(0), config.iouLayers);
  return {
    masks: scope.keep(masks).reshape(batch, maskTokens, 4 * height, 4 * columns),
    iou: scope.keep(iou),
  };
}

function upscale(
  p: ParameterScope,
  keys: Tensor,
  { batch, height, columns, width }: {
    batch: number;
    height: number;
    columns: number;
    width: number;
  },
): Tensor {
  using scope = keys.device.scope();
  const plane = permute(keys.reshape(batch, height, columns, width), [0, 3, 1, 2]);
  const first = convTranspose2d(plane, p.tensor("0.weight"), {
    bias: p.tensor("0.bias"),
    stride: 2,
  });
  const normed = normLayer2d(p, "1", first, upscalingEpsilon);
  const second = convTranspose2d(unary("gelu", normed), p.tensor("3.weight"), {
    bias: p.tensor("3.bias"),
    stride: 2,
    activation: "gelu",
  });
  return scope.keep(second);
}
