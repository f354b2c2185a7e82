/**
 * The LLaMA decoder: RMSNorm, rotate-half rotary positions, grouped-query causal attention with a key-value cache, and a
 * feed-forward layer that the caller supplies (dense SwiGLU, mixture of experts, …). Tensor names of Hugging Face's
 * `LlamaModel`.
 *
 * @module
 */
import type { FloatDType } from "../checkpoint/mod.ts";
import type { Device } from "../device/mod.ts";
import { attention, decodeAttention } from "../tensor/attention.ts";
import { binary } from "../tensor/elementwise.ts";
import { rmsNorm } from "../tensor/norm.ts";
import { rope, ropeAppend } from "../tensor/rope.ts";
import { checkpoint } from "../tensor/tape.ts";
import { empty, type Tensor } from "../tensor/tensor.ts";
import { projection } from "./layers.ts";
import type { ParameterScope, ParameterSpec } from "./parameters.ts";
import { attendShared, type SharedPrefixes } from "./shared_prefix.ts";
import { specMaker } from "./specs.ts";
import type { Trace } from "./trace.ts";

/** Sizes of a LLaMA decoder. */
export interface LlamaConfig {
  /** Rows of the token table and of the output head, added tokens included. */
  readonly vocabulary: number;
  /** Width of the hidden states; a multiple of `heads`. */
  readonly hiddenSize: number;
  /** Width inside a feed-forward layer, and of each expert. */
  readonly intermediateSize: number;
  /** Decoder layers. */
  readonly layers: number;
  /** Query heads, each `hiddenSize / heads` wide (an even number). */
  readonly heads: number;
  /** Key and value heads; divides `heads`. */
  readonly keyHeads: number;
  /** Positions the model was made for: the longest prompt plus answer. */
  readonly maxPositions: number;
  /** RMSNorm epsilon. */
  readonly epsilon: number;
  /** Rotary base. */
  readonly theta: number;
}

/** Size of one head. */
export function llamaHeadSize({ hiddenSize, heads }: LlamaConfig): number {
  return hiddenSize / heads;
}

/** Attention and norms of every layer, the tables and the head; `feedForward` adds the tensors of each layer's MLP. */
export function llamaParameters(
  config: LlamaConfig,
  stored: FloatDType,
  feedForward: (layer: number, prefix: string) => ParameterSpec[],
): ParameterSpec[] {
  const { hiddenSize: width, vocabulary } = config;
  const head = llamaHeadSize(config);
  const { tensor, matrix } = specMaker("", stored);
  const table = (name: string, rows: number, columns: number) =>
    matrix(name, rows, columns, "matrix");
  const norm = (name: string) => tensor(`${name}.weight`, [width], { kind: "ones" });
  const specs = [table("model.embed_tokens", vocabulary, width)];
  for (let n = 0; n < config.layers; n++) {
    const layer = `model.layers.${n}.`;
    specs.push(
      table(`${layer}self_attn.q_proj`, width, width),
      table(`${layer}self_attn.k_proj`, config.keyHeads * head, width),
      table(`${layer}self_attn.v_proj`, config.keyHeads * head, width),
      table(`${layer}self_attn.o_proj`, width, width),
      ...feedForward(n, `${layer}mlp.`),
      norm(`${layer}input_layernorm`),
      norm(`${layer}post_attention_layernorm`),
    );
  }
  return [...specs, norm("model.norm"), table("lm_head", vocabulary, width)];
}

/** Tensors of a dense SwiGLU layer. */
export function denseFeedForwardParameters(
  config: LlamaConfig,
  prefix: string,
  stored: FloatDType,
): ParameterSpec[] {
  const { hiddenSize: width, intermediateSize: inner } = config;
  const { matrix } = specMaker(prefix, stored);
  return [
    matrix("gate_proj", inner, width, "matrix"),
    matrix("up_proj", inner, width, "matrix"),
    matrix("down_proj", width, inner, "matrix"),
  ];
}

