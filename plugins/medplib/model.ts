/**
 * MedPLIB on a device: a request becomes a prompt, the prompt an answer, and `<SEG>` in the answer a mask.
 *
 * @module
 */
import {
  type AnswerEvent,
  checkSearchOptions,
  type Device,
  type FolderWriter,
  type GenerateOptions,
  type GroundedAnswer,
  InputError,
  type Model,
  type Phrase,
  type Raster,
  type Request,
  type SearchOptions,
} from "@medvlm/core";
import { saveShardedBin, saveShardedSafetensors } from "@medvlm/core/checkpoint";
import { clipGrid, Generation, type Parameters, type Trace, traceAt } from "@medvlm/core/nn";
import { slice, type Tensor, tensor } from "@medvlm/core/tensor";
import type { LlamaTokenizer } from "@medvlm/core/text";
import type { MedplibConfig } from "./config.ts";
import {
  decodeMasks,
  gridPositions,
  pixelEmbeddings,
  segEmbedding,
  singleMask,
} from "./grounding.ts";
import { visualRows, visualStack } from "./icl.ts";
import { type InContextRequest, prepareInContext } from "./in_context.ts";
import { embedPrompt, evaluationRouting, feedForwardOf } from "./language.ts";
import { names } from "./params.ts";
import { maskLogits, thresholdMask } from "./postprocess.ts";
import { type PreparedRequest, prepareRequest } from "./request.ts";
import { retrievalFeatures, retrievalInput } from "./retrieval.ts";
import { regionFeature } from "./vision.ts";

/** Files that belong to a saved model besides its tensors, by name. */
export type CompanionFiles = ReadonlyMap<string, Uint8Array>;

/** What only tests and benchmarks ask for. */
export interface AnswerOptions extends GenerateOptions {
  /** Gets intermediate values under the names of the reference cases; generation then runs step by step. */
  readonly trace?: Trace;
  /** Cut masks as the image really lies in SAM's input instead of as the official code does. Default false. */
  readonly correctedMasks?: boolean;
  /** Gets the mask's logits at the original size, row by row. */
  readonly maskLogits?: (logits: Float32Array) => void;
}

/** MedPLIB answers token by token: no search, no grammar. */
export const searchOptions: readonly (keyof SearchOptions)[] = [];

/** The evaluation's limit; the context may be shorter. */
const defaultNewTokens = 1024;

/** A MedPLIB model. Make one with `medplib.load` or `medplib.init`. */
export class MedplibModel implements Model {
  /** Device that holds the weights; it stays open when the model is disposed. */
  readonly device: Device;
  /** Sizes and thresholds the model was made with. */
  readonly config: MedplibConfig;
  /** Tokenizer of the checkpoint, or the built-in one of a seeded model; knows `<SEG>`. */
  readonly tokenizer: LlamaTokenizer;
  /** The weights come from `init`: answers are noise. */
  readonly untrained: boolean;
  readonly #parameters: Parameters;
  readonly #positions: Tensor;
  readonly #companions: CompanionFiles;

  private constructor(
    config: MedplibConfig,
    parameters: Parameters,
    tokenizer: LlamaTokenizer,
    positions: Tensor,
    companions: CompanionFiles,
    untrained: boolean,
  ) {
    this.device = parameters.device;
    this.config = config;
    this.tokenizer = tokenizer;
    this.untrained = untrained;
    this.#parameters = parameters;
    this.#positions = positions;
    this.#companions = companions;
  }

  /** Puts parameters, tokenizer and configuration together. */
  static async create(
    config: MedplibConfig,
    parameters: Parameters,
    tokenizer: LlamaTokenizer,
    companions: CompanionFiles,
    untrained: boolean,
  ): Promise<MedplibModel> {
    const positions = await gridPositions(parameters.at(names.sam), config);
    return new MedplibModel(config, parameters, tokenizer, positions, companions, untrained);
  }

  get weightBytes(): number {
    return this.#parameters.bytes;
  }

  async *answer(
    request: Request,
    options: AnswerOptions & SearchOptions = {},
  ): AsyncGenerator<AnswerEvent> {
    checkSearchOptions("medplib", searchOptions, options);
    yield* this.run(prepareRequest(request, this.tokenizer, this.config), options);
  }

