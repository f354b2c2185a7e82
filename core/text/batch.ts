/**
 * Sequences of token ids to one rectangle: truncation, padding and the attention mask.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/** Options of encoding a batch. */
export interface BatchOptions {
  /** `longest` pads to the longest row, `max_length` to the limit. Default no padding. */
  padding?: "longest" | "max_length" | false;
  /** Cut rows that exceed the limit at their end; bos and eos stay. Default false. */
  truncation?: boolean;
  /** The limit in tokens, bos included. Default: the tokenizer's `modelMaxLength`. */
  maxLength?: number;
  /** Whether bos and eos are added as configured. Default true. */
  addSpecialTokens?: boolean;
  /** Overrides the tokenizer's side. */
  paddingSide?: "left" | "right";
}

/** A batch of token ids. */
export interface EncodedBatch {
  /** One row per text; equally long when padded. */
  inputIds: number[][];
  /** 1 for a token, 0 for padding; same shape. */
  attentionMask: number[][];
}

/**
 * Cuts the end off a sequence that is too long.
 *
 * @param ids The sequence without special tokens.
 * @param limit Largest length with special tokens.
 * @param extra Number of special tokens that will be added.
 * @throws {InputError} code `BAD_BATCH` when the limit leaves no room for a token.
 */
export function truncate(ids: readonly number[], limit: number, extra: number): number[] {
  if (ids.length + extra <= limit) return ids.slice();
  if (!(limit - extra >= 1)) {
    throw new InputError(
      "BAD_BATCH",
      `Cannot truncate to ${limit} tokens: ${extra} of them are special tokens, allow more`,
    );
  }
  return ids.slice(0, Math.floor(limit - extra));
}

/**
 * Pads rows to equal length.
 *
 * @throws {InputError} code `BAD_BATCH` when a pad token is needed and missing, or `max_length` has no limit.
 */
export function padBatch(
  rows: readonly (readonly number[])[],
  { padding, limit, padId, side }: {
    padding: "longest" | "max_length" | false;
    limit: number;
    padId: number | undefined;
    side: "left" | "right";
  },
): EncodedBatch {
  const longest = rows.reduce((length, row) => Math.max(length, row.length), 0);
  const target = padding === "max_length" ? limit : padding === "longest" ? longest : 0;
  if (!(target <= 2 ** 24)) {
    throw new InputError("BAD_BATCH", `Cannot pad to ${target} tokens: give a maximal length`);
  }
  const inputIds: number[][] = [], attentionMask: number[][] = [];
  for (const row of rows) {
    const missing = Math.max(0, target - row.length);
    if (missing > 0 && padId === undefined) {
      throw new InputError(
        "BAD_BATCH",
        "Cannot pad a batch: the tokenizer has no pad token, set one",
      );
    }
    const pad = Array<number>(missing).fill(padId ?? 0), zeros = Array<number>(missing).fill(0);
    const ones = Array<number>(row.length).fill(1);
    inputIds.push(side === "left" ? [...pad, ...row] : [...row, ...pad]);
    attentionMask.push(side === "left" ? [...zeros, ...ones] : [...ones, ...zeros]);
  }
  return { inputIds, attentionMask };
}
