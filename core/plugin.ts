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
import type { SearchOptions } from "./search_options.ts";
import type { BatchLoss, ParameterGroup, Stage, TrainingMemory } from "./train/mod.ts";

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
  /** Title as printed. */
  readonly title: string;
  /** All authors in the order of the paper, separated by commas. */
  readonly authors: string;
  /** Year of publication. */
  readonly year: number;
  /** Conference or journal, abbreviated as usual, such as `AAAI`. */
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
  /** Pixels in a row, the width of the original image. */
  readonly width: number;
  /** Number of rows, the height of the original image. */
  readonly height: number;
  /** One byte per pixel, `height * width` of them. */
  readonly data: Uint8Array;
}

/** A region the user points at, in pixels of the original image. */
export type Region =
  | { readonly kind: "box"; readonly box: Box }
  | { readonly kind: "point"; readonly x: number; readonly y: number }
  | { readonly kind: "mask"; readonly mask: Mask };

/** One earlier question and its answer. */
export interface Turn {
  /** What the user asked. */
  readonly question: string;
  /** What the system answered, without special tokens. */
  readonly answer: string;
}

/** A question about an image. */
export interface Request {
  /** The picture in its original size; the system resizes and normalises it. */
  readonly image: Raster;
  /** The question in plain words; must hold more than blanks. */
  readonly prompt: string;
  /** Default: decided by the system from the prompt and the regions. */
  readonly task?: Task;
  /** What the user points at; how many a system takes is its own affair. Default none. */
  readonly regions?: readonly Region[];
  /** Earlier turns of the conversation, oldest first. Default none. */
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
  /** Ends the answer after the token in progress; it then finishes as `aborted`. */
  readonly signal?: AbortSignal;
}

/** A phrase of the answer and what it points at. */
export interface Phrase {
  /** What is pointed at: words of the answer, or of the question where the answer has none for it. */
  readonly text: string;
  /** Start and end (exclusive) in the answer's text, in UTF-16 units. */
  readonly span: readonly [number, number];
  /** Boxes around it, in pixels of the original image; may be empty. */
  readonly boxes: readonly Box[];
  /** Masks of it at the size of the original image, one per instance; may be empty. */
  readonly masks: readonly Mask[];
  /** Confidence per box or mask, where the system gives one. */
  readonly scores?: readonly number[];
}

/** Milliseconds of the parts of an answer. */
export interface Timings {
  /** Image preprocessing, encoders and prompt. */
  readonly prefill: number;
  /** All tokens after the first. */
  readonly decode: number;
  /** Masks and boxes after the text. */
  readonly ground: number;
  /** Rows the language model saw before it answered: text tokens and image features. */
  readonly promptTokens: number;
  /** Tokens generated, the stop token included. */
  readonly newTokens: number;
}

/** The whole answer. */
export interface GroundedAnswer {
  /** The answer without control tokens and without blanks around it; marks such as `<SEG>` stay in. */
  readonly text: string;
  /** Token ids as generated, the stop token included where it was reached. */
  readonly tokens: readonly number[];
  /** What the answer points at, in the order of the text; empty where nothing is grounded. */
  readonly phrases: readonly Phrase[];
  /** Why generation stopped: the stop token, the token limit, or an abort. */
  readonly finish: "stop" | "length" | "aborted";
  /** Where the time went, in milliseconds. */
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
  /** Device the weights go to; it stays open when the model is disposed. */
  readonly device: Device;
  /** Storage of the large matrices. Default `f32`. */
  readonly dtype?: WeightStorage;
  /** Called with bytes done and bytes in all, as weights arrive. */
  readonly progress?: (done: number, total: number) => void;
  /** Stops loading with its reason as the error; weights already placed are released. */
  readonly signal?: AbortSignal;
}

/** An official checkpoint: its folder (configuration, tokenizer) and its tensors. */
export interface CheckpointFolder {
  /** Configuration, tokenizer and whatever else lies beside the tensors. */
  readonly folder: FolderSource;
  /** All tensors by official name, read from their files when asked for. */
  readonly tensors: CheckpointSource;
}

