/**
 * Reference case of the family's decoder: a batch padded on the left, its cache, greedy decoding, a batch padded on the right with
 * its losses, the processors of sampling.
 *
 * Rows are run one by one without padding: rotary positions count relative to each other, so that a row has the same values
 * wherever the padding puts it. Rows of padding are not compared; nobody reads them.
 *
 * @module
 */
import { openFolder } from "@medvlm/core";
import { openCheckpoint } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import {
  decodeBatch,
  feedForward,
  type MinigptConfig,
  paper,
  readLlamaConfig,
} from "@medvlm/core/minigpt";
import {
  denseFeedForwardParameters,
  Generation,
  KeyValueCache,
  llama,
  type LlamaConfig,
  llamaHeadSize,
  llamaParameters,
  loadParameters,
  type Parameters,
  projection,
  TraceCollector,
} from "@medvlm/core/nn";
import {
  attention,
  crossEntropy,
  fill,
  gatherRows,
  linear,
  rmsNorm,
  rope,
  type Tensor,
  tensor,
} from "@medvlm/core/tensor";
import { type CaseFiles, openCase } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";
import { compare } from "./medplib_parts.ts";
import { compareProcessors } from "./minigpt_sampling.ts";

/** Which positions of a padded batch are in use, and what they are compared with. */
export class PaddedRows {
  readonly #mask: ArrayLike<number>;
  /** Positions of a row. */
  readonly length: number;

  /** @param mask 1 for positions in use, row by row. */
  constructor(mask: ArrayLike<number>, length: number) {
    this.#mask = mask;
    this.length = length;
  }

