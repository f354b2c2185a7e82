/**
 * CLIP's text transformer (pre-norm, causal, learned positions, read at the end token), in the tensor names of Hugging
 * Face's `CLIPTextModel`.
 *
 * @module
 */
import { add } from "../tensor/elementwise.ts";
import { slice } from "../tensor/movement.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { clipBlock, type ClipBlockConfig, clipBlockParameters } from "./clip_block.ts";
import { lookup, normLayer } from "./layers.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { specMaker } from "./specs.ts";

/** Sizes of a CLIP text tower. */
export interface ClipTextConfig extends ClipBlockConfig {
  /** Token ids. */
  readonly vocabulary: number;
  /** Most tokens of a text, start and end token included. */
  readonly maxPositions: number;
}

/** Texts as the tower reads them: start token, words, end token, then anything as padding. */
export interface ClipTexts {
  /** Token ids, row by row [B * T]. */
  readonly ids: Int32Array<ArrayBuffer>;
  /** Position of the end token of each text [B]. */
  readonly ends: Int32Array<ArrayBuffer>;
}

/** The tower's tensors, each name starting with `prefix` (which ends in `text_model.`). */
export function clipTextParameters(
  config: ClipTextConfig,
  prefix: string,
  stored: "F32" | "BF16",
): ParameterSpec[] {
  const { hiddenSize: width, vocabulary, maxPositions } = config;
  const { tensor, matrix, norm } = specMaker(prefix, stored);
  return [
    matrix("embeddings.token_embedding", vocabulary, width),
    tensor("embeddings.position_embedding.weight", [maxPositions, width], {
      kind: "normal",
      std: 0.01,
    }),
    ...clipBlockParameters(config, prefix, stored),
    ...norm("final_layer_norm", width),
  ];
}

/**
 * Puts texts of token ids together, cut at the configuration's limit; the end token stays the last one.
 *
 * @param texts Ids with start and end token, at least one each.
 * @throws {RangeError} when a text has no token.
 */
export function clipTexts(
  texts: readonly (readonly number[])[],
  { maxPositions }: Pick<ClipTextConfig, "maxPositions">,
): ClipTexts {
  const cut = texts.map((ids) =>
    ids.length <= maxPositions ? ids : [...ids.slice(0, maxPositions - 1), ids.at(-1)!]
  );
  if (cut.some(({ length }) => length === 0)) {
    throw new RangeError("Cannot read a text without tokens: expected a start and an end token");
  }
  const length = Math.max(0, ...cut.map((ids) => ids.length));
  const ids = new Int32Array(cut.length * length);
  cut.forEach((row, b) => ids.set(row, b * length));
  return { ids, ends: Int32Array.from(cut, (row) => row.length - 1) };
}

/**
 * Runs the tower. Padding stands behind the end token, where nothing that is read sees it.
 *
 * @param p Parameters below `text_model.`.
 * @returns The normalised hidden state at each end token, [B, width].
 * @throws {RangeError} when the texts are longer than the table of positions.
 */
export function clipText(
  p: ParameterScope,
  { ids, ends }: ClipTexts,
  config: ClipTextConfig,
): Tensor {
  const { device } = p;
  using scope = device.scope();
  const batch = ends.length, length = ids.length / batch;
  if (!Number.isInteger(length) || length > config.maxPositions) {
    throw new RangeError(
      `Cannot read ${batch} texts of ${ids.length} tokens together: expected equal lengths of at most ${config.maxPositions}`,
    );
  }
  const tokens = lookup(p, "embeddings.token_embedding", tensor(device, ids));
  const positions = slice(p.tensor("embeddings.position_embedding.weight"), 0, 0, length);
  let x = add(tokens.reshape(batch, length, -1), positions).reshape(batch * length, -1);
  // The last block is read at the end tokens alone, and the norm acts on rows by themselves.
  const only = tensor(device, ends.map((end, b) => b * length + end));
  const keyLengths = tensor(device, Uint32Array.from(ends, (end) => end + 1));
  for (let n = 0; n < config.layers; n++) {
    const reads = n === config.layers - 1 ? { only, keyLengths } : { causal: true };
    const next = clipBlock(p.at(`encoder.layers.${n}.`), x, batch, config, reads);
    x.dispose();
    x = next;
  }
  return scope.keep(normLayer(p, "final_layer_norm", x, config.epsilon));
}
