/**
 * The Llama tokenizer as Hugging Face's slow implementation behaves: added and special tokens are cut out of the text,
 * the rest goes through SentencePiece.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import {
  type AddedToken,
  contentOf,
  type SpecialTokens,
  stripEnd,
  stripStart,
} from "./added_token.ts";
import { type BatchOptions, type EncodedBatch, padBatch, truncate } from "./batch.ts";
import { type SentencePiece, spaceSymbol } from "./sentencepiece.ts";
import { type DecodeOptions, type DecodingRules, StreamDecoder } from "./stream_decoder.ts";
import { TokenTrie } from "./token_trie.ts";

/**
 * Which transformers release is reproduced: 4.31 stands for 4.30 to 4.33 (4.30 knows `legacy` only), 4.34 for 4.34 and
 * later. Legacy gives every segment after a cut token its own dummy prefix; the others do not.
 */
export type LlamaBehaviour = "4.31-legacy" | "4.31-nonlegacy" | "4.34-legacy" | "4.34-nonlegacy";

/** How to make a {@link LlamaTokenizer}. */
export interface LlamaTokenizerOptions {
  /** Which implementation is reproduced. */
  behaviour: LlamaBehaviour;
  /** Default: `<s>`, `</s>` and `<unk>` as tokens that strip nothing, no pad token. */
  special?: SpecialTokens;
  /** Added tokens by id, inside or outside the base vocabulary; at most 2^17. */
  added?: ReadonlyMap<number, string | AddedToken>;
  /** Put bos in front. Default true. */
  addBos?: boolean;
  /** Put eos at the end. Default false. */
  addEos?: boolean;
  /** Put a space in front of the text; only read by `4.34-nonlegacy` and, in decoding, from 4.34. Default true. */
  addPrefixSpace?: boolean;
  /** Where a batch is padded. Default right. */
  paddingSide?: "left" | "right";
  /** Longest sequence of truncated batches, in tokens. Default unlimited. */
  modelMaxLength?: number;
  /**
   * A pad token set on the finished tokenizer. It counts for padding and `skipSpecialTokens`, but unlike `special.pad`
   * it is not cut out of the text.
   */
  assignedPad?: string;
}

/** Options of encoding. */
export interface EncodeOptions {
  /** Whether bos and eos are added as configured. Default true. */
  addSpecialTokens?: boolean;
}

const MAX_ADDED = 2 ** 17;
/** Longest added token, in UTF-16 units. */
const MAX_TOKEN = 1024;
const DEFAULT_SPECIAL: SpecialTokens = {
  bos: { content: "<s>" },
  eos: { content: "</s>" },
  unk: { content: "<unk>" },
};

/**
 * A tokenizer; immutable, so the `with…` methods return another one. Source: transformers 4.31 and 4.43,
 * `models/llama/tokenization_llama.py` and `tokenization_utils.py`.
 */
export class LlamaTokenizer implements DecodingRules {
  /** The settings it was made with. */
  readonly options: Readonly<LlamaTokenizerOptions>;
  /** The SentencePiece model underneath. */
  readonly sentencePiece: SentencePiece;
  /** Id of the beginning token. */
  readonly beginId: number;
  /** Id of the end token, where generation stops. */
  readonly endId: number;
  /** Id of the unknown token. */
  readonly unknownId: number;
  /** Id of the padding token, if there is one. */
  readonly padId: number | undefined;
  /** Added tokens, text to id: in 4.31 those outside the base vocabulary, from 4.34 also the special tokens. */
  readonly addedTokens: ReadonlyMap<string, number>;
  readonly specialIds: ReadonlySet<number>;
  readonly specialTexts: ReadonlySet<string>;
  readonly standalone: ReadonlySet<string>;
  readonly spaceBeforeSpecial: boolean;
  readonly prefixSpaceRemoved: boolean;
  readonly keepEmptyRuns: boolean;
  readonly #base: SentencePiece;
  readonly #recent: boolean;
  readonly #legacy: boolean;
  readonly #flags = new Map<string, AddedToken>();
  readonly #cut: ReadonlySet<string>;
  readonly #trie: TokenTrie;
  readonly #byId: ReadonlyMap<number, string>;

