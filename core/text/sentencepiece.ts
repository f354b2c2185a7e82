/**
 * SentencePiece BPE: text to pieces and back, equal to google/sentencepiece 0.1.97 for models with identity
 * normalisation.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { mergeSymbols, type MergeTable } from "./bpe_merge.ts";
import { ByteDecoder } from "./byte_decoder.ts";
import {
  byteToPiece,
  checkSentencePieceModel,
  parseSentencePieceModel,
  type Piece,
  pieceToByte,
  type SentencePieceModel,
} from "./sentencepiece_model.ts";
import { TokenTrie } from "./token_trie.ts";

/** The character SentencePiece writes for a space, U+2581. */
export const spaceSymbol = "\u2581";

/** Longest text accepted by one call, in UTF-16 units. */
const MAX_TEXT = 2 ** 24;

/** A SentencePiece processor. Immutable; safe to share. */
export class SentencePiece {
  /** The model it was made from. */
  readonly model: SentencePieceModel;
  /** Id of the unknown piece. */
  readonly unkId: number;
  readonly #ids = new Map<string, number>();
  readonly #userDefined: TokenTrie | undefined;
  readonly #table: MergeTable;

  /**
   * Indexes a model.
   *
   * @param model A model, see {@link parseSentencePieceModel}.
   * @param name Its name, for messages.
   * @throws {InputError} code `BAD_TOKENIZER_MODEL` when the model is not consistent.
   */
  constructor(model: SentencePieceModel, name = "tokenizer.model") {
    checkSentencePieceModel(model, name);
    this.model = model;
    const mergeable = new Map<string, number>();
    let longest = 0;
    model.pieces.forEach(({ text, type }, id) => {
      this.#ids.set(text, id);
      if (type !== "normal" && type !== "user-defined" && type !== "unused") return;
      mergeable.set(text, id);
      longest = Math.max(longest, text.length);
    });
    this.unkId = model.pieces.findIndex((piece) => piece.type === "unknown");
    const fixed = model.pieces.filter((piece) => piece.type === "user-defined");
    this.#userDefined = fixed.length === 0
      ? undefined
      : new TokenTrie(fixed.map((one) => one.text));
    this.#table = {
      longest,
      find: (text) => mergeable.get(text),
      score: (id) => model.pieces[id].score,
      unused: (id) => model.pieces[id].type === "unused",
    };
  }

  /**
   * Parses the bytes of a `tokenizer.model`.
   *
   * @throws {InputError} see {@link parseSentencePieceModel}.
   */
  static parse(bytes: Uint8Array, name: string): SentencePiece {
    return new SentencePiece(parseSentencePieceModel(bytes, name), name);
  }

  /** The same vocabulary with another dummy-prefix setting. */
  withDummyPrefix(addDummyPrefix: boolean): SentencePiece {
    return new SentencePiece({ ...this.model, addDummyPrefix });
  }

  /** Number of pieces. */
  get size(): number {
    return this.model.pieces.length;
  }

  /** Id of a piece; the unknown id for anything that is none. */
  pieceToId(piece: string): number {
    return this.#ids.get(piece) ?? this.unkId;
  }

  /**
   * The piece of an id.
   *
   * @throws {InputError} code `UNKNOWN_TOKEN` when the id is not in 0 … size - 1.
   */
  idToPiece(id: number): string {
    return this.#piece(id).text;
  }

  /**
   * Cuts text into pieces: normalisation, BPE merges, byte fallback. Lone surrogates count as U+FFFD.
   *
   * @returns Piece texts; a character that is no piece appears as its byte pieces, or as itself without byte fallback
   *   (then neighbouring unknown characters form one entry).
   * @throws {InputError} code `TEXT_TOO_LONG` beyond 2^24 UTF-16 units.
   */
  encodePieces(text: string): string[] {
    return this.#encode(text).map((one) => one.piece);
  }

  /** Token ids of a text, in 0 … size - 1; see {@link encodePieces}. */
  encode(text: string): number[] {
    return this.#encode(text).map((one) => one.id);
  }

  /** Text of a sequence of ids. Control pieces give nothing, broken UTF-8 one U+FFFD per byte. */
  decode(ids: Iterable<number>): string {
    const decoder = new PieceDecoder(this);
    let text = "";
    for (const id of ids) text += decoder.push(this.idToPiece(id));
    return text + decoder.flush();
  }

  /** The vocabulary entry of a piece text; the unknown entry for anything that is none. */
  lookUp(piece: string): Piece {
    return this.model.pieces[this.pieceToId(piece)];
  }

  #encode(text: string): { piece: string; id: number }[] {
    if (text.length > MAX_TEXT) {
      throw new InputError(
        "TEXT_TOO_LONG",
        `Cannot tokenize a text of ${text.length} characters: at most ${MAX_TEXT} are allowed, shorten it`,
      );
    }
    const out: { piece: string; id: number }[] = [];
    let afterUnknown = false;
    for (const piece of this.#merge(this.#normalize(text.toWellFormed()))) {
      const id = this.pieceToId(piece);
      if (id !== this.unkId) {
        out.push({ piece, id });
      } else if (this.model.byteFallback) {
        for (const byte of new TextEncoder().encode(piece)) {
          out.push({ piece: byteToPiece(byte), id: this.pieceToId(byteToPiece(byte)) });
        }
      } else if (afterUnknown) {
        out[out.length - 1].piece += piece;
      } else {
        out.push({ piece, id });
      }
      afterUnknown = id === this.unkId;
    }
    return out;
  }

  #piece(id: number): Piece {
    const piece = this.model.pieces[id];
    if (piece === undefined) {
      throw new InputError(
        "UNKNOWN_TOKEN",
        `Cannot decode the token id ${id}: the vocabulary has the ids 0 to ${this.size - 1}`,
      );
    }
    return piece;
  }

  #normalize(text: string): string {
    const { addDummyPrefix, removeExtraWhitespaces, escapeWhitespaces } = this.model;
    const space = escapeWhitespaces ? spaceSymbol : " ";
    let out = text;
    if (removeExtraWhitespaces) out = out.replace(/^ +/, "").replace(/ {2,}/g, " ");
    if (out === "") return "";
    if (addDummyPrefix) out = ` ${out}`;
    if (escapeWhitespaces) out = out.replaceAll(" ", spaceSymbol);
    if (removeExtraWhitespaces) { while (out.endsWith(space)) out = out.slice(0, -1); }
    return out;
  }

  #merge(text: string): string[] {
    if (this.#userDefined === undefined) return mergeSymbols([...text], undefined, this.#table);
    const symbols: string[] = [], frozen: boolean[] = [];
    for (let at = 0; at < text.length;) {
      const found = this.#userDefined.longestAt(text, at);
      const length = found > 0 ? found : text.codePointAt(at)! > 0xffff ? 2 : 1;
      symbols.push(text.slice(at, at + length));
      frozen.push(found > 0);
      at += length;
    }
    return mergeSymbols(symbols, frozen, this.#table);
  }
}

