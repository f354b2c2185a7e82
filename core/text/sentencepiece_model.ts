/**
 * The SentencePiece model file (`tokenizer.model`, protobuf `ModelProto`): reading, checking and writing.
 * Source: the public `sentencepiece_model.proto` of google/sentencepiece.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { ProtoWriter, readFields } from "./protobuf.ts";

/** What a piece is for; the numbers 1 to 6 of the file in this order. */
export type PieceType = "normal" | "unknown" | "control" | "user-defined" | "unused" | "byte";

const TYPES: readonly PieceType[] = [
  "normal",
  "unknown",
  "control",
  "user-defined",
  "unused",
  "byte",
];

/** One entry of the vocabulary. Its index in the list is the token id. */
export interface Piece {
  /** The text, with U+2581 `▁` for a space; `<0x0A>` and the like for bytes. Unique and not empty. */
  text: string;
  /** Merge priority, float32: higher merges first. */
  score: number;
  /** What the piece is for. */
  type: PieceType;
}

/** A parsed and checked model. */
export interface SentencePieceModel {
  /** The vocabulary in id order. */
  pieces: readonly Piece[];
  /** Whether unknown characters become the byte pieces of their UTF-8 form. */
  byteFallback: boolean;
  /** What an unknown piece decodes to, ` ⁇ ` (space, U+2047, space) for Llama. */
  unkSurface: string;
  /** Whether non-empty text gets one `▁` in front. */
  addDummyPrefix: boolean;
  /** Whether leading and trailing spaces vanish and runs of spaces become one. */
  removeExtraWhitespaces: boolean;
  /** Whether U+0020 is written as `▁`. */
  escapeWhitespaces: boolean;
}

/** Largest accepted file, in bytes. */
const MAX_FILE = 64 * 2 ** 20;
/** Largest accepted vocabulary. */
const MAX_PIECES = 2 ** 20;
/** Longest accepted piece, in bytes. */
const MAX_PIECE = 4096;

/** Whether a piece name has the form `<0xHH>`, and which byte it stands for; -1 otherwise. */
export function pieceToByte(text: string): number {
  return /^<0x[0-9A-F]{2}>$/.test(text) ? parseInt(text.slice(3, 5), 16) : -1;
}

