/**
 * Words of size, and where a language model should look before it writes one: at the edges of what it is said of, as before the
 * digits of a box. A size is how far two edges are apart, which one row of a picture rarely shows. Looking alone did not teach sizes
 * in 600 steps; beside it the rows learn to name them (`naming.ts`).
 *
 * @module
 */
import type { Box } from "@medvlm/core";
import type { MinigptConfig } from "@medvlm/core/minigpt";
import type { LlamaTokenizer } from "@medvlm/core/text";
import { type AnswerRows, type PointingSample, type PointingState, rowsOf } from "./pointing.ts";

/** Words of size: those of `severityWord`. */
export const wordsOfSize: readonly string[] = ["small", "moderate", "large", "mild", "marked"];

/** Something in a picture, and the word for its size. */
export interface SizedBox {
  readonly word: string;
  readonly box: Box;
}

const anyWord = new RegExp(`\\b(?:${wordsOfSize.join("|")})`, "gi");

/** Where words of size begin in a text, also those that go on as adverbs. */
export function sizeWords(text: string): number[] {
  return [...text.matchAll(anyWord)].map(({ index }) => index);
}

/** Which tokens of an answer begin a word of size. @param pieces Its tokens as text. */
export function sizeTokens(pieces: readonly string[]): number[] {
  let end = 0;
  const ends = pieces.map((piece) => end += piece.length);
  return sizeWords(pieces.join("").replaceAll("\u2581", " "))
    .map((start) => ends.findIndex((end) => end > start));
}

/**
 * States that come before a word of size, once for each coordinate whose edge is looked at.
 *
 * @param samples Those of a batch. Their answers may be cut off.
 * @param answers Rows of the answers, as `answerRows` has them.
 */
export function sizeStates(
  samples: readonly PointingSample[],
  answers: AnswerRows,
  tokenizer: LlamaTokenizer,
  config: MinigptConfig,
): PointingState[] {
  return samples.flatMap(({ sample: { answer }, image, picture, sizes }, s) => {
    if (sizes === undefined) return [];
    const pieces = answer.map((id) => tokenizer.idToToken(id)), { edges } = rowsOf(image, config);
    return sizeTokens(pieces).flatMap((t, n) =>
      edges(sizes[n]!).map((at, coordinate) => ({ row: answers[s]![t]!, picture, at, coordinate }))
    );
  });
}
