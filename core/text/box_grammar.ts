/**
 * The grammars of answers with boxes, as patterns for constrained decoding.
 *
 * @module
 */
import {
  type BytePattern,
  choice,
  literal,
  many,
  noneOf,
  oneOf,
  optional,
  sequence,
} from "./byte_pattern.ts";

/** A number of the grid, 0 to 100 without zeros in front. */
const gridNumber = choice(
  sequence(oneOf("123456789"), optional(oneOf("0123456789"))),
  literal("0"),
  literal("100"),
);

/** Exactly one box, `{<x1><y1><x2><y2>}`: what PFMVG answers. The order of its corners is not constrained. */
export const boxPattern: BytePattern = sequence(
  literal("{<"),
  gridNumber,
  literal("><"),
  gridNumber,
  literal("><"),
  gridNumber,
  literal("><"),
  gridNumber,
  literal(">}"),
);

/** One or more boxes joined by `<delim>`, or by another text. */
export function boxesPattern(delimiter = "<delim>"): BytePattern {
  return sequence(boxPattern, many(sequence(literal(delimiter), boxPattern)));
}

/** Words that hold no mark: anything printable but angle brackets and braces. */
const wordsPattern = many(noneOf("<>{}"));

/**
 * Words and phrases with boxes in any order: every phrase is closed and has at least one box.
 *
 * @param gap Between a phrase and its first box.
 */
export function groundedPattern(delimiter = "<delim>", gap = ""): BytePattern {
  const phrase = sequence(
    literal("<p>"),
    noneOf("<>{}"),
    wordsPattern,
    literal(`</p>${gap}`),
    boxesPattern(delimiter),
  );
  return sequence(wordsPattern, many(sequence(phrase, wordsPattern)));
}
