/**
 * From a record of the training data to what the model is trained on: token ids with labels, pixels, region cells and
 * target masks (official `datasets/LazySupervisedDataset.py`).
 *
 * @module
 */
import { type Example, InputError, type Mask, type Raster } from "@medvlm/core";
import type { LlamaTokenizer } from "@medvlm/core/text";
import type { MedplibConfig } from "./config.ts";
import type { VisualInput } from "./icl.ts";
import type { Size } from "./postprocess.ts";
import { clipInput, regionGrid, samInput } from "./preprocess.ts";
import { ignoredLabel, type RecordTurn, regionPlaceholder, trainingText } from "./prompt.ts";
import { regionCells } from "./region.ts";

/** A record with its files loaded. */
export interface TrainingRecord {
  /** The picture at its original size. */
  readonly image: Raster;
  /** The conversation, human first; `<region></region>` where the region is meant, `<SEG>` where an answer points. */
  readonly turns: readonly RecordTurn[];
  /** The region that the conversation asks about, at the size of the picture. */
  readonly region?: Mask;
  /** What each `<SEG>` of the answers points at, in order, at the size of the picture. */
  readonly masks?: readonly Mask[];
}

/** A record ready for a batch. */
export interface TrainingSample {
  /** Token ids with -200 for the image and -300 for the region. */
  readonly ids: readonly number[];
  /** Target of each id: the id itself, or -100. */
  readonly labels: readonly number[];
  /** Input of the vision tower [3, S, S]. */
  readonly clipPixels: Float32Array;
  /** What each -200 stands for, in order, the picture last. Default: `clipPixels` alone. */
  readonly inputs?: readonly VisualInput[];
  /** Input of the pixel encoder [3, S, S]; absent where no mask is wanted. */
  readonly samPixels?: Float32Array;
  /** Size of the picture inside the pixel encoder's padded input. */
  readonly resized?: Size;
  /** Grid cells of the region. */
  readonly cells?: readonly (readonly [number, number])[];
  /** Targets of the `<SEG>` tokens, in order. */
  readonly masks: readonly Mask[];
}

/** How records are prepared. */
export interface SampleOptions {
  /** Longest conversation in tokens, placeholders counting one; longer ones are cut. Default: no limit. */
  readonly maxTokens?: number;
}

/** Tokens that stand for targets, as many as there are masks. */
function checkMasks(ids: readonly number[], masks: readonly Mask[], seg: number): void {
  const wanted = ids.filter((id) => id === seg).length;
  if (wanted < masks.length) {
    throw new InputError(
      "BAD_RECORD",
      `Cannot train on a conversation with ${masks.length} masks and ${wanted} <SEG> tokens: each mask needs one; correct the record`,
    );
  }
}

/**
 * Prepares a record.
 *
 * A region that covers no cell of the grid is no region: nothing is learned from such a record, as in the official code
 * (all labels are -100).
 *
 * @throws {InputError} code `BAD_RECORD` when masks and `<SEG>` tokens do not fit, or the region is missing.
 */
export function trainingSample(
  record: TrainingRecord,
  tokenizer: LlamaTokenizer,
  config: MedplibConfig,
  { maxTokens = Infinity }: SampleOptions = {},
): TrainingSample {
  const { imageSize, patchSize } = config.clip;
  const text = trainingText(tokenizer, record.turns);
  const ids = text.inputIds.slice(0, maxTokens);
  let labels = text.labels.slice(0, maxTokens);
  let cells: readonly (readonly [number, number])[] | undefined;
  if (ids.includes(regionPlaceholder)) {
    if (record.region === undefined) {
      throw new InputError(
        "BAD_RECORD",
        "Cannot train on a question about a region: the record has none; add its mask",
      );
    }
    const grid = regionGrid(record.region, imageSize, patchSize);
    cells = regionCells(grid, config.maxRegionPoints, 0);
    if (cells.length === 0) labels = labels.map(() => ignoredLabel);
  }
  const masks = record.masks ?? [];
  checkMasks(ids, masks, tokenizer.tokenToId("<SEG>"));
  const sam = masks.length > 0 ? samInput(record.image, config.sam.imageSize) : undefined;
  return {
    ids,
    labels,
    clipPixels: clipInput(record.image, imageSize).data,
    ...(sam === undefined ? {} : { samPixels: sam.data, resized: sam.resized }),
    ...(cells === undefined ? {} : { cells }),
    masks,
  };
}

/** The conversation of an example, the picture in its first turn. */
export function turnsOf(
  { history = [], prompt, answer }: Pick<Example, "history" | "prompt" | "answer">,
): RecordTurn[] {
  const rounds = [...history, { question: prompt, answer }];
  return rounds.flatMap(({ question, answer }, n): RecordTurn[] => [
    { from: "human", value: n === 0 ? `<image>\n${question}` : question },
    { from: "gpt", value: answer },
  ]);
}
