/**
 * The transformer block that CLIP's two towers share: pre-norm attention and MLP, in the tensor names of Hugging Face.
 *
 * @module
 */
import type { Unary } from "../kernels/elementwise.ts";
import { attention } from "../tensor/attention.ts";
import { gatherRows } from "../tensor/gather.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Initialiser } from "./initialise.ts";
import { linearLayer, normLayer } from "./layers.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { specMaker } from "./specs.ts";

/** Sizes of the blocks of a tower. */
export interface ClipBlockConfig {
  /** Width of the hidden states; a multiple of `heads`. */
  readonly hiddenSize: number;
  /** Width inside the MLP of a block. */
  readonly intermediateSize: number;
  /** Transformer blocks. */
  readonly layers: number;
  /** Attention heads per block, each `hiddenSize / heads` wide. */
  readonly heads: number;
  /** Between the two layers of the MLP; OpenAI's towers use `quickGelu`. */
  readonly activation: Unary;
  /** LayerNorm epsilon. */
  readonly epsilon: number;
}

/** What the tokens of a block see of each other, and which are wanted. */
export interface ClipBlockOptions {
  /** Tokens see themselves and those before. Default false. */
  readonly causal?: boolean;
  /** u32 [batch]: tokens from this one on are padding, which no other sees. Default: none are. */
  readonly keyLengths?: Tensor;
  /**
   * i32 or u32 [batch]: rows of x, one of each batch item, that alone are carried on; the others are only seen by them, as far
   * as `keyLengths` goes. Saves most of the last block of a tower that is read at one token. Default: all rows.
   */
  readonly only?: Tensor;
}

/**
 * The tensors of all blocks of a tower, `PREFIXencoder.layers.N.*`. They start as in the official code (`initialize_parameters`
 * of OpenAI's `clip/model.py`): what is added to the residual stream is the smaller, the more blocks there are.
 */
export function clipBlockParameters(
  { hiddenSize: width, intermediateSize: inner, layers }: ClipBlockConfig,
  prefix: string,
  stored: "F32" | "BF16",
): ParameterSpec[] {
  const { linear, norm } = specMaker(prefix, stored);
  const normal = (std: number): Initialiser => ({ kind: "normal", std });
  const into = normal(width ** -0.5), out = normal(width ** -0.5 * (2 * layers) ** -0.5);
  return Array.from({ length: layers }, (_, n) => {
    const layer = `encoder.layers.${n}`;
    return [
      ...["k_proj", "v_proj", "q_proj", "out_proj"].flatMap((name) =>
        linear(`${layer}.self_attn.${name}`, width, width, name === "out_proj" ? out : into)
      ),
      ...norm(`${layer}.layer_norm1`, width),
      ...linear(`${layer}.mlp.fc1`, inner, width, normal((2 * width) ** -0.5)),
      ...linear(`${layer}.mlp.fc2`, width, inner, out),
      ...norm(`${layer}.layer_norm2`, width),
    ];
  }).flat();
}

/**
 * One block: x + attention(norm(x)), then x + mlp(norm(x)).
 *
 * @param p Parameters below `encoder.layers.N.`.
 * @param x [batch * tokens, hiddenSize].
 * @returns The same shape, or [batch, hiddenSize] with `only`.
 */
export function clipBlock(
  p: ParameterScope,
  x: Tensor,
  batch: number,
  { hiddenSize, heads, epsilon, activation }: ClipBlockConfig,
  { only, causal = false, keyLengths }: ClipBlockOptions = {},
): Tensor {
  using scope = x.device.scope();
  const keys = x.shape[0]! / batch, queries = only === undefined ? keys : 1;
  const attend = p.at("self_attn.");
  const normed = normLayer(p, "layer_norm1", x, epsilon);
  const wanted = (rows: Tensor) => only === undefined ? rows : gatherRows(rows, only);
  const project = (name: string, rows: Tensor) => ({ tensor: linearLayer(attend, name, rows) });
  const mixed = attention(
    project("q_proj", wanted(normed)),
    project("k_proj", normed),
    project("v_proj", normed),
    { batch, queries, keys, heads, headSize: hiddenSize / heads },
    { causal, ...(keyLengths && { keyLengths }) },
  ).reshape(batch * queries, hiddenSize);
  const attended = linearLayer(attend, "out_proj", mixed, { residual: wanted(x) });
  return scope.keep(
    normedMlp(p, normLayer(p, "layer_norm2", attended, epsilon), attended, activation),
  );
}

/**
 * The second half of a pre-norm block: residual + fc2(activation(fc1(x))).
 *
 * @param p Parameters below the block, with `mlp.fc1` and `mlp.fc2`.
 * @param x Normalised input [n, hiddenSize].
 * @param residual What is added, [n, hiddenSize].
 */
export function normedMlp(
  p: ParameterScope,
  x: Tensor,
  residual: Tensor,
  activation: Unary,
): Tensor {
  using scope = x.device.scope();
  const inner = linearLayer(p, "mlp.fc1", x, { activation });
  return scope.keep(linearLayer(p, "mlp.fc2", inner, { residual }));
}
