/**
 * SAM's prompt encoder: points, boxes and masks as tokens and as a plane beside the image (official
 * `segment_anything/modeling/prompt_encoder.py`, with its tensor names).
 *
 * @module
 */
import { conv2d } from "../tensor/conv.ts";
import { add, unary } from "../tensor/elementwise.ts";
import { gatherRows } from "../tensor/gather.ts";
import { concat, permute } from "../tensor/movement.ts";
import { shapeText, type Tensor, tensor } from "../tensor/tensor.ts";
import { normLayer2d } from "./layers.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { specMaker } from "./specs.ts";

/** The encoder's tensors, each name starting with `prefix` (which ends in `prompt_encoder.`). */
export function samPromptParameters(
  { width, maskChannels }: {
    /** Width of the tokens, that of the mask decoder. */
    readonly width: number;
    /** Channels inside the branch for mask prompts. */
    readonly maskChannels: number;
  },
  prefix: string,
  stored: "F32" | "BF16",
): ParameterSpec[] {
  const { tensor, conv, norm } = specMaker(prefix, stored, "pytorch");
  // The default of PyTorch's tables.
  const standard = { kind: "normal", std: 1 } as const;
  return [
    tensor("pe_layer.positional_encoding_gaussian_matrix", [2, width / 2], standard),
    ...[0, 1, 2, 3].map((n) => tensor(`point_embeddings.${n}.weight`, [1, width], standard)),
    tensor("not_a_point_embed.weight", [1, width], standard),
    ...conv("mask_downscaling.0", [maskChannels / 4, 1, 2, 2], maskChannels / 4),
    ...norm("mask_downscaling.1", maskChannels / 4),
    ...conv("mask_downscaling.3", [maskChannels, maskChannels / 4, 2, 2], maskChannels),
    ...norm("mask_downscaling.4", maskChannels),
    ...conv("mask_downscaling.6", [width, maskChannels, 1, 1], width),
    tensor("no_mask_embed.weight", [1, width], standard),
  ];
}

/** A point of a prompt. */
export interface PromptPoint {
  /** Column in pixels of the encoder's input, from the left edge of the first pixel less a half. */
  readonly x: number;
  /** Row, likewise. */
  readonly y: number;
  /** Whether what is meant lies there, or rather not. */
  readonly inside: boolean;
}

/** What is asked for in one image: points, a box or both. */
export interface SamPrompt {
  /** Default none. */
  readonly points?: readonly PromptPoint[];
  /** [x0, y0, x1, y1] in pixels of the encoder's input. */
  readonly box?: readonly [number, number, number, number];
}

/** Prompts of a batch, placed by the Fourier features of the model. */
export interface PlacedPrompts {
  /** Images, B. */
  readonly batch: number;
  /** Where each token lies [B * tokens, width]; zeros for padding. */
  readonly places: Float32Array<ArrayBuffer>;
  /** What each token is [B * tokens]: 0 padding, 1 outside, 2 inside, 3 and 4 the corners of a box. */
  readonly kinds: Int32Array<ArrayBuffer>;
}

const kind = { padding: 0, outside: 1, inside: 2, upperLeft: 3, lowerRight: 4 } as const;

/**
 * Places the prompts of a batch. Coordinates count pixel centres (a half is added), and a prompt without a box ends its points
 * with one padding point, as in the official code.
 *
 * @param prompts One per image: all with as many points, and all with a box or none.
 * @param gaussian The model's `positional_encoding_gaussian_matrix`, [2, width / 2].
 * @param side Side of the encoder's square input in pixels.
 * @throws {RangeError} when the prompts differ in form or one is empty.
 */
export function placePrompts(
  prompts: readonly SamPrompt[],
  gaussian: Float32Array,
  side: number,
): PlacedPrompts {
  const width = gaussian.length;
  const tokens = prompts.map(({ points = [], box }) => {
    const own = points.map(({ x, y, inside }) => ({
      x,
      y,
      kind: inside ? kind.inside : kind.outside as number,
    }));
    if (box === undefined) return [...own, { x: 0, y: 0, kind: kind.padding }];
    const [x0, y0, x1, y1] = box;
    return [
      ...own,
      { x: x0, y: y0, kind: kind.upperLeft },
      { x: x1, y: y1, kind: kind.lowerRight },
    ];
  });
  const forms = new Set(prompts.map(({ points = [], box }) => `${points.length} ${box?.length}`));
  if (forms.size > 1 || tokens.some((own) => own[0]!.kind === kind.padding)) {
    throw new RangeError(
      `Cannot encode ${prompts.length} prompts together: expected points or boxes, and the same number of each in every prompt`,
    );
  }
  const all = tokens.flat();
  const places = new Float32Array(all.length * width);
  all.forEach((token, row) => {
    if (token.kind === kind.padding) return;
    const { x, y } = token;
    writeFeatures(places, row * width, gaussian, (x + 0.5) / side, (y + 0.5) / side);
  });
  return { batch: prompts.length, places, kinds: Int32Array.from(all, (token) => token.kind) };
}

