/**
 * Tokens outside the SentencePiece vocabulary and the special tokens, as Hugging Face describes them.
 *
 * @module
 */

/** A token that is cut out of the text before SentencePiece sees it. */
export interface AddedToken {
  /** The text, not empty. */
  content: string;
  /** Takes the white space on its left with it. Default false. */
  lstrip?: boolean;
  /** Takes the white space on its right with it. Default false. */
  rstrip?: boolean;
  /** Only counts as the token next to a space or the end of the text (releases from 4.34). Default false. */
  singleWord?: boolean;
}

/**
 * The special tokens. A plain string and an {@link AddedToken} without flags differ in the 4.31 behaviours: beside a
 * plain string white space is stripped, beside an AddedToken it is kept.
 */
export interface SpecialTokens {
  /** Beginning of the sequence, `<s>`. */
  bos: string | AddedToken;
  /** End of the sequence, `</s>`. */
  eos: string | AddedToken;
  /** Unknown token, `<unk>`. */
  unk: string | AddedToken;
  /** Padding, if any. */
  pad?: string | AddedToken;
  /** Further tokens that `skipSpecialTokens` removes. */
  additional?: readonly (string | AddedToken)[];
}

/** Text of a token given either way. */
export function contentOf(token: string | AddedToken): string {
  return typeof token === "string" ? token : token.content;
}

/**
 * The characters of Python's `str.isspace`, for a character class; it differs from JavaScript's: it has the separators 1C to
 * 1F and 85, not FEFF.
 */
export const pythonSpaces =
  "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const LEADING = new RegExp(`^[${pythonSpaces}]+`);
const SPACE = new RegExp(`[${pythonSpaces}]`);

/** Removes white space at the start, by Python's definition of white space. */
export function stripStart(text: string): string {
  return text.replace(LEADING, "");
}

/** Removes white space at the end, by Python's definition of white space. */
export function stripEnd(text: string): string {
  let end = text.length;
  while (end > 0 && SPACE.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** Removes white space at both ends, by Python's definition of white space. */
export function strip(text: string): string {
  return stripEnd(stripStart(text));
}
