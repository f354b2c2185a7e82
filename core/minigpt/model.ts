/**
 * A model of the MiniGPT-v2 family on a device: a prompt with a picture becomes an answer.
 *
 * @module
 */
import { type CheckpointSource, type FolderWriter, memoryFolder } from "../checkpoint/mod.ts";
import type { Device } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import type { FolderSource } from "../files.ts";
import type { Raster } from "../image/mod.ts";
import type { AdapterSet } from "../nn/adapters.ts";
import { consensus, drawAnswers } from "../nn/answer_draws.ts";
import { type BeamModel, beamSearch } from "../nn/beam_search.ts";
import { type GenerateSetup, Generation } from "../nn/generate.ts";
import { LlamaBeams } from "../nn/llama_beams.ts";
import { initialParameters, loadParameters, type Parameters } from "../nn/parameters.ts";
import type { Trace } from "../nn/trace.ts";
import type {
  AnswerEvent,
  GenerateOptions,
  GroundedAnswer,
  LoadOptions,
  Phrase,
} from "../plugin.ts";
import type { SearchOptions } from "../search_options.ts";
import { type Tensor, tensor, type TokenConstraint } from "../tensor/mod.ts";
import type { LlamaTokenizer } from "../text/mod.ts";
import { languageFolderOf, type MinigptFiles, readCompanions, saveMinigpt } from "./checkpoint.ts";
import { imageRowCount, type MinigptConfig } from "./config.ts";
import { llamaConfigFile, readMinigptConfig, wholeConfig } from "./config_files.ts";
import { embedPrompt, generateSetup, pictureRows } from "./language.ts";
import { attachAdapters, ignoredNames, minigptParameters } from "./params.ts";
import { minigptPixels } from "./preprocess.ts";
import { answerText, loadMinigptTokenizer, promptSegments, type SegmentOptions } from "./prompt.ts";
import { builtInTokenizerFiles } from "./tokenizer.ts";

/** How an answer is generated. */
export interface MinigptAnswerOptions
  extends GenerateOptions, Pick<SearchOptions, "beams" | "lengthPenalty" | "consensus"> {
  /** Gets intermediate values under the names of the reference cases; generation then runs step by step. */
  readonly trace?: Trace;
  /** Makes tokens of the answer less likely to occur again; the official demo takes 1.05. Default 1: not. */
  readonly repetitionPenalty?: number;
  /** Answers that are allowed, as `tokenAutomaton` makes them for the rows of the head. Default: all. */
  readonly constraint?: TokenConstraint | undefined;
  /** How much two answers agree, the larger the better; what `consensus` needs. */
  readonly agreement?: ((one: string, other: string) => number) | undefined;
  /** When beam search stops, see `BeamOptions`. Default false. */
  readonly earlyStopping?: boolean | "never" | undefined;
  /** What the text points at, once it is known. Default: nothing. */
  readonly phrases?: (text: string, tokens: readonly number[]) => readonly Phrase[];
}

/** The same model, which says when it has read the prompt. */
function noticed(model: BeamModel, prompted: () => void): BeamModel {
  return {
    async start(count) {
      const first = await model.start(count);
      prompted();
      return first;
    },
    advance: (parents, tokens, count) => model.advance(parents, tokens, count),
  };
}

/** A model with its tokenizer. Make one with {@linkcode loadMinigpt} or {@linkcode initMinigpt}. */
export class MinigptModel implements AsyncDisposable {
  /** Device that holds the weights; it stays open when the model is disposed. */
  readonly device: Device;
  /** Sizes the model was made with. */
  readonly config: MinigptConfig;
  /** Tokenizer of LLaMA's directory, or the built-in one of a seeded model; pads with `$$`. */
  readonly tokenizer: LlamaTokenizer;
  /** The weights come from {@linkcode initMinigpt}: answers are noise. */
  readonly untrained: boolean;
  /** All tensors; released with the model. */
  readonly parameters: Parameters;
  /** The adapters among the parameters, which act and drop nothing; not to be disposed. */
  readonly adapters: AdapterSet;
  readonly #files: MinigptFiles;

  /** Takes over the parameters. */
  constructor(
    config: MinigptConfig,
    parameters: Parameters,
    tokenizer: LlamaTokenizer,
    files: MinigptFiles,
    untrained: boolean,
  ) {
    this.device = parameters.device;
    this.config = config;
    this.parameters = parameters;
    this.tokenizer = tokenizer;
    this.untrained = untrained;
    this.adapters = attachAdapters(parameters, config);
    this.#files = files;
  }

  /** Bytes of weights on the device. */
  get weightBytes(): number {
    return this.parameters.bytes;
  }

  /** The language model, for searches of the caller's own. */
  get setup(): GenerateSetup {
    return generateSetup(this.parameters, this.config);
  }