  /**
   * Puts a vocabulary and settings together.
   *
   * @param base The SentencePiece model with its own dummy-prefix setting.
   * @throws {InputError} code `BAD_ADDED_TOKENS` when added tokens are empty, too many, repeat or contradict the base
   *   vocabulary; `UNKNOWN_TOKEN` when the assigned pad token is not in the vocabulary.
   */
  constructor(base: SentencePiece, options: LlamaTokenizerOptions) {
    const { behaviour, special = DEFAULT_SPECIAL, addPrefixSpace = true } = options;
    this.options = options;
    this.#recent = behaviour.startsWith("4.34");
    this.#legacy = !behaviour.endsWith("nonlegacy");
    this.#base = base;
    this.sentencePiece = this.#recent && !this.#legacy ? base.withDummyPrefix(false) : base;

    const registered = [
      special.bos,
      special.eos,
      special.unk,
      special.pad,
      special.additional ?? [],
    ]
      .flat().filter((token) => token !== undefined);
    const added = this.#number(options.added ?? new Map(), registered);
    this.#byId = new Map([...added].map(([text, id]) => [id, text]));
    this.addedTokens = this.#recent
      ? added
      : new Map([...added].filter(([, id]) => id >= base.size));
    this.#cut = new Set([...added.keys(), ...registered.map(contentOf)]);
    this.#trie = new TokenTrie(this.#cut);
    for (const token of registered) this.#noteFlags(token);
    // From 4.34 the description of an added token decides, also for a special one.
    if (this.#recent) { for (const token of options.added?.values() ?? []) this.#noteFlags(token); }

    const names = registered.map(contentOf);
    if (options.assignedPad !== undefined) names.push(options.assignedPad);
    this.specialTexts = new Set(names);
    this.specialIds = new Set(names.map((name) => this.tokenToId(name)));
    const additional = new Set((special.additional ?? []).map(contentOf));
    this.standalone = new Set(
      [...this.addedTokens].filter(([text, id]) =>
        this.#recent
          ? !this.specialTexts.has(text) || (additional.has(text) && id >= base.size)
          : true
      ).map(([text]) => text),
    );
    this.spaceBeforeSpecial = this.#legacy || !this.#recent;
    this.prefixSpaceRemoved = this.#recent && addPrefixSpace;
    this.keepEmptyRuns = !this.#recent;

    this.beginId = this.tokenToId(contentOf(special.bos));
    this.endId = this.tokenToId(contentOf(special.eos));
    this.unknownId = this.tokenToId(contentOf(special.unk));
    const pad = options.assignedPad ??
      (special.pad === undefined ? undefined : contentOf(special.pad));
    this.padId = pad === undefined ? undefined : this.tokenToId(pad);
    if (pad !== undefined && !this.has(pad)) {
      throw new InputError(
        "UNKNOWN_TOKEN",
        `Cannot pad with "${pad}": the vocabulary has no such token, choose one that it has`,
      );
    }
  }

  /** Number of different tokens, added ones included. */
  get size(): number {
    let outside = 0;
    for (const text of this.addedTokens.keys()) if (!this.#inBase(text)) outside++;
    return this.sentencePiece.size + outside;
  }

  /** Whether the text is exactly one token of the vocabulary. */
  has(token: string): boolean {
    return this.addedTokens.has(token) || this.#inBase(token);
  }

  /** Id of a token by its text; the unknown id when there is no such token. */
  tokenToId(token: string): number {
    return this.addedTokens.get(token) ?? this.sentencePiece.pieceToId(token);
  }

  /**
   * Text of a token by its id, with `▁` for a space.
   *
   * @throws {InputError} code `UNKNOWN_TOKEN` when there is no such id.
   */
  idToToken(id: number): string {
    return this.#byId.get(id) ?? this.sentencePiece.idToPiece(id);
  }

  /**
   * The same tokenizer with more tokens; those already in the vocabulary get no new id but are cut out of the text
   * from now on. New ids follow the largest one.
   */
  withAddedTokens(tokens: readonly (string | AddedToken)[]): LlamaTokenizer {
    const added = new Map(this.options.added);
    const ids = new Map([...added].map(([id, token]) => [contentOf(token), id]));
    let next = Math.max(this.sentencePiece.size, ...[...this.#byId.keys()].map((id) => id + 1));
    for (const token of tokens) {
      const text = contentOf(token);
      if (ids.has(text)) continue;
      const id = this.has(text) ? this.tokenToId(text) : next++;
      ids.set(text, id);
      added.set(id, token);
    }
    return new LlamaTokenizer(this.#base, { ...this.options, added });
  }

  /** The same tokenizer with a pad token that is set after loading (see `assignedPad`). */
  withPadToken(token: string): LlamaTokenizer {
    return new LlamaTokenizer(this.#base, { ...this.options, assignedPad: token });
  }

  /** Cuts text into token texts, without bos and eos. */
  tokenize(text: string): string[] {
    if (text === "") return [];
    const { addPrefixSpace = true } = this.options;
    if (!this.#legacy) {
      text = text.replaceAll(spaceSymbol, " ");
      if (!this.#recent || addPrefixSpace) text = spaceSymbol + text;
    }
    const tokens: string[] = [];
    for (const segment of this.#segments(text.toWellFormed())) {
      if (segment === "") continue;
      if (this.#cut.has(segment)) tokens.push(segment);
      else for (const piece of this.#encodeSegment(segment)) tokens.push(piece);
    }
    if (
      !this.#legacy && this.#recent && tokens.length > 1 && tokens[0] === spaceSymbol &&
      this.specialTexts.has(tokens[1])
    ) tokens.shift();
    return tokens;
  }

  /**
   * Token ids of a text.
   *
   * @throws {InputError} code `TEXT_TOO_LONG`, see `SentencePiece.encode`.
   */
  encode(text: string, { addSpecialTokens = true }: EncodeOptions = {}): number[] {
    const ids = this.tokenize(text).map((token) => this.tokenToId(token));
    return addSpecialTokens ? this.#wrap(ids) : ids;
  }

  /**
   * Encodes several texts to equal length.
   *
   * @throws {InputError} code `BAD_BATCH` when padding is asked for without a pad token, or the length leaves no room.
   */
  encodeBatch(texts: readonly string[], options: BatchOptions = {}): EncodedBatch {
    const limit = options.maxLength ?? this.options.modelMaxLength ?? Infinity;
    const special = options.addSpecialTokens ?? true;
    const extra = special ? this.#wrap([]).length : 0;
    const rows = texts.map((text) => {
      let ids = this.encode(text, { addSpecialTokens: false });
      if (options.truncation) ids = truncate(ids, limit, extra);
      return special ? this.#wrap(ids) : ids;
    });
    const side = options.paddingSide ?? this.options.paddingSide ?? "right";
    return padBatch(rows, { padding: options.padding ?? false, limit, padId: this.padId, side });
  }

  /**
   * Text of a sequence of ids.
   *
   * @throws {InputError} code `UNKNOWN_TOKEN` for an id outside the vocabulary.
   */
  decode(ids: Iterable<number>, options?: DecodeOptions): string {
    const decoder = this.streamDecoder(options);
    let text = "";
    for (const id of ids) text += decoder.push(id);
    return text + decoder.flush();
  }

  /** A decoder for ids that arrive one at a time. */
  streamDecoder(options?: DecodeOptions): StreamDecoder {
    return new StreamDecoder(this, options);
  }

  #inBase(token: string): boolean {
    return token === this.#base.idToPiece(this.#base.pieceToId(token));
  }

  #wrap(ids: readonly number[]): number[] {
    const { addBos = true, addEos = false } = this.options;
    return [...(addBos ? [this.beginId] : []), ...ids, ...(addEos ? [this.endId] : [])];
  }

  /** Flags of a token. In 4.31 only special tokens given as objects have any: all others strip on both sides. */
  #noteFlags(token: string | AddedToken): void {
    if (typeof token !== "string") this.#flags.set(token.content, token);
    else if (this.#recent && !this.#flags.has(token)) this.#flags.set(token, { content: token });
  }

  /** Checks the added tokens and gives ids to special tokens that have none. Returns text to id. */
  #number(
    given: ReadonlyMap<number, string | AddedToken>,
    registered: readonly (string | AddedToken)[],
  ): Map<string, number> {
    const base = this.#base, ids = new Map<string, number>();
    const bad = (problem: string): never => {
      throw new InputError(
        "BAD_ADDED_TOKENS",
        `Cannot add tokens to a vocabulary of ${base.size} pieces: ${problem}; the tokenizer files do not fit together`,
      );
    };
    if (given.size > MAX_ADDED) bad(`${given.size} tokens are more than the ${MAX_ADDED} allowed`);
    let next = base.size;
    for (const [id, token] of [...given].sort(([a], [b]) => a - b)) {
      const text = contentOf(token);
      if (text === "" || text.length > MAX_TOKEN) {
        bad(`the token ${id} has ${text.length} characters`);
      }
      if (ids.has(text)) bad(`"${text}" has the ids ${ids.get(text)} and ${id}`);
      const expected = this.#inBase(text) ? base.pieceToId(text) : Math.max(id, base.size);
      if (id !== expected) bad(`"${text}" has the id ${id} instead of ${expected}`);
      if (!Number.isInteger(id) || id >= base.size + MAX_ADDED) bad(`the id ${id} is out of range`);
      ids.set(text, id);
      next = Math.max(next, id + 1);
    }
    for (const text of registered.map(contentOf)) {
      if (ids.has(text)) continue;
      if (!this.#inBase(text)) ids.set(text, next++);
      else if (this.#recent) ids.set(text, base.pieceToId(text));
    }
    return ids;
  }

  /** Cuts the text at added tokens and strips white space beside them. */
  #segments(text: string): string[] {
    const parts = this.#trie.split(text);
    parts.forEach((part, i) => {
      if (!this.#cut.has(part)) return;
      const flags = this.#flags.get(part) ?? { content: part, lstrip: true, rstrip: true };
      if (flags.rstrip && parts[i + 1]) parts[i + 1] = stripStart(parts[i + 1]);
      if (flags.lstrip && parts[i - 1]) parts[i - 1] = stripEnd(parts[i - 1]);
      if (!this.#recent || !flags.singleWord) return;
      const [left, right] = [parts[i - 1], parts[i + 1]];
      if (left && !left.endsWith(" ")) parts[i - 1] = left + part;
      else if (right && !right.startsWith(" ")) parts[i + 1] = part + right;
      else return;
      parts[i] = "";
    });
    return parts;
  }

  #encodeSegment(text: string): string[] {
    const pieces = (part: string) => this.sentencePiece.encodePieces(part);
    if (this.#legacy) return pieces(text);
    const marked = text.startsWith(spaceSymbol);
    if (this.#recent) {
      if (!marked && !text.startsWith(" ")) return pieces(text);
      // SentencePiece treats a space at the very start specially in some models; behind other text it is safe.
      const unk = contentOf((this.options.special ?? DEFAULT_SPECIAL).unk);
      const all = pieces(unk + text), before = pieces(unk).length;
      return all.length >= before ? all.slice(before) : all;
    }
    if (marked) return pieces(text.slice(1));
    const all = pieces(text);
    if (text.startsWith(" ") || !all[0]?.startsWith(spaceSymbol)) return all;
    return all[0] === spaceSymbol ? all.slice(1) : [all[0].slice(1), ...all.slice(1)];
  }
}
