/**
 * From a pattern of bytes to an automaton over token ids: in every state it says which tokens keep the decoded text inside the
 * pattern. Tokens that behave alike in all states share a class, so the tables are small.
 *
 * @module
 */
import type { ByteAutomaton } from "./byte_pattern.ts";
import { spaceSymbol } from "./sentencepiece.ts";
import { pieceToByte } from "./sentencepiece_model.ts";
import type { DecodingRules } from "./stream_decoder.ts";

/** Next state of a token that leaves the pattern. */
export const noState = 0xffffffff;

/** An automaton over token ids; `core/tensor` runs it on a device. */
export interface TokenAutomaton {
  /** Number of states. */
  readonly states: number;
  /** Number of classes. */
  readonly classes: number;
  /** Where every answer starts. */
  readonly start: number;
  /** Class of every token id. */
  readonly classOf: Uint32Array;
  /** The state after a token of class c in state s at `classes` s + c; {@linkcode noState} where the token is not allowed. */
  readonly next: Uint32Array;
}

/** What the automaton needs to know of a tokenizer. */
export interface AutomatonTokenizer extends DecodingRules {
  /** Ends an answer. */
  readonly endId: number;
}

interface TokenBytes {
  /** What the token adds to the decoded text behind other tokens. */
  readonly bytes: Uint8Array;
  /** How many of them are the dummy blank, which decoding removes from the first token. */
  readonly dummy: 0 | 1;
}

/** Undefined for tokens that are no text. */
function bytesOf(tokenizer: AutomatonTokenizer, id: number): TokenBytes | undefined {
  const { sentencePiece, specialIds, standalone } = tokenizer;
  if (specialIds.has(id)) return undefined;
  const token = tokenizer.idToToken(id);
  if (standalone.has(token)) return undefined;
  const { type, text } = sentencePiece.lookUp(token);
  if (type === "byte") return { bytes: Uint8Array.of(pieceToByte(text)), dummy: 0 };
  if (type === "control" || type === "unknown" || type === "unused") return undefined;
  const { addDummyPrefix, removeExtraWhitespaces } = sentencePiece.model;
  const strips = addDummyPrefix || removeExtraWhitespaces || tokenizer.prefixSpaceRemoved;
  return {
    bytes: new TextEncoder().encode(token.replaceAll(spaceSymbol, " ")),
    dummy: strips && token.startsWith(spaceSymbol) ? 1 : 0,
  };
}

/**
 * Puts a pattern and a vocabulary together. The end token is allowed where the pattern may end, and behind it nothing but itself.
 * The first token may bring the dummy blank that decoding removes.
 *
 * @param vocabulary Rows of the output head; ids beyond the tokenizer's are never allowed. Default: as many as it has.
 * @throws {RangeError} when some state allows no token at all: the vocabulary cannot write the pattern.
 */
export function tokenAutomaton(
  pattern: ByteAutomaton,
  tokenizer: AutomatonTokenizer,
  vocabulary: number = tokenizer.sentencePiece.size,
): TokenAutomaton {
  // States of the pattern, then the one before the first token, then the one behind the end.
  const before = pattern.states, done = before + 1, states = done + 1;
  const walk = (state: number, bytes: Uint8Array, from: number) => {
    for (let i = from; i < bytes.length && state >= 0; i++) {
      state = pattern.next[256 * state + bytes[i]!]!;
    }
    return state < 0 ? noState : state;
  };
  const known = Math.min(vocabulary, tokenizer.sentencePiece.size);
  const classOf = new Uint32Array(vocabulary), columns: Uint32Array[] = [];
  const numbers = new Map<string, number>();
  for (let id = 0; id < vocabulary; id++) {
    const column = new Uint32Array(states).fill(noState);
    const text = id < known && id !== tokenizer.endId ? bytesOf(tokenizer, id) : undefined;
    if (id === tokenizer.endId) {
      for (let s = 0; s < before; s++) if (pattern.accepts[s]) column[s] = done;
      if (pattern.accepts[pattern.start]) column[before] = done;
      column[done] = done;
    } else if (text !== undefined && text.bytes.length > 0) {
      for (let s = 0; s < before; s++) column[s] = walk(s, text.bytes, 0);
      column[before] = walk(pattern.start, text.bytes, text.dummy);
    }
    const key = column.join(",");
    let number = numbers.get(key);
    if (number === undefined) {
      numbers.set(key, number = columns.length);
      columns.push(column);
    }
    classOf[id] = number;
  }
  const classes = columns.length, next = new Uint32Array(states * classes);
  columns.forEach((column, c) => {
    for (let s = 0; s < states; s++) next[s * classes + c] = column[s]!;
  });
  const automaton = { states, classes, start: before, classOf, next };
  const stuck = stuckState(automaton);
  if (stuck !== undefined) {
    throw new RangeError(
      `Cannot constrain answers: no token of the vocabulary goes on from state ${stuck} of the pattern`,
    );
  }
  return automaton;
}

/** A state that can be reached and left by no token. */
function stuckState({ states, classes, start, next }: TokenAutomaton): number | undefined {
  const seen = new Set([start]), open = [start];
  for (let s = open.pop(); s !== undefined; s = open.pop()) {
    const row = next.subarray(s * classes, (s + 1) * classes);
    const reached = new Set(row);
    reached.delete(noState);
    if (reached.size === 0) return s;
    for (const to of reached) {
      if (to >= states || seen.has(to)) continue;
      seen.add(to);
      open.push(to);
    }
  }
  return undefined;
}

/** The state after a token; undefined where it is not allowed. */
export function nextState(
  { classes, classOf, next }: TokenAutomaton,
  state: number,
  token: number,
): number | undefined {
  const to = next[state * classes + classOf[token]!];
  return to === undefined || to === noState ? undefined : to;
}
