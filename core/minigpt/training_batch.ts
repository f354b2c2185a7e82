/**
 * Training samples and batches of them on the host: tokens, rows in their order, labels (official `preparing_embedding`,
 * `prompt_wrap`, `concat_emb_input_output`, `forward` of `minigpt4/models/minigpt_base.py`).
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { SharedLayout } from "../nn/shared_layout.ts";
import type { LlamaTokenizer } from "../text/mod.ts";
import { imageRowCount, type MinigptConfig } from "./config.ts";
import { endOfAnswer, ignoredLabel, promptSegments, type SegmentOptions } from "./prompt.ts";

/** One picture with a prompt and the right answer. */
export interface MinigptSample {
  /** Tokens of the prompt before and behind the picture, without a beginning token. */
  readonly prompt: readonly [before: readonly number[], behind: readonly number[]];
  /** Tokens of the answer with the end token. */
  readonly answer: readonly number[];
  /** Input of the vision tower [3, S, S]. */
  readonly pixels: Float32Array;
}

/** How text becomes a sample. */
export interface SampleOptions extends Pick<SegmentOptions, "placeholder"> {
  /** Most tokens of the answer, end token included; what is behind is cut. Official: `max_txt_len`, 1024 in training. */
  readonly maxAnswerTokens?: number;
}

/**
 * Prepares a sample.
 *
 * @param prompt With the place of the picture, as `trainingPrompt` makes it.
 * @param answer Without end token.
 * @param pixels Input of the vision tower [3, S, S].
 * @throws {InputError} code `BAD_PROMPT` when the prompt has no place for the picture, or several.
 */
export function minigptSample(
  tokenizer: LlamaTokenizer,
  prompt: string,
  answer: string,
  pixels: Float32Array,
  { maxAnswerTokens = 1024, ...segments }: SampleOptions = {},
): MinigptSample {
  return {
    prompt: promptSegments(tokenizer, prompt, segments),
    answer: tokenizer.encode(answer + endOfAnswer, { addSpecialTokens: false })
      .slice(0, maxAnswerTokens),
    pixels,
  };
}

/** A batch on the host. Row numbers count through shared beginnings, where there are any, and then through [B, T]. */
export interface MinigptBatch {
  /** Samples, B. */
  readonly size: number;
  /** Rows per sample, T: beginning token, longest prompt, longest answer; without a shared beginning. */
  readonly length: number;
  /** Beginnings that several samples share. */
  readonly prefixes?: SharedLayout["prefixes"];
  /** Token ids that occur, sample by sample, the padding token last [N]. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** Where each row of the batch comes from: a token of `tokens`, or N + a row of the pictures in order. */
  readonly source: Int32Array<ArrayBuffer>;
  /** Rows in use of each sample [B], a shared beginning included; all others are padding at the end. */
  readonly lengths: Uint32Array<ArrayBuffer>;
  /** Rows whose prediction counts, each before the row with the label. */
  readonly targetRows: Int32Array<ArrayBuffer>;
  /** Token ids beside `targetRows`. */
  readonly targets: Int32Array<ArrayBuffer>;
  /** Inputs of the vision tower [pictures, 3, S, S]; without shared beginnings one of each sample. */
  readonly pixels: Float32Array<ArrayBuffer>;
}

/** A batch as the official code lays it out. */
export interface LabelledBatch extends MinigptBatch {
  /** What each row stands for, `ignoredLabel` where it does not count [B * T]. */
  readonly labels: Int32Array<ArrayBuffer>;
}

/** Most rows of a prompt with its picture; longer ones are cut at the end (`max_context_len`). */
const maxPromptRows = 3800;

/**
 * Puts samples together: `<s>`, prompt with picture, answer, padding. As in the official code, all samples are as long as the
 * longest prompt and the longest answer together, whether or not they belong to one sample.
 *
 * @throws {InputError} code `NOTHING_TO_LEARN` when no token of an answer counts.
 */
export function minigptBatch(
  samples: readonly MinigptSample[],
  tokenizer: LlamaTokenizer,
  config: MinigptConfig,
): LabelledBatch {
  const perPicture = imageRowCount(config);
  const pad = tokenizer.padId ?? tokenizer.unknownId;
  const count = samples.reduce(
    (sum, { prompt: [before, behind], answer }) =>
      sum + 1 + before.length + behind.length + answer.length,
    1,
  );
  const tokens: number[] = [];
  const place = (ids: readonly number[]) => ids.map((id) => tokens.push(id) - 1);
  const rows = samples.map(({ prompt: [before, behind], answer }, b) => {
    const first = place([tokenizer.beginId]);
    const prompt = [
      ...place(before),
      ...Array.from({ length: perPicture }, (_, row) => count + b * perPicture + row),
      ...place(behind),
    ].slice(0, maxPromptRows);
    return { prompt: [...first, ...prompt], answer: place(answer) };
  });
  const padRow = tokens.push(pad) - 1;
  const longest = (key: "prompt" | "answer") => Math.max(...rows.map((row) => row[key].length));
  const length = longest("prompt") + longest("answer");
  const source = new Int32Array(samples.length * length).fill(padRow);
  const labels = new Int32Array(source.length).fill(ignoredLabel);
  rows.forEach(({ prompt, answer }, b) => {
    source.set([...prompt, ...answer], b * length);
    // A padding token inside an answer does not count either.
    const own = samples[b]!.answer.map((id) => id === pad ? ignoredLabel : id);
    labels.set(own, b * length + prompt.length);
  });
  const targetRows: number[] = [];
  labels.forEach((label, row) => {
    if (label !== ignoredLabel) targetRows.push(row - 1);
  });
  if (targetRows.length === 0) {
    throw new InputError("NOTHING_TO_LEARN", "Cannot learn from a batch without answers");
  }
  const pixels = new Float32Array(samples.length * samples[0]!.pixels.length);
  samples.forEach((sample, b) => pixels.set(sample.pixels, b * sample.pixels.length));
  return {
    size: samples.length,
    length,
    tokens: Int32Array.from(tokens),
    source,
    lengths: Uint32Array.from(rows, ({ prompt, answer }) => prompt.length + answer.length),
    labels,
    targetRows: Int32Array.from(targetRows),
    targets: Int32Array.from(targetRows, (row) => labels[row + 1]!),
    pixels,
  };
}
