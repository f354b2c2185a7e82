/**
 * Texts that know which of their phrases speak of what, and small helpers of wording.
 *
 * @module
 */

/** A phrase of a text and the things it speaks of. */
export interface Phrase<T> {
  /** Start and end (exclusive) in UTF-16 units. */
  readonly span: readonly [number, number];
  /** What it points at, at least one. */
  readonly targets: readonly T[];
}

/** A piece of a sentence: plain words, or a phrase with what it points at. */
export type Piece<T> = string | { readonly text: string; readonly targets: readonly T[] };

/** A text with its phrases. */
export interface GroundedText<T> {
  readonly text: string;
  readonly phrases: readonly Phrase<T>[];
}

/** Joins pieces; blanks between them are the pieces' own. The first letter becomes a capital. */
export function sentence<T>(...pieces: readonly Piece<T>[]): GroundedText<T> {
  let text = "";
  const phrases: Phrase<T>[] = [];
  for (const piece of pieces) {
    if (typeof piece === "string") text += piece;
    else {
      phrases.push({
        span: [text.length, text.length + piece.text.length],
        targets: piece.targets,
      });
      text += piece.text;
    }
  }
  return { text: capital(text), phrases };
}

/** Joins texts; their phrases move along. */
export function joinTexts<T>(texts: readonly GroundedText<T>[], between: string): GroundedText<T> {
  let text = "";
  const phrases: Phrase<T>[] = [];
  texts.forEach((part, index) => {
    if (index > 0) text += between;
    const offset = text.length;
    for (const { span: [start, end], targets } of part.phrases) {
      phrases.push({ span: [start + offset, end + offset], targets });
    }
    text += part.text;
  });
  return { text, phrases };
}

/** The text with a capital first letter. */
export function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** `a, b and c`. */
export function listed(names: readonly string[], last = "and"): string {
  return names.length < 2
    ? names.join("")
    : `${names.slice(0, -1).join(", ")} ${last} ${names.at(-1)}`;
}

/** A small number in words, `one` to `twelve`; others in figures. */
export function numberWord(count: number): string {
  const words = "zero one two three four five six seven eight nine ten eleven twelve".split(" ");
  return words[count] ?? String(count);
}

/** `a` or `an` before a word. */
export function withArticle(words: string): string {
  return `${/^[aeiou]/i.test(words) ? "an" : "a"} ${words}`;
}