/** A model on a device. */
export interface Model extends AsyncDisposable {
  /** Device that holds the weights. */
  readonly device: Device;
  /** Bytes of weights on the device. */
  readonly weightBytes: number;
  /** The weights were never trained: answers are noise. */
  readonly untrained: boolean;
  /**
   * Answers a request; the last event is `done`.
   *
   * @throws {InputError} for an empty prompt, a region outside the image, a prompt longer than the context, a way of searching that
   * the system does not have.
   */
  answer(request: Request, options?: GenerateOptions & SearchOptions): AsyncIterable<AnswerEvent>;
  /** Writes the model in the layout its authors released. */
  save(target: FolderWriter, format?: "official" | "safetensors"): Promise<void>;
}

/** Something that a right answer points at, its masks read. */
export interface TaughtFinding {
  /** Name as in the dataset. */
  readonly label: string;
  /** Start and end (exclusive) of the phrase in the answer, in UTF-16 units, where the dataset grounds text. */
  readonly span?: readonly [number, number];
  /** Boxes in pixels of the picture. */
  readonly boxes: readonly Box[];
  /** Masks at the size of the picture, one per instance. */
  readonly masks: readonly Mask[];
}

/** A question with its right answer, to learn from: an `Example` with its files read. */
export interface TrainingExample extends Request {
  /** For messages. */
  readonly id: string;
  /** What kind of answer is expected. */
  readonly task: Task;
  /** The right answer. */
  readonly answer: string;
  /** What the answer points at; empty where the dataset does not say. */
  readonly findings: readonly TaughtFinding[];
}

/** Where the model of a stage comes from: exactly one of these is given. */
export interface StageStart<C> {
  /** A checkpoint of the system: an official one, or what an earlier stage wrote. */
  readonly checkpoint?: CheckpointFolder;
  /** Seeded random weights of this configuration, to try things out. */
  readonly config?: C;
  /** Models that it is put together from, by their names in {@linkcode Plugin.parts}. */
  readonly parts?: Readonly<Record<string, CheckpointFolder>>;
}

/** What decides how much memory a stage takes. */
export interface StageLoad {
  /** Storage of the frozen matrices. */
  readonly dtype: WeightStorage;
  /** Samples that are on the device at once. */
  readonly batch: number;
  /** Rows of the longest sample, see {@linkcode PreparedStage.rows}. */
  readonly rows: number;
  /** Decoder layers are computed again on the way back. */
  readonly recompute: boolean;
}

/** How a prepared stage is put on a device. */
export interface StageOptions extends LoadOptions {
  /** Of adapters, dropout and whatever else the stage draws: 0 to 2^53 - 1. */
  readonly seed: number;
  /** Compute decoder layers again on the way back instead of keeping what is inside. Default false. */
  readonly recompute?: boolean;
  /** Longest conversation in tokens, if shorter than the stage's own limit. */
  readonly maxTokens?: number;
}

/** A stage whose model was found and checked, before anything is on a device. */
export interface PreparedStage {
  /** The stage. */
  readonly stage: Stage;
  /** All tensors that the model starts from; they must stay readable until the stage has been saved. */
  readonly tensors: CheckpointSource;
  /** Rows that the language model sees of a conversation: text, image, regions. */
  rows(example: Pick<TrainingExample, "prompt" | "answer" | "history">): number;
  /** Bytes on the device, computed from shapes. Nothing is allocated. */
  memory(load: StageLoad): TrainingMemory;
  /**
   * Puts the model on a device: what the stage trains as f32, everything else in the storage asked for.
   *
   * @throws {InputError} when tensors are missing, unexpected or of the wrong shape, all of them listed by name.
   * @throws {DeviceError} when the model does not fit the device.
   */
  open(options: StageOptions): Promise<StageRun>;
}

/** A sum over some cases, so that batches can be averaged rightly. */
export interface Measured {
  /** Sum over the cases. */
  readonly sum: number;
  /** Number of cases. */
  readonly count: number;
}