  /**
   * Most new tokens for a prompt of so many rows: as many as wanted and as there are positions left.
   *
   * @throws {InputError} code `PROMPT_TOO_LONG` when no position is left, `BAD_OPTION` when no whole number is wanted.
   */
  newTokens(promptRows: number, wanted: number): number {
    const { maxPositions } = this.config.llama;
    const room = maxPositions - promptRows;
    if (room < 1) {
      throw new InputError(
        "PROMPT_TOO_LONG",
        `Cannot answer: the prompt takes ${promptRows} tokens and the model has ${maxPositions} positions; shorten the prompt or the history`,
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

  /** A picture as rows of the language model [rows, H], which the caller releases. */
  picture(image: Raster, trace?: Trace): Tensor {
    const { imageSize } = this.config.vision;
    const { data } = minigptPixels(image, imageSize);
    const pixels = tensor(this.device, data, [1, 3, imageSize, imageSize]);
    const rows = pictureRows(this.parameters, pixels, this.config, trace);
    pixels.dispose();
    return rows;
  }

  /**
   * An embedded prompt [P, H], which the caller releases.
   *
   * @param prompt With the place of the picture, as `chatPrompt` makes it; begins with two `<s>`.
   * @param picture Rows of the picture, as {@linkcode MinigptModel.picture} gives them.
   * @throws {InputError} code `PROMPT_TOO_LONG` when it leaves no position for an answer.
   */
  embed(prompt: string, picture: Tensor, options: SegmentOptions = { beginning: true }): Tensor {
    const segments = promptSegments(this.tokenizer, prompt, options);
    this.newTokens(segments[0].length + segments[1].length + picture.shape[0]!, 1);
    return embedPrompt(this.parameters, segments, picture);
  }

  /**
   * Answers a prompt about a picture; the last event is `done`. The timings count the vision tower as part of the prompt.
   *
   * @param prompt As `chatPrompt` makes it.
   * @param image The picture, or its rows as {@linkcode MinigptModel.picture} gives them, which stay as they are.
   * @throws {InputError} for a prompt without a place for the picture, or one that leaves no position for an answer.
   */
  async *run(
    prompt: string,
    image: Raster | Tensor,
    options: MinigptAnswerOptions & { readonly maxNewTokens: number },
  ): AsyncGenerator<AnswerEvent> {
    const start = performance.now();
    const { tokenizer } = this;
    const segments = promptSegments(tokenizer, prompt, { beginning: true });
    // Refuse before the vision tower runs.
    const promptTokens = segments[0].length + segments[1].length + imageRowCount(this.config);
    const maxNewTokens = this.newTokens(promptTokens, options.maxNewTokens);
    const own = "shape" in image ? undefined : this.picture(image, options.trace);
    const rows = embedPrompt(this.parameters, segments, own ?? image as Tensor);
    own?.dispose();
    options.trace?.("inputs_embeds", rows);
    const stopToken = tokenizer.endId;
    try {
      const tokens: number[] = [];
      const decoder = tokenizer.streamDecoder({ skipSpecialTokens: true });
      let prefill = 0;
      const prompted = () => prefill ||= performance.now() - start;
      for await (const token of this.#generate(rows, maxNewTokens, options, prompted)) {
        prompted();
        tokens.push(token);
        yield { type: "token", token, text: token === stopToken ? "" : decoder.push(token) };
      }
      const rest = decoder.flush();
      if (rest !== "") yield { type: "token", token: tokens.at(-1)!, text: rest };
      const decoded = performance.now();
      const text = answerText(tokenizer, tokens);
      const phrases = options.phrases?.(text, tokens) ?? [];
      for (const phrase of phrases) yield { type: "phrase", phrase };
      const aborted = options.signal?.aborted;
      const answer: GroundedAnswer = {
        text,
        tokens,
        phrases,
        finish: aborted ? "aborted" : tokens.at(-1) === stopToken ? "stop" : "length",
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
      rows.dispose();
    }
  }

  /**
   * Tokens as they become known, the stop token last where it is reached.
   *
   * @param prompted Called when a search has read the prompt, long before its first token is known.
   */
  async *#generate(
    rows: Tensor,
    maxNewTokens: number,
    options: MinigptAnswerOptions,
    prompted: () => void,
  ): AsyncGenerator<number> {
    const { tokenizer } = this;
    const { beams = 1, constraint, temperature = 0, lengthPenalty, earlyStopping } = options;
    const { consensus: draws = 1, agreement, seed = 0, signal } = options;
    const stopToken = tokenizer.endId;
    if (draws !== 1) {
      if (!Number.isSafeInteger(draws) || draws < 1 || draws > 128 || beams !== 1) {
        throw new InputError(
          "BAD_OPTION",
          `Cannot find the consensus of ${draws} answers with ${beams} beams: expected 1 to 128 answers, and no beams with several`,
        );
      }
      if (agreement === undefined) {
        throw new TypeError("A consensus needs to know how much two answers agree");
      }
      using search = new LlamaBeams(this.setup, rows, draws, maxNewTokens, constraint);
      const drawn = await drawAnswers(noticed(search, prompted), {
        ...{ draws, maxNewTokens, stopToken, seed, signal, topP: options.topP ?? 1 },
        temperature: temperature > 0 ? temperature : 1,
      });
      const texts = drawn.map((answer) => ({ answer, text: answerText(tokenizer, answer.tokens) }));
      const { answer } = consensus(texts, (one, other) => agreement(one.text, other.text));
      yield* answer.tokens;
      if (answer.stopped) yield stopToken;
      return;
    }
    if (beams !== 1) {
      if (!Number.isSafeInteger(beams) || beams < 1 || beams > 128 || temperature > 0) {
        throw new InputError(
          "BAD_OPTION",
          `Cannot search with ${beams} beams at temperature ${temperature}: expected 1 to 128 beams, and temperature 0 with several`,
        );
      }
      using search = new LlamaBeams(this.setup, rows, beams, maxNewTokens, constraint);
      const [best] = await beamSearch(noticed(search, prompted), {
        beams,
        maxNewTokens,
        stopToken,
        ...(lengthPenalty === undefined ? {} : { lengthPenalty }),
        ...(earlyStopping === undefined ? {} : { earlyStopping }),
        ...(options.signal ? { signal: options.signal } : {}),
      });
      yield* best!.tokens;
      if (best!.stopped) yield stopToken;
      return;
    }
    using generation = new Generation(this.setup, rows, {
      maxNewTokens,
      temperature,
      topP: options.topP ?? 1,
      seed: options.seed ?? 0,
      stopToken,
      repetitionPenalty: options.repetitionPenalty,
      // transformers 4.30 lets the output begin with this token, which is never fed to the model.
      occurred: tokenizer.beginId,
      constraint,
      signal: options.signal,
      trace: options.trace,
    });
    yield* generation.tokens();
  }

  /** Writes the model: in the official three parts, or as one checkpoint; see `saveMinigpt`. */
  async save(target: FolderWriter, format: "official" | "safetensors" = "official"): Promise<void> {
    await saveMinigpt(target, this.parameters.entries(), this.#files, format);
  }

  /** Releases the weights; the device stays open. */
  [Symbol.asyncDispose](): Promise<void> {
    this.parameters.dispose();
    return Promise.resolve();
  }
}

/** A checkpoint of the family: its folder, and its tensors as `openMinigpt` gives them. */
export interface MinigptCheckpoint {
  /** Folder of the whole. */
  readonly folder: FolderSource;
  /** All tensors under the names of the parameter table. */
  readonly tensors: CheckpointSource;
}

/** The configuration of a checkpoint; see `readMinigptConfig`. */
export async function configOf({ folder, tensors }: MinigptCheckpoint): Promise<MinigptConfig> {
  return await readMinigptConfig(folder, await languageFolderOf(folder), tensors);
}

/** Files besides the tensors, of a checkpoint. */
export async function filesOf(
  { folder }: MinigptCheckpoint,
  config: MinigptConfig,
): Promise<MinigptFiles> {
  return {
    whole: wholeConfig(config),
    language: await readCompanions(await languageFolderOf(folder)),
  };
}

/** Files besides the tensors, of a model that is made: the built-in tokenizer. */
export function madeFiles(config: MinigptConfig): MinigptFiles {
  const json = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
  return {
    whole: wholeConfig(config),
    language: new Map<string, Uint8Array>([
      ["config.json", json(llamaConfigFile(config))],
      ["generation_config.json", json({ "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0 })],
      ...builtInTokenizerFiles(config.llama.vocabulary),
    ]),
  };
}

/** The tokenizer among the files of a model that is made. */
export async function madeTokenizer({ language }: MinigptFiles): Promise<LlamaTokenizer> {
  const files = language as Map<string, Uint8Array<ArrayBuffer>>;
  return await loadMinigptTokenizer(memoryFolder("built-in tokenizer", files));
}

/**
 * Loads a checkpoint of the family.
 *
 * @throws {InputError} when tensors are missing or of the wrong shape, all of them listed by name.
 * @throws {DeviceError} when the model does not fit the device.
 */
export async function loadMinigpt(
  checkpoint: MinigptCheckpoint,
  { device, config, ...options }: LoadOptions & { config?: MinigptConfig },
): Promise<MinigptModel> {
  const sizes = config ?? await configOf(checkpoint);
  const language = await languageFolderOf(checkpoint.folder);
  const tokenizer = await loadMinigptTokenizer(language);
  const files = await filesOf(checkpoint, sizes);
  const parameters = await loadParameters(device, minigptParameters(sizes), checkpoint.tensors, {
    ...options,
    ignore: ignoredNames,
  });
  return new MinigptModel(sizes, parameters, tokenizer, files, false);
}

/** Makes a model with seeded random weights and the built-in tokenizer. */
export async function initMinigpt(
  config: MinigptConfig,
  { device, seed, ...options }: LoadOptions & { seed: number },
): Promise<MinigptModel> {
  const files = madeFiles(config);
  const tokenizer = await madeTokenizer(files);
  const parameters = await initialParameters(device, minigptParameters(config), seed, options);
  return new MinigptModel(config, parameters, tokenizer, files, true);
}