/**
 * Tokens of prompts: where each lies plus the embedding of what it is.
 *
 * @param p Parameters below `prompt_encoder.`.
 * @returns [B, tokens, width].
 */
export function samPromptTokens(
  p: ParameterScope,
  { batch, places, kinds }: PlacedPrompts,
): Tensor {
  using scope = p.device.scope();
  const table = concat([
    p.tensor("not_a_point_embed.weight"),
    ...[0, 1, 2, 3].map((n) => p.tensor(`point_embeddings.${n}.weight`)),
  ], 0);
  const embedded = gatherRows(table, tensor(p.device, kinds));
  const placed = tensor(p.device, places, embedded.shape);
  return scope.keep(add(embedded, placed)).reshape(batch, -1, embedded.shape[1]!);
}

/**
 * Adds the prompt that has no place to image embeddings: that of no mask, or the low-resolution mask itself.
 *
 * @param p Parameters below `prompt_encoder.`.
 * @param image Image embeddings [B, width, h, w].
 * @param masks Mask prompts as logits [B, 1, 4h, 4w]. Default: none.
 * @returns Shape of the image embeddings.
 * @throws {RangeError} when the masks do not fit.
 */
export function addDensePrompt(p: ParameterScope, image: Tensor, masks?: Tensor): Tensor {
  using scope = image.device.scope();
  if (masks === undefined) {
    // The same row for every cell: channels-last it is one trailing row.
    const row = p.tensor("no_mask_embed.weight").reshape(-1);
    return scope.keep(permute(add(permute(image, [0, 2, 3, 1]), row), [0, 3, 1, 2]));
  }
  const [batch, , height, width] = image.shape as [number, number, number, number];
  if (shapeText(masks.shape) !== shapeText([batch, 1, 4 * height, 4 * width])) {
    throw new RangeError(
      `Cannot use masks ${shapeText(masks.shape)} as prompts for image embeddings ${
        shapeText(image.shape)
      }: expected ${shapeText([batch, 1, 4 * height, 4 * width])}`,
    );
  }
  const down = p.at("mask_downscaling.");
  const convolve = (x: Tensor, name: string, stride: number) =>
    conv2d(x, down.tensor(`${name}.weight`), { bias: down.tensor(`${name}.bias`), stride });
  const epsilon = 1e-6;
  const half = unary("gelu", normLayer2d(down, "1", convolve(masks, "0", 2), epsilon));
  const quarter = unary("gelu", normLayer2d(down, "4", convolve(half, "3", 2), epsilon));
  return scope.keep(add(image, convolve(quarter, "6", 1)));
}

/** Fourier features of a place, sin and cos of 2 pi (2 xy - 1) G, into `rows` from `at` on. */
function writeFeatures(
  rows: Float32Array,
  at: number,
  gaussian: Float32Array,
  x: number,
  y: number,
): void {
  const features = gaussian.length / 2;
  const u = 2 * x - 1, v = 2 * y - 1;
  for (let f = 0; f < features; f++) {
    const angle = 2 * Math.PI * (u * gaussian[f]! + v * gaussian[features + f]!);
    rows[at + f] = Math.sin(angle);
    rows[at + features + f] = Math.cos(angle);
  }
}

/**
 * SAM's random Fourier features of the grid cells: sin and cos of 2 pi (2 xy - 1) G at cell centres, token-major
 * [h * w, 2 * features].
 *
 * @param gaussian G, [2, features].
 */
export function densePositions(
  gaussian: Float32Array,
  height: number,
  columns: number,
): Float32Array<ArrayBuffer> {
  const width = gaussian.length;
  const rows = new Float32Array(height * columns * width);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < columns; x++, at += width) {
      writeFeatures(rows, at, gaussian, (x + 0.5) / columns, (y + 0.5) / height);
    }
  }
  return rows;
}