/** The dense feed-forward layer: down(silu(gate(x)) * up(x)) + residual. */
export function denseFeedForward(p: ParameterScope, x: Tensor, residual: Tensor): FeedForward {
  using scope = x.device.scope();
  const gated = binary(
    "swiglu",
    projection(p, "gate_proj", x),
    projection(p, "up_proj", x),
  );
  return { y: scope.keep(projection(p, "down_proj", gated, { residual })) };
}

/** Keys (rotated) and values of every layer, allocated once at their final length. */
export class KeyValueCache {
  /** Rows per layer: the most tokens of prompt and answer together. */
  readonly capacity: number;
  /** Keys per layer, rotary positions applied, f32 [capacity, keyHeads * headSize]. */
  readonly keys: readonly Tensor[];
  /** Values per layer, f32 [capacity, keyHeads * headSize]. */
  readonly values: readonly Tensor[];

  /**
   * Allocates 2 * layers tensors; their content is undefined until rows are appended.
   *
   * @param capacity Most tokens, at most `config.maxPositions`.
   */
  constructor(device: Device, config: LlamaConfig, capacity: number) {
    const width = config.keyHeads * llamaHeadSize(config);
    const make = () =>
      Array.from(
        { length: config.layers },
        () => empty(device, [capacity, width], "f32", "kv cache"),
      );
    this.capacity = capacity;
    this.keys = make();
    this.values = make();
  }

  /** Bytes of a cache, without allocating it. */
  static bytes(config: LlamaConfig, capacity: number): number {
    return 2 * 4 * config.layers * capacity * config.keyHeads * llamaHeadSize(config);
  }

  /** Releases the tensors of all layers. */
  dispose(): void {
    for (const one of [...this.keys, ...this.values]) one.dispose();
  }
}

/** What the feed-forward part of a layer gives. */
export interface FeedForward {
  /** Output with the residual added, f32 [B * T, H]. */
  readonly y: Tensor;
  /** Loss of its own, such as an uneven use of experts, f32 [1]. */
  readonly auxiliary?: Tensor;
}

/** What a forward pass works on. */
export interface LlamaPass {
  /** Rows of the batch; more than one only without a cache. */
  readonly batch: number;
  /** Position of each input row, u32 [rows]. */
  readonly positions: Tensor;
  /**
   * Where keys and values are kept. `before` is the number of tokens already in the cache, known on the host for a prompt;
   * for a decode step it is left out and `length` says on the device how many keys there are, the new one included.
   */
  readonly cache?: {
    readonly store: KeyValueCache;
    readonly before?: number;
    readonly length?: Tensor;
  };
  /** u32 [B]: keys beyond are padding. */
  readonly keyLengths?: Tensor;
  /**
   * Beginnings that several rows of the batch share, only without a cache: their input rows come before the [B * T] others, and
   * keys count from the beginning of the prefix.
   */
  readonly prefixes?: SharedPrefixes;
  /** The layer's MLP: normalised input [B * T, H] and the residual to add; gives their sum. */
  readonly feedForward: (
    p: ParameterScope,
    x: Tensor,
    residual: Tensor,
    layer: number,
    trace?: Trace,
  ) => FeedForward;
  /** Gets the auxiliary loss of every layer that has one. */
  readonly auxiliary?: (loss: Tensor) => void;
  /** Keep only the input of each layer for differentiation and compute the rest again on the way back. Default false. */
  readonly recompute?: boolean;
  /** Gets the states before a layer [rows, H], for losses of their own; they live as long as the result. */
  readonly states?: {
    /** Number of the layer, from 0. */
    readonly before: number;
    /** Called once. */
    readonly use: (states: Tensor) => void;
  } | undefined;
  /** Gets `hidden.N` (embeddings first), `layerN.key` and `layerN.value` [T, keyHeads * headSize]. */
  readonly trace?: Trace | undefined;
}