/** A stage on a device. `S` is a sample as the system prepares it on the host, `B` a batch of them. */
export interface StageRun<S = unknown, B = unknown> extends AsyncDisposable {
  /** Bytes of weights on the device. */
  readonly weightBytes: number;
  /** What the stage changes. */
  readonly parameters: readonly ParameterGroup[];
  /**
   * Prepares an example on the host.
   *
   * @throws {InputError} when nothing can be learned from it, such as a mask that no part of the answer stands for.
   */
  sample(example: TrainingExample): S;
  /** Puts samples together. */
  batch(samples: readonly S[]): B;
  /** Tokens of a batch, for the throughput. */
  tokens(batch: B): number;
  /** Queues the loss of a batch; random draws depend on seed, step and part alone. */
  loss(batch: B, step: number, part: number): BatchLoss;
  /** Measures the model on a batch by the names of the measures, without dropout. Waits for the device. */
  measure(batch: B): Promise<Readonly<Record<string, Measured>>>;
  /** Writes the model in the official layout, adapters merged at the precision of the files it started from. */
  save(target: FolderWriter): Promise<void>;
  /** Writes the adapters in peft's layout; absent where the stage has none. */
  readonly saveAdapter?: (target: FolderWriter) => Promise<void>;
}

/** A column of a table: a metric of the evaluation, over everything or over one class. */
export interface PublishedColumn {
  /** As the paper heads it. */
  readonly name: string;
  /** Name of the metric, such as `box_iou`. */
  readonly metric: string;
  /** The class whose value it is. Default: all of them together. */
  readonly class?: string;
}

/** What a paper prints about one dataset, to stand beside the numbers of an evaluation on the same one. */
export interface PublishedTable {
  /** What it shows, such as `IoU of boxes`. */
  readonly title: string;
  /** Where it stands. */
  readonly source: string;
  /** Name of the dataset's reader, such as `ms_cxr`. */
  readonly dataset: string;
  /** The task of its examples. */
  readonly task: Task;
  /** The system whose script the paper's numbers follow, where there are metrics that end in its name. */
  readonly variant?: string;
  /** Its columns. */
  readonly columns: readonly PublishedColumn[];
  /** A row per method: its name and a value per column on the scale of the metric, undefined where the paper has none. */
  readonly rows: readonly {
    readonly name: string;
    readonly values: readonly (number | undefined)[];
  }[];
}

/** One published system. `C` is its configuration, a plain JSON value. */
export interface Plugin<C> {
  /** Short name in lower case, as typed on the command line, such as `medplib`. */
  readonly name: string;
  /** Publication, official code and terms of the weights. */
  readonly paper: Paper;
  /** What the system can be asked for. */
  readonly tasks: readonly Task[];
  /** Ways to search for an answer that the system has; `answer` refuses the others, see `checkSearchOptions`. */
  readonly searchOptions: readonly (keyof SearchOptions)[];
  /** Named configurations; `paper` has the published sizes. */
  readonly presets: Readonly<Record<string, C>>;
  /** The paper's training stages in their order. */
  readonly stages: readonly Stage[];
  /** Models that a stage can be put together from: name, as in the flag `--NAME`, and what it is. */
  readonly parts: Readonly<Record<string, string>>;
  /** Format of the system's own training data, by the name of its reader. */
  readonly trainingData: string;
  /** Tables of the paper that evaluations are printed beside. Default none. */
  readonly published?: readonly PublishedTable[];
  /** Every tensor: official name, shape, storage, initialisation. The one source for loader, saver, docs and tests. */
  params(config: C): readonly ParameterSpec[];
  /**
   * Opens the tensors of an official checkpoint that lies in several files or folders, under the names of {@linkcode Plugin.params}.
   * Default: `openCheckpoint` of the folder.
   *
   * @throws {InputError} when a part is missing, or there are several that could be it.
   */
  readonly openTensors?: (folder: FolderSource) => Promise<CheckpointSource>;
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
  /**
   * Finds the model that a stage starts from.
   *
   * @param stage Name of one of {@linkcode Plugin.stages}.
   * @param seed Of whatever no checkpoint holds: random weights, new rows of tables, routers.
   * @throws {InputError} when the start does not fit the stage, or a checkpoint is none of this system.
   */
  prepareStage(start: StageStart<C>, stage: string, seed: number): Promise<PreparedStage>;
}
