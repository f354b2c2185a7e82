/**
 * Grounded text: words, phrases `<p>…</p>` and the boxes behind them, read tolerantly and written exactly. Several boxes of
 * a phrase are joined by `<delim>` (MiniGPT-v2) or by nothing; LiteGPT puts a blank between phrase and box.
 *
 * @module
 */
import { type GridBox, gridBoxText } from "./box_text.ts";
import { scanBoxes, type TextBox, type TextSpan } from "./box_scanner.ts";

/** A phrase and the boxes behind it. */
export interface TextPhrase {
  /** The words between the tags, as written. */
  readonly text: string;
  /** Where the words stand. */
  readonly span: TextSpan;
  /** Boxes directly behind the phrase, the rejected ones included. */
  readonly boxes: readonly TextBox[];
  /** The phrase ended with `</p>`; otherwise it was taken to end at its box, at the next phrase or with the text. */
  readonly closed: boolean;
}

/** What a text says and points at. */
export interface GroundedText {
  /** The text without tags and boxes; blanks around them stay. */
  readonly words: string;
  /** Phrases in their order. */
  readonly phrases: readonly TextPhrase[];
  /** All boxes in their order, those of phrases included. */
  readonly boxes: readonly TextBox[];
}

const marks = ["<p>", "</p>", "<delim>", "<unk>", "<s>", "</s>"] as const;
const isBlank = (character: string) => /[ \t-\r\u00a0]/.test(character);

/** Collects the parts of a text. */
class GroundedTextReader {
  readonly phrases: (TextPhrase & { readonly boxes: TextBox[] })[] = [];
  readonly boxes: TextBox[] = [];
  words = "";
  readonly #text: string;
  /** Where the words of an open phrase start. */
  #open: number | undefined;
  /** Boxes that come next belong to the last phrase. */
  #follows = false;

  constructor(text: string) {
    this.#text = text;
  }

  /** Ends the open phrase, if there is one. */
  #end(at: number, closed: boolean): void {
    if (this.#open === undefined) return;
    const span: TextSpan = [this.#open, at];
    this.phrases.push({ text: this.#text.slice(...span), span, boxes: [], closed });
    this.#open = undefined;
    this.#follows = true;
  }

  mark(mark: typeof marks[number], at: number): void {
    if (mark === "<p>") {
      this.#end(at, false);
      this.#follows = false;
      this.#open = at + mark.length;
    } else if (mark === "</p>") {
      this.#end(at, true);
    }
  }

  box(found: readonly TextBox[], at: number): void {
    if (this.#open !== undefined) {
      let end = at;
      while (end > this.#open && isBlank(this.#text[end - 1])) end--;
      this.#end(end, false);
    }
    this.boxes.push(...found);
    if (this.#follows) this.phrases.at(-1)!.boxes.push(...found);
  }

  word(character: string): void {
    this.words += character;
    if (this.#open === undefined && !isBlank(character)) this.#follows = false;
  }

  finish(): GroundedText {
    this.#end(this.#text.length, false);
    const { words, phrases, boxes } = this;
    return { words, phrases, boxes };
  }
}

/** Reads a text. Never fails: whatever is no tag and no box is words, and every box says how it fared. */
export function parseGroundedText(text: string): GroundedText {
  const reader = new GroundedTextReader(text);
  for (let at = 0; at < text.length;) {
    const mark = text[at] === "<" ? marks.find((one) => text.startsWith(one, at)) : undefined;
    if (mark !== undefined) {
      reader.mark(mark, at);
      at += mark.length;
      continue;
    }
    const found = scanBoxes(text, at);
    if (found !== undefined) {
      reader.box(found.boxes, at);
      at = found.end;
      continue;
    }
    reader.word(text[at++]);
  }
  return reader.finish();
}

/** The box of a text box, undefined where it was rejected. */
export function boxIn(found: TextBox): GridBox | undefined {
  return found.outcome === "rejected" ? undefined : found.box;
}

/** A part of a text to write: words, or a phrase with its boxes; boxes without phrase have none. */
export type GroundedPart = string | {
  readonly phrase?: string;
  readonly boxes: readonly GridBox[];
};

/** How boxes are joined. */
export interface GroundedTextStyle {
  /** Between boxes of one phrase. Default `<delim>`. */
  readonly delimiter?: string;
  /** Between a phrase and its first box. Default nothing; LiteGPT has a blank. */
  readonly gap?: string;
}

/**
 * Writes a text, the parts one behind the other with nothing between. What is written reads back as it was given.
 *
 * @throws {RangeError} when words or phrases hold tags or boxes of their own, which could not be told from the marks.
 */
export function writeGroundedText(
  parts: readonly GroundedPart[],
  { delimiter = "<delim>", gap = "" }: GroundedTextStyle = {},
): string {
  const plain = (words: string) => {
    const read = parseGroundedText(words);
    if (read.words === words && read.boxes.length === 0 && read.phrases.length === 0) return words;
    throw new RangeError(
      `Cannot write ${
        JSON.stringify(words.slice(0, 60))
      } as words of a grounded text: it holds tags or boxes`,
    );
  };
  return parts.map((part) => {
    if (typeof part === "string") return plain(part);
    const boxes = part.boxes.map(gridBoxText).join(delimiter);
    if (part.phrase === undefined) return boxes;
    return `<p>${plain(part.phrase)}</p>${boxes === "" ? "" : gap + boxes}`;
  }).join("");
}
