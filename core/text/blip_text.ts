/**
 * The text processors of LAVIS, MiniGPT-4 and PeFoMed (`processors/blip_processors.py`), which captions, questions and
 * whole instructions pass before they are tokenized.
 *
 * @module
 */
import { pythonSpaces } from "./added_token.ts";

/** Python's white space of two or more characters; it is not JavaScript's. */
const runs = new RegExp(`[${pythonSpaces}]{2,}`, "g");
const marks = /[.!"()*#:;~]/g;

/** The most words that the processors keep. */
export const blipWords = 50;

function firstWords(text: string, maxWords: number): string {
  const words = text.split(" ");
  return words.length > maxWords ? words.slice(0, maxWords).join(" ") : text;
}

/** Removes a character at the end, as often as it stands there. */
function trimEnd(text: string, character: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === character) end--;
  return text.slice(0, end);
}

/**
 * `blip_caption`: lower case; each of `. ! " ( ) * # : ; ~` becomes a blank; white space of two or more characters becomes
 * one blank (a single tab or newline inside stays); newlines at the end and blanks at both ends go; the first words, split
 * at single blanks, are kept. Decimals fall apart: `3.5` becomes `3 5`.
 */
export function blipCaption(text: string, maxWords: number = blipWords): string {
  const spaced = text.toLowerCase().replace(marks, " ").replace(runs, " ");
  const bare = trimEnd(trimEnd(spaced, "\n"), " ").replace(/^ +/, "");
  return firstWords(bare, maxWords);
}

/** `blip_question`: lower case; the same marks vanish; blanks at the end go; the first words are kept. */
export function blipQuestion(text: string, maxWords: number = blipWords): string {
  return firstWords(trimEnd(text.toLowerCase().replace(marks, ""), " "), maxWords);
}
