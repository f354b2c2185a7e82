/**
 * Token ids to text, one at a time, with Hugging Face's rules for added and special tokens.
 *
 * @module
 */
import { PieceDecoder, type SentencePiece, spaceSymbol } from "./sentencepiece.ts";

/** What decoding needs to know about a tokenizer; `LlamaTokenizer` provides it. */
export interface DecodingRules {
  /** Decodes the ordinary pieces. */
  readonly sentencePiece: SentencePiece;
  /** Text of an id, see `LlamaTokenizer.idToToken`. */
  idToToken(id: number): string;
  /** Ids that `skipSpecialTokens` removes. */
  readonly specialIds: ReadonlySet<number>;
  /** Texts of the special tokens; they are written out verbatim. */
  readonly specialTexts: ReadonlySet<string>;
  /** Added tokens that stand apart: each is joined to its neighbours by one space. */
  readonly standalone: ReadonlySet<string>;
  /** A special token inside a run puts a space before the text that precedes it (4.31, and legacy later). */
  readonly spaceBeforeSpecial: boolean;
  /** Releases from 4.34: the first `▁` of a run goes, and a run that starts with one special token gets a space. */
  readonly prefixSpaceRemoved: boolean;
  /** 4.31 joins a run even when it decodes to nothing. */
  readonly keepEmptyRuns: boolean;
}

/** Options of decoding. */
export interface DecodeOptions {
  /** Leave out bos, eos, unk, pad and the additional special tokens. Default false. */
  skipSpecialTokens?: boolean;
}

/**
 * Decodes ids as they are generated. Every push returns text that is final: a character is never split, text once
 * returned never changes, and all pushes and the flush joined are exactly the decoded sequence. A finished decoder
 * cannot be reused.
 *
 * Without `skipSpecialTokens`, the older behaviours decide a space in front of a run of text only when the special
 * token after it is known, so such a run comes out as a whole.
 */
export class StreamDecoder {
  readonly #rules: DecodingRules;
  readonly #skip: boolean;
  #run: Run | undefined;
  /** Whether something stands before the next part, so that the parts are joined by a space. */
  #joinNext = false;
  #joined = false;

  /**
   * Starts a sequence.
   *
   * @param rules The tokenizer.
   */
  constructor(rules: DecodingRules, { skipSpecialTokens = false }: DecodeOptions = {}) {
    this.#rules = rules;
    this.#skip = skipSpecialTokens;
  }

  /**
   * Takes one id and returns the text that is now certain, often empty.
   *
   * @throws {InputError} code `UNKNOWN_TOKEN` when the tokenizer has no such id.
   */
  push(id: number): string {
    const rules = this.#rules;
    if (this.#skip && rules.specialIds.has(id)) return "";
    const token = rules.idToToken(id);
    if (rules.standalone.has(token)) {
      const before = this.#endRun(rules.keepEmptyRuns);
      const out = before + (this.#joinNext ? " " : "") + token;
      this.#joinNext = true;
      return out;
    }
    this.#run ??= new Run(rules, this.#skip);
    return this.#emit(this.#run.push(token), rules.keepEmptyRuns);
  }

  /** Ends the sequence and returns what was held back. */
  flush(): string {
    return this.#endRun(true);
  }

  #endRun(keepEmpty: boolean): string {
    if (this.#run === undefined) return "";
    const text = this.#emit(this.#run.flush(), keepEmpty);
    this.#joinNext ||= this.#joined;
    this.#joined = false;
    this.#run = undefined;
    return text;
  }

  /** Puts the joining space in front of a run's first text. */
  #emit(text: string, evenEmpty: boolean): string {
    if (this.#joined || (text === "" && !evenEmpty)) return text;
    this.#joined = true;
    return this.#joinNext ? ` ${text}` : text;
  }
}

/** Ordinary and special tokens between two standalone tokens. */
class Run {
  readonly #rules: DecodingRules;
  readonly #holds: boolean;
  #decoder: PieceDecoder;
  #held = "";
  #count = 0;
  #afterSpecial = false;

  constructor(rules: DecodingRules, skip: boolean) {
    this.#rules = rules;
    this.#holds = rules.spaceBeforeSpecial && !skip;
    this.#decoder = new PieceDecoder(rules.sentencePiece);
  }

  push(token: string): string {
    const { rules, index } = { rules: this.#rules, index: this.#count++ };
    if (index === 0 && rules.prefixSpaceRemoved && token.startsWith(spaceSymbol)) {
      token = token.slice(1);
    }
    if (rules.specialTexts.has(token)) {
      const space = rules.spaceBeforeSpecial && !this.#afterSpecial && index !== 0 ? " " : "";
      const out = space + this.flush() + token;
      this.#decoder = new PieceDecoder(rules.sentencePiece);
      this.#afterSpecial = true;
      return out;
    }
    const spaced = this.#afterSpecial && index === 1 && rules.prefixSpaceRemoved &&
      !token.startsWith(spaceSymbol);
    this.#afterSpecial = false;
    const text = this.#decoder.push(token);
    if (!this.#holds) return spaced ? ` ${text}` : text;
    this.#held += text;
    return spaced ? " " : "";
  }

  flush(): string {
    const text = this.#held + this.#decoder.flush();
    this.#held = "";
    return text;
  }
}
