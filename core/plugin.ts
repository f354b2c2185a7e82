/**
 * The plugin contract: one published system is one value of type {@linkcode Plugin}.
 *
 * @module
 */
import type { CheckpointSource, FolderWriter } from "./checkpoint/mod.ts";
import type { Device } from "./device/mod.ts";
import type { FolderSource } from "./files.ts";
import type { Raster } from "./image/mod.ts";
import type { ParameterSpec, WeightStorage } from "./nn/parameters.ts";

/** What a system can be asked for. */
export type Task =
  | "vqa"
  | "report"
  | "classify"
  | "caption"
  | "ground-box"
  | "ground-mask"
  | "ground-instances"
  | "region-vqa";

/** Where a system comes from. */
export interface Paper {
  readonly title: string;
  readonly authors: string;
  readonly year: number;
  readonly venue: string;
  /** Repository of the official code, `owner/name`. */
  readonly code: string;
  /** Licence or terms of the released weights, as far as published. */
  readonly weights: string;
}

/** A box `[x0, y0, x1, y1]` in pixels of the original image; the right and lower edges are exclusive. */
export type Box = readonly [number, number, number, number];

/** A binary mask at the size of the original image, row by row, 0 or 1. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** A region the user points at, in pixels of the original image. */
export type Region =
  | { readonly kind: "box"; readonly box: Box }
  | { readonly kind: "point"; readonly x: number; readonly y: number }
  | { readonly kind: "mask"; readonly mask: Mask };

/** One earlier question and its answer. */
export interface Turn {
  readonly question: string;
  readonly answer: string;
}

/** A question about an image. */
export interface Request {
  readonly image: Raster;
  readonly prompt: string;
  /** Default: decided by the system from the prompt and the regions. */
  readonly task?: Task;
  readonly regions?: readonly Region[];
  readonly history?: readonly Turn[];
}

/** How tokens are chosen and when to stop. */
export interface GenerateOptions {
  /** Most tokens of the answer. Default: as the paper's evaluation. */
  readonly maxNewTokens?: number;
  /** 0 is greedy. Default 0. */
  readonly temperature?: number;
  /** Keep the most probable tokens that together reach this mass, in (0, 1]. Default 1. */
  readonly topP?: number;
  /** Same seed, same device, same answer. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

/** A phrase of the answer and what it points at. */
export interface Phrase {
  readonly text: string;
  /** Start and end (exclusive) in the answer's text, in UTF-16 units. */
  readonly span: readonly [number, number];
  readonly boxes: readonly Box[];
  readonly masks: readonly Mask[];
  /** Confidence per box or mask, where the system gives one. */
  readonly scores?: readonly number[];
}

/** Milliseconds of the parts of an answer. */
export interface Timings {
  /** Image preprocessing, encoders and prompt. */
  readonly prefill: number;
  readonly decode: number;
  /** Masks and boxes after the text. */
  readonly ground: number;
  readonly promptTokens: number;
  readonly newTokens: number;
}

/** The whole answer. */
export interface GroundedAnswer {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly phrases: readonly Phrase[];
  /** Why generation stopped: the stop token, the token limit, or an abort. */
  readonly finish: "stop" | "length" | "aborted";
  readonly timings: Timings;
}

/** What arrives while an answer is made. */
export type AnswerEvent =
  | {
    readonly type: "token";
    readonly token: number; /** New text, possibly empty. */
    readonly text: string;
  }
  | { readonly type: "phrase"; readonly phrase: Phrase }
  | { readonly type: "done"; readonly answer: GroundedAnswer };

/** How weights are put on the device. */
export interface LoadOptions {
  readonly device: Device;
  /** Storage of the large matrices. Default `f32`. */
  readonly dtype?: WeightStorage;
  /** Called with bytes done and bytes in all, as weights arrive. */
  readonly progress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** An official checkpoint: its folder (configuration, tokenizer) and its tensors. */
export interface CheckpointFolder {
  readonly folder: FolderSource;
  readonly tensors: CheckpointSource;
}

/** A model on a device. */
export interface Model extends AsyncDisposable {
  readonly device: Device;
  /** Bytes of weights on the device. */
  readonly weightBytes: number;
  /** The weights were never trained: answers are noise. */
  readonly untrained: boolean;
  /**
   * Answers a request; the last event is `done`.
   *
   * @throws {InputError} for an empty prompt, a region outside the image, a prompt longer than the context.
   */
  answer(request: Request, options?: GenerateOptions): AsyncIterable<AnswerEvent>;
  /** Writes the model in the layout its authors released. */
  save(target: FolderWriter, format?: "official" | "safetensors"): Promise<void>;
}

/** One published system. `C` is its configuration, a plain JSON value. */
export interface Plugin<C> {
  readonly name: string;
  readonly paper: Paper;
  readonly tasks: readonly Task[];
  /** Named configurations; `paper` has the published sizes. */
  readonly presets: Readonly<Record<string, C>>;
  /** Every tensor: official name, shape, storage, initialisation. The one source for loader, saver, docs and tests. */
  params(config: C): readonly ParameterSpec[];
  /**
   * Reads the configuration of an official checkpoint.
   *
   * @throws {InputError} when the folder is not a checkpoint of this system.
   */
  readConfig(checkpoint: CheckpointFolder): Promise<C>;
  /**
   * Loads an official checkpoint.
   *
   * @throws {InputError} when tensors are missing, unexpected or of the wrong shape, all of them listed by name.
   * @throws {DeviceError} when the model does not fit the device.
   */
  load(checkpoint: CheckpointFolder, options: LoadOptions & { config?: C }): Promise<Model>;
  /** Makes a model with seeded random weights, for tests, benchmarks and training from scratch. */
  init(config: C, options: LoadOptions & { seed: number }): Promise<Model>;
}