/**
 * Decodes pieces one at a time. What a push returns is final; the pushes and the flush together are the decoded text.
 */
export class PieceDecoder {
  readonly #sentencePiece: SentencePiece;
  readonly #bytes = new ByteDecoder();
  /** Whether a leading `▁` of the next piece would still be the dummy prefix. */
  #atStart = true;
  #sawText = false;
  #removedPrefix = false;

  /**
   * Starts a sequence.
   *
   * @param sentencePiece Whose pieces are decoded.
   */
  constructor(sentencePiece: SentencePiece) {
    this.#sentencePiece = sentencePiece;
  }

  /** Takes one piece, by text; a text that is no piece stands for itself. Returns newly final text. */
  push(piece: string): string {
    const { model } = this.#sentencePiece;
    const entry = this.#sentencePiece.lookUp(piece);
    if (entry.type === "byte") return this.#note(this.#bytes.push(pieceToByte(entry.text)), true);
    let out = this.#note(this.#bytes.flush());
    if (this.#removedPrefix || this.#sawText) this.#atStart = false;
    this.#removedPrefix = false;
    if (entry.type === "unknown") {
      out += this.#note(entry.text === piece ? model.unkSurface : piece);
    } else if (entry.type !== "control") {
      let surface = entry.text;
      if (this.#atStart && (model.addDummyPrefix || model.removeExtraWhitespaces)) {
        if (surface.startsWith(spaceSymbol)) {
          surface = surface.slice(1);
          this.#removedPrefix = !model.removeExtraWhitespaces;
        }
      }
      out += this.#note(surface.replaceAll(spaceSymbol, " "));
    }
    return out;
  }

  /** Ends the sequence: returns what was held back. */
  flush(): string {
    return this.#bytes.flush();
  }

  #note(text: string, sure = false): string {
    // A byte always becomes text in the end, even while it is still held back.
    if (sure || text !== "") this.#sawText = true;
    return text;
  }
}