/** The name of the piece for one byte: 10 gives `<0x0A>`. */
export function byteToPiece(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/**
 * Parses the bytes of a `tokenizer.model`. Only BPE models with identity normalisation are supported, which is what
 * every Llama family tokenizer uses.
 *
 * @param bytes The file.
 * @param name Its name, for messages.
 * @throws {InputError} `MALFORMED_PROTOBUF` when the wire format is broken; `BAD_TOKENIZER_MODEL` when the content
 *   contradicts itself (duplicate or empty piece, no unknown piece, incomplete byte pieces, score not a number);
 *   `UNSUPPORTED_TOKENIZER_MODEL` for other model types and normalisations; `TOO_LARGE` beyond the size limits.
 */
export function parseSentencePieceModel(bytes: Uint8Array, name: string): SentencePieceModel {
  if (bytes.length > MAX_FILE) {
    throw new InputError(
      "TOO_LARGE",
      `Cannot read the tokenizer model "${name}": ${bytes.length} bytes are more than the ${MAX_FILE} allowed`,
    );
  }
  const pieces: Piece[] = [];
  let modelType = 1, whitespaceAsSuffix = false, charsmap = 0;
  const model = {
    byteFallback: false,
    unkSurface: " \u2047 ",
    addDummyPrefix: true,
    removeExtraWhitespaces: true,
    escapeWhitespaces: true,
  };
  for (const field of readFields(bytes, `the tokenizer model "${name}"`)) {
    if (field.wire !== 2) continue;
    if (field.number === 1) {
      if (pieces.length === MAX_PIECES) {
        fail("TOO_LARGE", name, `it has more than ${MAX_PIECES} pieces`);
      }
      pieces.push(readPiece(field.bytes, name, pieces.length));
    } else if (field.number === 2) {
      for (const one of readFields(field.bytes, `the trainer settings of "${name}"`)) {
        if (one.number === 3 && one.wire === 0) modelType = one.int;
        else if (one.number === 24 && one.wire === 0) whitespaceAsSuffix = one.int !== 0;
        else if (one.number === 35 && one.wire === 0) model.byteFallback = one.int !== 0;
        else if (one.number === 44 && one.wire === 2) model.unkSurface = text(one.bytes, name);
      }
    } else if (field.number === 3 || field.number === 5) {
      for (const one of readFields(field.bytes, `the normalizer settings of "${name}"`)) {
        if (one.number === 2 && one.wire === 2) charsmap = Math.max(charsmap, one.bytes.length);
        if (field.number === 5 || one.wire !== 0) continue;
        if (one.number === 3) model.addDummyPrefix = one.int !== 0;
        else if (one.number === 4) model.removeExtraWhitespaces = one.int !== 0;
        else if (one.number === 5) model.escapeWhitespaces = one.int !== 0;
      }
    }
  }
  if (pieces.length === 0) fail("BAD_TOKENIZER_MODEL", name, "it holds no pieces");
  if (modelType !== 2) {
    const kind = ["", "unigram", "BPE", "word", "character"][modelType] ?? `number ${modelType}`;
    fail("UNSUPPORTED_TOKENIZER_MODEL", name, `its model type is ${kind}, only BPE is supported`);
  }
  if (whitespaceAsSuffix || charsmap > 0) {
    const what = whitespaceAsSuffix ? "treats white space as a suffix" : "has a character map";
    fail(
      "UNSUPPORTED_TOKENIZER_MODEL",
      name,
      `it ${what}, only identity normalisation is supported`,
    );
  }
  const parsed = { pieces, ...model };
  checkSentencePieceModel(parsed, name);
  return parsed;
}

function fail(code: string, name: string, problem: string): never {
  throw new InputError(
    code,
    `Cannot use the tokenizer model "${name}": ${problem}; use the tokenizer.model of a Llama family checkpoint`,
  );
}

function text(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail("BAD_TOKENIZER_MODEL", name, "a piece or setting is not UTF-8 text");
  }
}

function readPiece(bytes: Uint8Array, name: string, id: number): Piece {
  const piece: Piece = { text: "", score: 0, type: "normal" };
  for (const field of readFields(bytes, `piece ${id} of the tokenizer model "${name}"`)) {
    if (field.number === 1 && field.wire === 2) {
      if (field.bytes.length > MAX_PIECE) {
        fail(
          "TOO_LARGE",
          name,
          `piece ${id} has ${field.bytes.length} bytes, ${MAX_PIECE} are allowed`,
        );
      }
      piece.text = text(field.bytes, name);
    } else if (field.number === 2 && field.wire === 5) {
      piece.score = new DataView(field.bytes.buffer, field.bytes.byteOffset, 4).getFloat32(0, true);
    } else if (field.number === 3 && field.wire === 0) {
      const type = TYPES[field.int - 1];
      if (type === undefined) {
        fail("UNSUPPORTED_TOKENIZER_MODEL", name, `piece ${id} has the unknown type ${field.int}`);
      }
      piece.type = type;
    }
  }
  return piece;
}

/**
 * Checks what SentencePiece itself checks when it loads a model: unique non-empty pieces, exactly one unknown piece,
 * all 256 byte pieces with byte fallback and none without.
 *
 * @throws {InputError} code `BAD_TOKENIZER_MODEL`.
 */