  /** Segments a picture as examples show it; see {@linkcode prepareInContext}. */
  async *answerInContext(
    request: InContextRequest,
    options: AnswerOptions = {},
  ): AsyncGenerator<AnswerEvent> {
    yield* this.run(prepareInContext(request, this.tokenizer, this.config), options);
  }

  /** Where pictures lie among others that look alike, one unit vector [clip width] each; see {@linkcode retrievalFeatures}. */
  async directions(images: readonly Raster[]): Promise<Float32Array[]> {
    const { device, config } = this;
    const side = config.clip.imageSize;
    const found: Float32Array[] = [];
    for (const image of images) {
      let reading: Promise<Float32Array>;
      {
        using _scope = device.scope();
        const pixels = tensor(device, retrievalInput(image, side), [1, 3, side, side]);
        reading = retrievalFeatures(this.#parameters, pixels, config).readFloats();
      }
      found.push(await reading);
    }
    return found;
  }

  /** Answers a request whose prompt and pictures are prepared. */
  async *run(prepared: PreparedRequest, options: AnswerOptions = {}): AsyncGenerator<AnswerEvent> {
    const start = performance.now();
    const { device, config } = this;
    const stopToken = this.tokenizer.endId;
    const image = this.#embed(prepared, options.trace);
    try {
      const promptTokens = image.shape[0]!;
      using generation = new Generation(
        {
          device,
          config: config.llama,
          model: this.#parameters.at("model."),
          embedding: this.#parameters.weight("model.embed_tokens.weight"),
          head: this.#parameters.weight("lm_head.weight"),
          feedForward: feedForwardOf(config, evaluationRouting(config, device, options.seed ?? 0)),
        },
        image,
        {
          maxNewTokens: this.#newTokens(promptTokens, options.maxNewTokens ?? defaultNewTokens),
          temperature: options.temperature ?? 0,
          topP: options.topP ?? 1,
          seed: options.seed ?? 0,
          stopToken,
          signal: options.signal,
          trace: options.trace,
        },
      );
      const tokens: number[] = [];
      const decoder = this.tokenizer.streamDecoder({ skipSpecialTokens: true });
      let prefill = 0;
      for await (const token of generation.tokens()) {
        if (tokens.length === 0) prefill = performance.now() - start;
        tokens.push(token);
        yield { type: "token", token, text: token === stopToken ? "" : decoder.push(token) };
      }
      const rest = decoder.flush();
      if (rest !== "") yield { type: "token", token: tokens.at(-1)!, text: rest };
      const decoded = performance.now();
      const text = this.tokenizer.decode(tokens, { skipSpecialTokens: true }).trim();
      const phrases: Phrase[] = [];
      const hidden = this.#hiddenForMask(generation, tokens, prepared.alwaysMask);
      if (hidden !== undefined && !options.signal?.aborted) {
        const phrase = await this.#ground(hidden, text, prepared, options);
        hidden.dispose();
        phrases.push(phrase);
        yield { type: "phrase", phrase };
      }
      const answer: GroundedAnswer = {
        text,
        tokens,
        phrases,
        finish: options.signal?.aborted
          ? "aborted"
          : tokens.at(-1) === stopToken
          ? "stop"
          : "length",
        timings: {
          prefill,
          decode: decoded - start - prefill,
          ground: performance.now() - decoded,
          promptTokens,
          newTokens: tokens.length,
        },
      };
      yield { type: "done", answer };
    } finally {
      image.dispose();
    }
  }

  #newTokens(promptTokens: number, wanted: number): number {
    const room = this.config.llama.maxPositions - promptTokens;
    if (room < 1) {
      throw new InputError(
        "PROMPT_TOO_LONG",
        `Cannot answer: the prompt takes ${promptTokens} tokens and the model has ${this.config.llama.maxPositions} positions; shorten the prompt or the history`,
      );
    }
    if (!Number.isSafeInteger(wanted) || wanted < 1) {
      throw new InputError(
        "BAD_OPTION",
        `Cannot generate ${wanted} tokens: expected a positive whole number`,
      );
    }
    return Math.min(wanted, room);
  }