function attend(
  p: ParameterScope,
  x: Tensor,
  residual: Tensor,
  layer: number,
  config: LlamaConfig,
  pass: LlamaPass,
): Tensor {
  using scope = x.device.scope();
  const headSize = llamaHeadSize(config);
  const { heads, keyHeads, theta } = config;
  const project = (name: string) => projection(p, name, x);
  const rotation = { headSize, theta };
  const q = rope(project("q_proj"), pass.positions, rotation);
  const k = project("k_proj"), v = project("v_proj");
  const rows = x.shape[0]! / pass.batch;
  let mixed: Tensor;
  if (pass.cache === undefined) {
    const rotated = rope(k, pass.positions, rotation);
    pass.trace?.(`layer${layer}.key`, rotated);
    pass.trace?.(`layer${layer}.value`, v);
    const { batch, prefixes, keyLengths } = pass, sizes = { batch, heads, keyHeads, headSize };
    mixed = prefixes === undefined
      ? attention(
        { tensor: q },
        { tensor: rotated },
        { tensor: v },
        { ...sizes, queries: rows, keys: rows },
        { causal: true, ...(keyLengths === undefined ? {} : { keyLengths }) },
      )
      : attendShared(q, rotated, v, sizes, prefixes, keyLengths);
  } else {
    const { store, before, length } = pass.cache;
    const keys = store.keys[layer]!, values = store.values[layer]!;
    ropeAppend(k, v, keys, values, pass.positions, rotation);
    pass.trace?.(`layer${layer}.key`, keys);
    pass.trace?.(`layer${layer}.value`, values);
    mixed = before === undefined
      ? decodeAttention(q, keys, values, length!, { heads, keyHeads, headSize })
      : attention({ tensor: q }, { tensor: keys }, { tensor: values }, {
        batch: 1,
        queries: rows,
        keys: before + rows,
        heads,
        keyHeads,
        headSize,
      }, { causal: true });
  }
  return scope.keep(projection(p, "o_proj", mixed.reshape(x.shape[0]!, -1), { residual }));
}

/** One decoder layer: its output and, if it has one, its auxiliary loss. */
function decoderLayer(
  p: ParameterScope,
  x: Tensor,
  n: number,
  config: LlamaConfig,
  pass: LlamaPass,
): readonly Tensor[] {
  using scope = x.device.scope();
  const layer = p.at(`layers.${n}.`);
  const normed = rmsNorm(x, layer.tensor("input_layernorm.weight"), config.epsilon);
  const attended = attend(layer.at("self_attn."), normed, x, n, config, pass);
  const inner = rmsNorm(attended, layer.tensor("post_attention_layernorm.weight"), config.epsilon);
  const { y, auxiliary } = pass.feedForward(layer.at("mlp."), inner, attended, n, pass.trace);
  return [scope.keep(y), ...auxiliary === undefined ? [] : [scope.keep(auxiliary)]];
}

/**
 * Runs the decoder on embedded tokens.
 *
 * @param p Parameters below `model.`.
 * @param embedded Input rows [B * T, H], behind those of shared prefixes.
 * @returns Hidden states after the final norm, as many.
 */
export function llama(
  p: ParameterScope,
  embedded: Tensor,
  config: LlamaConfig,
  pass: LlamaPass,
): Tensor {
  using scope = embedded.device.scope();
  let x = embedded;
  pass.trace?.("hidden.0", x);
  for (let n = 0; n < config.layers; n++) {
    const tapped = n === pass.states?.before;
    if (tapped) pass.states!.use(x === embedded ? x : scope.keep(x));
    const layer = (input: Tensor) => decoderLayer(p, input, n, config, pass);
    const [next, auxiliary] = pass.recompute === true ? checkpoint([x], layer) : layer(x);
    if (x !== embedded && !tapped) x.dispose();
    x = next!;
    if (auxiliary !== undefined) {
      if (pass.auxiliary === undefined) auxiliary.dispose();
      else pass.auxiliary(scope.keep(auxiliary));
    }
    pass.trace?.(n + 1 < config.layers ? `hidden.${n + 1}` : "hidden.last", x);
  }
  const normed = rmsNorm(x, p.tensor("norm.weight"), config.epsilon);
  pass.trace?.(`hidden.${config.layers}`, normed);
  return scope.keep(normed);
}
