/**
 * SAM's ViT image encoder (2-D) with windowed attention, decomposed relative positions, and SAM-Med2D's adapter in every
 * block. Tensor names of `segment-anything` and `SAM-Med2D`.
 *
 * Tokens are kept channels-last, [B, H, W, C]; convolutions of the adapter and the neck go channels-first and back.
 *
 * @module
 */
import { attention } from "../tensor/attention.ts";
import { conv2d, convTranspose2d, patchEmbed } from "../tensor/conv.ts";
import { add, multiply } from "../tensor/elementwise.ts";
import { permute, reduceMean } from "../tensor/movement.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { windowPartition, windowUnpartition } from "../tensor/windows.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { linearLayer, normLayer, normLayer2d, projection } from "./layers.ts";
import { specMaker } from "./specs.ts";
import { type Trace, traceAt } from "./trace.ts";

/** Sizes of the image encoder. */
export interface SamEncoderConfig {
  /** Side of the square input in pixels. */
  readonly imageSize: number;
  /** Side of a patch in pixels; divides `imageSize`. */
  readonly patchSize: number;
  /** Width of the tokens. */
  readonly width: number;
  /** Transformer blocks. */
  readonly depth: number;
  /** Attention heads per block, each `width / heads` wide. */
  readonly heads: number;
  /** MLP width over token width. */
  readonly mlpRatio: number;
  /** Window side of the windowed blocks, in tokens. */
  readonly window: number;
  /** Blocks that attend globally. */
  readonly globalBlocks: readonly number[];
  /** Channels of the output. */
  readonly outputWidth: number;
  /** Every block has SAM-Med2D's adapter. */
  readonly adapter: boolean;
}

/** Tokens per side. */
export function samGrid({ imageSize, patchSize }: SamEncoderConfig): number {
  return imageSize / patchSize;
}

const blockEpsilon = 1e-6;
/** SAM-Med2D's adapter uses PyTorch's default. */
const adapterEpsilon = 1e-5;

/** The encoder's tensors, each name starting with `prefix` (which ends in `image_encoder.`). */
export function samEncoderParameters(
  config: SamEncoderConfig,
  prefix: string,
  stored: "F32" | "BF16",
): ParameterSpec[] {
  const { width, outputWidth, patchSize, heads } = config;
  const grid = samGrid(config);
  const inner = width * config.mlpRatio;
  const { tensor, matrix, linear: linearPair, conv, norm } = specMaker(prefix, stored, "pytorch");
  /** A convolution without bias. */
  const weightOf = (name: string, shape: readonly number[]) => conv(name, shape, 0)[0]!;
  const specs = [
    tensor("pos_embed", [1, grid, grid, width]),
    ...conv("patch_embed.proj", [width, 3, patchSize, patchSize], width),
  ];
  for (let n = 0; n < config.depth; n++) {
    const block = `blocks.${n}.`;
    const side = config.globalBlocks.includes(n) ? grid : config.window;
    specs.push(
      ...norm(`${block}norm1`, width),
      tensor(`${block}attn.rel_pos_h`, [2 * side - 1, width / heads]),
      tensor(`${block}attn.rel_pos_w`, [2 * side - 1, width / heads]),
      ...linearPair(`${block}attn.qkv`, 3 * width, width),
      ...linearPair(`${block}attn.proj`, width, width),
      ...norm(`${block}norm2`, width),
      ...linearPair(`${block}mlp.lin1`, inner, width),
      ...linearPair(`${block}mlp.lin2`, width, inner),
    );
    if (config.adapter) {
      specs.push(
        ...norm(`${block}Adapter.norm`, width),
        matrix(`${block}Adapter.channel.0`, width / 4, width),
        matrix(`${block}Adapter.channel.2`, width, width / 4),
        weightOf(`${block}Adapter.spatial.0`, [width, width, 3, 3]),
        weightOf(`${block}Adapter.spatial.2`, [width, width, 4, 4]),
      );
    }
  }
  specs.push(
    weightOf("neck.0", [outputWidth, width, 1, 1]),
    ...norm("neck.1", outputWidth),
    weightOf("neck.2", [outputWidth, outputWidth, 3, 3]),
    ...norm("neck.3", outputWidth),
  );
  return specs;
}

/** Attention over all tokens of [N, h, w, C], with relative positions. */
function attend(p: ParameterScope, x: Tensor, heads: number): Tensor {
  using scope = x.device.scope();
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const tokens = height * width;
  const qkv = linearLayer(p, "qkv", x.reshape(batch * tokens, channels));
  const part = (index: number) => ({ tensor: qkv, offset: index * channels, stride: 3 * channels });
  const mixed = attention(
    part(0),
    part(1),
    part(2),
    { batch, queries: tokens, keys: tokens, heads, headSize: channels / heads },
    {
      relative: {
        height: p.tensor("rel_pos_h"),
        width: p.tensor("rel_pos_w"),
        grid: [height, width],
      },
    },
  );
  const out = linearLayer(p, "proj", mixed.reshape(batch * tokens, channels));
  return scope.keep(out).reshape(batch, height, width, channels);
}