  /** Positions in use of a row. */
  of(row: number): number[] {
    return Array.from({ length: this.length }, (_, i) => i)
      .filter((i) => this.#mask[row * this.length + i] === 1);
  }

  /** Values at the positions in use of a row; `before` blocks of positions lie in a row, one after the other. */
  pick(values: ArrayLike<number>, row: number, size: number, before = 1): number[] {
    const positions = this.of(row);
    const out: number[] = [];
    for (let block = 0; block < before; block++) {
      for (const position of positions) {
        const at = ((row * before + block) * this.length + position) * size;
        for (let i = 0; i < size; i++) out.push(values[at + i]!);
      }
    }
    return out;
  }
}

/** [T, heads * size] to [heads, T, size]. */
function headsFirst(values: ArrayLike<number>, heads: number, size: number): Float32Array {
  const tokens = values.length / heads / size;
  return Float32Array.from(values, (_, i) => {
    const d = i % size, t = Math.floor(i / size) % tokens, h = Math.floor(i / size / tokens);
    return values[(t * heads + h) * size + d]!;
  });
}

/** Loads a LLaMA directory. */
export async function loadDecoder(
  device: Device,
  dir: string,
): Promise<{ config: LlamaConfig; p: Parameters }> {
  const folder = await openFolder(dir);
  using checkpoint = await openCheckpoint(folder);
  const config = await readLlamaConfig(folder);
  const specs = llamaParameters(
    config,
    "F16",
    (_, prefix) => denseFeedForwardParameters(config, prefix, "F16"),
  );
  return {
    config,
    p: await loadParameters(device, specs, checkpoint, { ignore: [/rotary_emb\.inv_freq$/] }),
  };
}

/** `minigpt-v2/llama`. */
export async function runLlama(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const { config, p } = await loadDecoder(device, `${dir}/llama`);
  const { atol, rtol } = files.case.tolerance as Required<Tolerance>;
  const decoder = { files, report, device, config, p, tolerance: { atol, rtol } };
  await comparePrefill(decoder);
  await compareGreedy(decoder);
  await compareTraining(decoder);
  {
    using _scope = device.scope();
    const { shape, values } = await files.inputs.get("norm_probe");
    const rows = tensor(device, Float32Array.from(values), shape);
    const weight = p.tensor("model.layers.0.input_layernorm.weight");
    await compare(
      report,
      files,
      "norm_probe.layer.0.input_layernorm",
      rmsNorm(rows, weight, config.epsilon),
      files.case.tolerance.norm_probe,
    );
  }
  await compareProcessors(files, report, device, decoder.tolerance);
  p.dispose();
}

interface Decoder {
  readonly files: CaseFiles;
  readonly report: Report;
  readonly device: Device;
  readonly config: LlamaConfig;
  readonly p: Parameters;
  readonly tolerance: Tolerance;
}

async function comparePrefill(decoder: Decoder): Promise<void> {
  const { files, report, device, config, p, tolerance } = decoder;
  const { shape: [batch, length], values: ids } = await files.inputs.get("input_ids");
  const padded = new PaddedRows((await files.inputs.get("attention_mask")).values, length!);
  const given = (await files.inputs.get("position_ids")).values;
  for (let row = 0; row < batch!; row++) {
    using _scope = device.scope();
    const own = padded.of(row);
    const tokens = Int32Array.from(own, (i) => ids[row * length! + i]!);
    report.exact(`position_ids ${row}`, [...tokens.keys()], padded.pick(given, row, 1));
    const positions = tensor(device, Uint32Array.from(tokens.keys()));
    const embedded = gatherRows(p.weight("model.embed_tokens.weight"), tensor(device, tokens));
    const cache = new KeyValueCache(device, config, tokens.length);
    const collected = new TraceCollector();
    const final = llama(p.at("model."), embedded, config, {
      batch: 1,
      positions,
      cache: { store: cache, before: 0 },
      feedForward,
      trace: collected.trace,
    });
    const against = async (name: string, actual: ArrayLike<number>, before = 1) => {
      const { shape, values } = await files.expected.get(name);
      report.close(
        `${name} ${row}`,
        actual,
        padded.pick(values, row, shape.at(-1)!, before),
        tolerance,
      );
    };
    await against("prefill.embed", await embedded.readFloats());
    const { layers, keyHeads } = config, headSize = llamaHeadSize(config);
    for (let n = 0; n < layers; n++) {
      const out = n + 1 < layers ? `hidden.${n + 1}` : "hidden.last";
      await against(`prefill.layer.${n}`, (await collected.values(out))!);
      for (const [name, traced] of [["k", "key"], ["v", "value"]]) {
        const values = (await collected.values(`layer${n}.${traced}`))!;
        await against(
          `prefill.cache.${n}.${name}`,
          headsFirst(values, keyHeads, headSize),
          keyHeads,
        );
      }
    }
    await against("prefill.norm", (await collected.values(`hidden.${layers}`))!);
    await against("prefill.logits", await linear(final, p.weight("lm_head.weight")).readFloats());
    await compareLayer(decoder, embedded, positions, against);
    cache.dispose();
  }
}

/** The inside of the first layer, step by step. */
async function compareLayer(
  { files, device, config, p }: Decoder,
  x: Tensor,
  positions: Tensor,
  against: (name: string, actual: ArrayLike<number>, before?: number) => Promise<void>,
): Promise<void> {
  if (!files.expected.has("prefill.layer.0.self_attn")) return;
  const { heads, keyHeads, epsilon, theta } = config, headSize = llamaHeadSize(config);
  const layer = p.at("model.layers.0."), rows = x.shape[0]!;
  const normed = rmsNorm(x, layer.tensor("input_layernorm.weight"), epsilon);
  const at = layer.at("self_attn.");
  const q = projection(at, "q_proj", normed), k = projection(at, "k_proj", normed);
  const v = projection(at, "v_proj", normed);
  const turnedQ = rope(q, positions, { headSize, theta });
  const turnedK = rope(k, positions, { headSize, theta });
  const mixed = attention(
    { tensor: turnedQ },
    { tensor: turnedK },
    { tensor: v },
    { batch: 1, queries: rows, keys: rows, heads, keyHeads, headSize },
    { causal: true },
  ).reshape(rows, -1);
  const attended = projection(at, "o_proj", mixed);
  const after = projection(at, "o_proj", mixed, { residual: x });
  const inner = rmsNorm(after, layer.tensor("post_attention_layernorm.weight"), epsilon);
  const nothing = fill(device, x.shape, 0);
  const { y } = feedForward(layer.at("mlp."), inner, nothing);
  const one = "prefill.layer.0.";
  await against(`${one}input_layernorm`, await normed.readFloats());
  const split = async (name: string, value: Tensor, count: number) =>
    await against(`${one}${name}`, headsFirst(await value.readFloats(), count, headSize), count);
  await split("q_before_rope", q, heads);
  await split("q_rope", turnedQ, heads);
  await split("k_rope", turnedK, keyHeads);
  await against(`${one}self_attn`, await attended.readFloats());
  await against(`${one}post_attention_layernorm`, await inner.readFloats());
  await against(`${one}mlp`, await y.readFloats());
}

/** Logits of every step of a generation, from its trace. */
export async function stepLogits(
  collected: TraceCollector,
  steps: number,
): Promise<ArrayLike<number>[]> {
  return await Promise.all(
    Array.from(
      { length: steps },
      async (_, step) => (await collected.values(step === 0 ? "logits" : `step${step}.logits`))!,
    ),
  );
}

/** A row of generated ids as transformers returns it: a beginning token, the new tokens, padding behind the end. */
export function paddedSequence(tokens: readonly number[], length: number, pad: number): number[] {
  return [1, ...tokens, ...new Array<number>(length - 1 - tokens.length).fill(pad)];
}

async function compareGreedy(
  { files, report, device, config, p, tolerance }: Decoder,
): Promise<void> {
  const { shape: [batch, length], values: ids } = await files.inputs.get("input_ids");
  const padded = new PaddedRows((await files.inputs.get("attention_mask")).values, length!);
  const { max_new_tokens: most, eos_token_id: stopToken, pad_token_id: pad } =
    files.case.generation;
  const sequences = await files.expected.get("greedy.sequences");
  const scores = (await files.expected.get("greedy.scores")).values;
  const steps = sequences.shape[1]! - 1, vocabulary = config.vocabulary;
  for (let row = 0; row < batch!; row++) {
    using _scope = device.scope();
    const tokens = Int32Array.from(padded.of(row), (i) => ids[row * length! + i]!);
    const embedding = p.weight("model.embed_tokens.weight");
    const collected = new TraceCollector((name) => name.endsWith("logits"));
    const setup = {
      device,
      config,
      model: p.at("model."),
      embedding,
      head: p.weight("lm_head.weight"),
      feedForward,
    };
    const prompt = gatherRows(embedding, tensor(device, tokens));
    const how = { maxNewTokens: most, temperature: 0, topP: 1, seed: 0, stopToken };
    const found: number[] = [];
    {
      using generation = new Generation(setup, prompt, { ...how, trace: collected.trace });
      for await (const token of generation.tokens()) found.push(token);
    }
    const wanted = Array.from(sequences.values).slice(row * (steps + 1), (row + 1) * (steps + 1));
    report.exact(`greedy.sequences ${row}`, paddedSequence(found, steps + 1, pad), wanted);
    const logits = await stepLogits(collected, found.length);
    report.close(
      `greedy.scores ${row}`,
      logits.flatMap((one) => Array.from(one)),
      scores.slice(row * steps * vocabulary, (row * steps + found.length) * vocabulary),
      tolerance,
    );
    // The recorded, pipelined decoder must give the same tokens as the traced one.
    const recorded: number[] = [];
    {
      using generation = new Generation(setup, prompt, how);
      for await (const token of generation.tokens()) recorded.push(token);
    }
    report.exact(`recorded decode ${row}`, recorded, found);
  }
}

async function compareTraining(
  { files, report, device, config, p, tolerance }: Decoder,
): Promise<void> {
  using _scope = device.scope();
  const { shape: [size, length], values: ids } = await files.inputs.get("train.input_ids");
  const mask = (await files.inputs.get("train.attention_mask")).values;
  const labels = (await files.inputs.get("train.labels")).values;
  const padded = new PaddedRows(mask, length!);
  const lengths = Uint32Array.from({ length: size! }, (_, row) => padded.of(row).length);
  const embedded = gatherRows(
    p.weight("model.embed_tokens.weight"),
    tensor(device, Int32Array.from(ids)),
  );
  const whole: MinigptConfig = { ...paper, llama: config };
  const hidden = decodeBatch(p, embedded, { size: size!, length: length!, lengths }, whole);
  const logits = linear(hidden, p.weight("lm_head.weight")).reshape(size!, length!, -1);
  await compare(report, files, "train.logits", logits, tolerance);
  const targets = tensor(device, Int32Array.from(labels), [size!, length!]);
  await compare(
    report,
    files,
    "train.loss",
    crossEntropy(logits, targets, { shift: true }),
    tolerance,
  );
  const rows = crossEntropy(logits, targets, { shift: true, reduction: "sequence" });
  await compare(report, files, "train.loss_none", rows, tolerance);
}