export function checkSentencePieceModel(model: SentencePieceModel, name: string): void {
  const seen = new Set<string>();
  let unknown = 0, bytes = 0;
  model.pieces.forEach((piece, id) => {
    const bad = (problem: string) => fail("BAD_TOKENIZER_MODEL", name, `piece ${id} ${problem}`);
    if (piece.text === "") bad("is empty");
    if (seen.has(piece.text)) bad(`repeats "${piece.text}"`);
    seen.add(piece.text);
    if (!Number.isFinite(piece.score)) bad(`has the score ${piece.score}`);
    if (piece.type === "unknown") unknown++;
    if (piece.type !== "byte") return;
    bytes++;
    if (!model.byteFallback) bad("is a byte although byte fallback is off");
    if (pieceToByte(piece.text) < 0) bad(`is a byte named "${piece.text}" instead of <0xHH>`);
  });
  if (unknown !== 1) {
    fail("BAD_TOKENIZER_MODEL", name, `it has ${unknown} unknown pieces instead of one`);
  }
  if (model.byteFallback && bytes !== 256) {
    fail("BAD_TOKENIZER_MODEL", name, `it has ${bytes} byte pieces instead of 256`);
  }
}

/**
 * Writes a model as the bytes of a `tokenizer.model` that SentencePiece itself can load.
 *
 * @throws {InputError} code `BAD_TOKENIZER_MODEL` when the model is not consistent.
 */
export function writeSentencePieceModel(model: SentencePieceModel): Uint8Array<ArrayBuffer> {
  checkSentencePieceModel(model, "new model");
  const file = new ProtoWriter();
  for (const piece of model.pieces) {
    const entry = new ProtoWriter().bytes(1, piece.text).float(2, piece.score);
    if (piece.type !== "normal") entry.int(3, TYPES.indexOf(piece.type) + 1);
    file.bytes(1, entry);
  }
  const idOf = (name: string) => model.pieces.findIndex((piece) => piece.text === name);
  file.bytes(
    2,
    new ProtoWriter().int(3, 2).int(4, model.pieces.length).float(10, 0.99995).int(20, 16)
      .int(25, true).int(26, true).int(35, model.byteFallback)
      .int(40, model.pieces.findIndex((piece) => piece.type === "unknown"))
      .int(41, idOf("<s>")).int(42, idOf("</s>")).int(43, -1).bytes(44, model.unkSurface),
  );
  file.bytes(
    3,
    new ProtoWriter().bytes(1, "identity").bytes(2, "").int(3, model.addDummyPrefix)
      .int(4, model.removeExtraWhitespaces).int(5, model.escapeWhitespaces),
  );
  return file.finish();
}

/**
 * Builds a `tokenizer.model` with Llama's options around a list of pieces: `<unk>`, `<s>` and `</s>` are 0, 1 and 2,
 * the bytes 3 to 258, and the given pieces follow from 259 in merge order, with scores -1, -2, …; pieces of nothing
 * but `▁` get Llama's -1e9, so that they merge last. For a piece of several characters to be reachable, pieces that
 * merge into it must be in the list as well (single characters need not be).
 *
 * @param pieces Unique piece texts with `▁` for spaces, the most urgent merge first.
 * @returns The bytes of the file.
 * @throws {InputError} code `BAD_TOKENIZER_MODEL` when a piece is empty or repeats.
 */
export function buildSentencePieceModel(pieces: Iterable<string>): Uint8Array<ArrayBuffer> {
  const all: Piece[] = [
    { text: "<unk>", score: 0, type: "unknown" },
    { text: "<s>", score: 0, type: "control" },
    { text: "</s>", score: 0, type: "control" },
  ];
  for (let byte = 0; byte < 256; byte++) {
    all.push({ text: byteToPiece(byte), score: 0, type: "byte" });
  }
  let rank = 0;
  for (const piece of pieces) {
    rank++;
    all.push({ text: piece, score: /^\u2581+$/.test(piece) ? -1e9 : -rank, type: "normal" });
  }
  return writeSentencePieceModel({
    pieces: all,
    byteFallback: true,
    unkSurface: " \u2047 ",
    addDummyPrefix: true,
    removeExtraWhitespaces: false,
    escapeWhitespaces: true,
  });
}