  /** The prompt's rows [P, H]: text, projected image, region. */
  #embed(prepared: PreparedRequest, trace?: Trace): Tensor {
    const { device, config } = this;
    const p = this.#parameters;
    const { ids, cells, inputs = [{ kind: "image", pixels: prepared.clipPixels }] } = prepared;
    const stack = visualStack(inputs, config);
    // Refuse before the encoders run: how many rows there will be is known already.
    const visual = stack.spans.reduce((sum, { length }) => sum + length, 0);
    this.#newTokens(ids.filter((id) => id >= 0).length + visual, 1);
    using scope = device.scope();
    const { rows, features } = visualRows(p, stack, config, trace);
    const region = cells === undefined
      ? undefined
      : regionFeature(p, features, cells, clipGrid(config.clip));
    if (region !== undefined) trace?.("region_feature", region);
    const images = stack.spans.map((span) => ({ tensor: rows, ...span }));
    const embedded = scope.keep(embedPrompt(p, ids, images, region));
    trace?.("inputs_embeds", embedded);
    return embedded;
  }

  /**
   * The state that becomes the mask: the one that predicted the first `<SEG>`; without any `<SEG>` the second-to-last
   * hidden state where a mask is wanted in any case, as the published evaluation does.
   */
  #hiddenForMask(
    generation: Generation,
    tokens: readonly number[],
    always: boolean,
  ): Tensor | undefined {
    const seg = this.tokenizer.tokenToId("<SEG>");
    const index = tokens.indexOf(seg);
    if (index >= 0) return slice(generation.hidden, 0, index, 1);
    if (!always || tokens.length === 0) return undefined;
    // One hidden row per prompt row and per token but the last: the second to last is that before token N - 1.
    if (tokens.length === 1) return slice(generation.beforeLast, 0, 0, 1);
    return slice(generation.hidden, 0, tokens.length - 2, 1);
  }

  async #ground(
    hidden: Tensor,
    text: string,
    prepared: PreparedRequest,
    options: AnswerOptions,
  ): Promise<Phrase> {
    const { device, config } = this;
    const { trace } = options;
    const size = config.sam.imageSize;
    const pixels = tensor(device, prepared.samPixels, [1, 3, size, size]);
    const sam = this.#parameters.at(names.sam);
    let values: Promise<Float32Array>, scores: Promise<Float32Array>;
    {
      using _scope = device.scope();
      const embeddings = pixelEmbeddings(sam, pixels, config, traceAt(trace, "sam."));
      trace?.("sam_image_embeddings", embeddings);
      trace?.("seg_hidden", hidden);
      const prompt = segEmbedding(this.#parameters, hidden);
      trace?.("seg_embedding", prompt);
      const masks = decodeMasks(sam, embeddings, this.#positions, prompt, config);
      const low = singleMask(masks);
      trace?.("low_res_mask", low);
      const iou = slice(masks.iou, 1, 0, 1);
      trace?.("iou_pred", iou);
      values = low.readFloats();
      scores = iou.readFloats();
    }
    pixels.dispose();
    const logits = maskLogits(await values, prepared.resized, prepared.original, {
      geometry: options.correctedMasks === true ? "corrected" : "published",
      inputSide: size,
    });
    options.maskLogits?.(logits);
    const mask = thresholdMask(logits, prepared.original, config.maskThreshold);
    const at = text.indexOf("<SEG>");
    return {
      text: prepared.label,
      span: at < 0 ? [0, 0] : [at, at + "<SEG>".length],
      boxes: [],
      masks: [mask],
      scores: [...await scores],
    };
  }

  async save(target: FolderWriter, format: "official" | "safetensors" = "official"): Promise<void> {
    const write = format === "official" ? saveShardedBin : saveShardedSafetensors;
    await write(target, this.#parameters.entries());
    for (const [name, bytes] of this.#companions) await target.write(name, [bytes]);
  }

  /** Releases weights and position table; the device stays open. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#parameters.dispose();
    this.#positions.dispose();
    return Promise.resolve();
  }
}
