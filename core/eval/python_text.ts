/**
 * Strings and rounding as Python treats them: the reference implementations of the text metrics are Python programs, and
 * their numbers depend on which characters count as white space, digits and letters.
 *
 * @module
 */

/** The characters that Python's `str.split`, `str.strip` and `\s` take as white space, for a character class. */
export const pythonSpace =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/** The characters of Python's `\w`, for a character class of a regular expression with the flag `u`. */
export const pythonWord = "\\p{L}\\p{N}_";

/** Python's `\b`: a place between a word character and another. Needs the flag `u`. */
export const pythonBoundary =
  `(?:(?<=[${pythonWord}])(?![${pythonWord}])|(?<![${pythonWord}])(?=[${pythonWord}]))`;

/** Python's `$` without MULTILINE: the end, or before a newline that ends the string. */
export const pythonEnd = "(?=\\n?(?![^]))";

const spaces = new RegExp(`[${pythonSpace}]+`);
const leadingSpaces = new RegExp(`^[${pythonSpace}]+`);

/** Python's `str.split()`: the runs between white space; no empty strings. */
export function splitWhitespace(text: string): string[] {
  return text.split(spaces).filter((token) => token !== "");
}

/** Python's `str.rstrip()`. */
export function stripEnd(text: string): string {
  // A regular expression anchored at the end alone would look at every run of spaces.
  let end = text.length;
  while (end > 0 && spaces.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** Python's `str.strip()`. */
export function stripText(text: string): string {
  return stripEnd(text.replace(leadingSpaces, ""));
}

/** The value of a run of decimal digits of any script, as Python's `int` reads it. */
export function digitsValue(digits: string): number {
  let value = 0;
  for (const digit of digits) value = value * 10 + digitValue(digit.codePointAt(0)!);
  return value;
}

/** Decimal digits come in runs of ten code points: 0 is where the run starts. */
function digitValue(code: number): number {
  if (code < 0x80) return code - 0x30;
  // Mathematical digits are five runs of ten in a row.
  if (code >= 0x1d7ce && code <= 0x1d7ff) return (code - 0x1d7ce) % 10;
  let start = code;
  while (/^\p{Nd}$/u.test(String.fromCodePoint(start - 1)) && code - start < 9) start--;
  return code - start;
}

/**
 * Rounds to a number of decimals as Python's `round` does: to the nearest, and a number exactly half-way (in binary) to
 * the even neighbour. Numbers that are not finite stay.
 *
 * @throws {RangeError} for fewer than 0 or more than 20 decimals.
 */
export function roundHalfEven(value: number, decimals = 0): number {
  if (!(decimals >= 0 && decimals <= 20)) {
    throw new RangeError(`Cannot round to ${decimals} decimals: expected 0 to 20`);
  }
  if (!Number.isFinite(value)) return value;
  // value = odd / 2^(decimals + 1) are the only ties: a tie times 10^decimals ends in one half.
  const halves = value * 2 ** (decimals + 1);
  if (!Number.isInteger(halves) || halves % 2 === 0 || Math.abs(value) > 1e15) {
    return Math.abs(value) >= 1e21 ? value : Number(value.toFixed(decimals));
  }
  const scaled = Math.abs(value) * 10 ** decimals;
  const below = Math.floor(scaled);
  const nearest = below % 2 === 0 ? below : below + 1;
  return Math.sign(value) * Number((nearest / 10 ** decimals).toFixed(decimals));
}
