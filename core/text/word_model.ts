/**
 * SentencePiece models made from lists of words, so that small models need no file.
 *
 * @module
 */
import { spaceSymbol } from "./sentencepiece.ts";
import { buildSentencePieceModel } from "./sentencepiece_model.ts";

/**
 * Merges of byte-pair encoding over the words (Sennrich et al., ACL 2016): the most frequent pair of neighbours becomes a
 * piece, again and again; among equal ones the first in order of appearance.
 */
function merges(words: readonly string[], count: number): string[] {
  const spelled = [...new Set(words)].map((word) => [...word]);
  const found: string[] = [];
  while (found.length < count) {
    const counts = new Map<string, number>();
    for (const pieces of spelled) {
      for (let i = 1; i < pieces.length; i++) {
        const pair = `${pieces[i - 1]} ${pieces[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const [best] = [...counts].sort(([, a], [, b]) => b - a);
    if (best === undefined) break;
    const [left, right] = best[0].split(" ") as [string, string];
    found.push(left + right);
    for (const pieces of spelled) {
      for (let i = 1; i < pieces.length; i++) {
        if (pieces[i - 1] === left && pieces[i] === right) pieces.splice(i - 1, 2, left + right);
      }
    }
  }
  return found;
}

/** Pieces every model begins with: three control tokens and a byte each. */
const before = 259;

/**
 * The bytes of a `tokenizer.model` of exactly `size` pieces: control tokens and bytes, pieces of the words in the order of their
 * merges, single characters; places that the words leave are filled with pieces of the private use area, which no text has.
 *
 * @param words What is frequent in the texts of the model. A piece that two merges give counts once.
 * @param characters Pieces of their own, besides the space.
 * @param inside What is frequent behind other characters, such as names in brackets.
 * @throws {RangeError} when the size has no room for the characters.
 */
export function wordModel(
  words: readonly string[],
  characters: readonly string[],
  size: number,
  inside: readonly string[] = [],
): Uint8Array {
  const single = [spaceSymbol, ...characters], count = size - before;
  if (!Number.isSafeInteger(size) || count < single.length) {
    throw new RangeError(
      `Cannot make a tokenizer of ${size} pieces: ${characters.length} characters need ${
        before + single.length
      }`,
    );
  }
  const spaced = words.map((word) => spaceSymbol + word);
  const merged = [...new Set(merges([...spaced, ...inside], count - single.length))];
  const filler = Array.from(
    { length: count - single.length - merged.length },
    (_, i) => String.fromCodePoint(0xe000 + i),
  );
  return buildSentencePieceModel([...merged, ...single, ...filler]);
}