/**
 * SAM-Med2D's adapter: a channel gate, then a strided convolution and its transpose around a ReLU, and a LayerNorm of the
 * sum. Needs an even grid. `SAM-Med2D: segment_anything/modeling/image_encoder.py`.
 */
function adapter(p: ParameterScope, z: Tensor, trace?: Trace): Tensor {
  using scope = z.device.scope();
  const [batch, height, width, channels] = z.shape as [number, number, number, number];
  const mean = reduceMean(z.reshape(batch, height * width, channels), 1);
  const squeezed = projection(p, "channel.0", mean, { activation: "relu" });
  const gate = projection(p, "channel.2", squeezed, { activation: "sigmoid" });
  trace?.("channel_gate", gate);
  // The gate differs per image of the batch, so each image is multiplied by its own row.
  const planes = permute(z, [1, 2, 0, 3]);
  const gated = permute(multiply(planes, gate), [2, 3, 0, 1]);
  const down = conv2d(gated, p.tensor("spatial.0.weight"), {
    stride: 2,
    padding: 1,
    activation: "relu",
  });
  const up = convTranspose2d(down, p.tensor("spatial.2.weight"), {
    stride: 2,
    padding: 1,
    activation: "relu",
  });
  trace?.("spatial_out", up);
  const sum = add(z, permute(up, [0, 2, 3, 1]));
  return scope.keep(normLayer(p, "norm", sum, adapterEpsilon));
}

function block(
  p: ParameterScope,
  x: Tensor,
  windowed: boolean,
  config: SamEncoderConfig,
  trace?: Trace,
): Tensor {
  using scope = x.device.scope();
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const normed = normLayer(p, "norm1", x, blockEpsilon);
  const mixed = windowed
    ? windowUnpartition(
      attend(p.at("attn."), windowPartition(normed, config.window), config.heads),
      config.window,
      { batch, height, width },
    )
    : attend(p.at("attn."), normed, config.heads);
  const attended = add(x, mixed);
  const z = normLayer(p, "norm2", attended, blockEpsilon);
  trace?.("norm2", z);
  const flat = z.reshape(batch * height * width, channels);
  const inner = linearLayer(p, "mlp.lin1", flat, {
    activation: "gelu",
  });
  const out = linearLayer(p, "mlp.lin2", inner, {
    residual: attended.reshape(batch * height * width, channels),
  }).reshape(batch, height, width, channels);
  if (!config.adapter) return scope.keep(out);
  const adapted = adapter(p.at("Adapter."), z, traceAt(trace, "adapter."));
  trace?.("adapter", adapted);
  return scope.keep(add(out, adapted));
}

/**
 * Encodes images.
 *
 * @param p Parameters below `image_encoder.`.
 * @param pixels Normalised images [B, 3, S, S].
 * @returns Embeddings [B, outputWidth, S / patch, S / patch].
 */
export function samImageEncoder(
  p: ParameterScope,
  pixels: Tensor,
  config: SamEncoderConfig,
  trace?: Trace,
): Tensor {
  using scope = pixels.device.scope();
  const batch = pixels.shape[0]!;
  const grid = samGrid(config);
  const patches = patchEmbed(
    pixels,
    p.tensor("patch_embed.proj.weight").reshape(config.width, -1),
    p.tensor("patch_embed.proj.bias"),
    config.patchSize,
  ).reshape(batch, grid, grid, config.width);
  trace?.("patch_embed", patches);
  let x = add(patches, p.tensor("pos_embed").reshape(grid, grid, config.width));
  for (let n = 0; n < config.depth; n++) {
    const next = block(
      p.at(`blocks.${n}.`),
      x,
      !config.globalBlocks.includes(n),
      config,
      traceAt(trace, `blocks.${n}.`),
    );
    x.dispose();
    x = next;
    trace?.(`blocks.${n}.out`, x);
  }
  let y = conv2d(permute(x, [0, 3, 1, 2]), p.tensor("neck.0.weight"), {});
  trace?.("neck.0", y);
  y = normLayer2d(p, "neck.1", y, blockEpsilon);
  trace?.("neck.1", y);
  y = conv2d(y, p.tensor("neck.2.weight"), { padding: 1 });
  trace?.("neck.2", y);
  y = normLayer2d(p, "neck.3", y, blockEpsilon);
  trace?.("neck.3", y);
  return scope.keep(y);
}
