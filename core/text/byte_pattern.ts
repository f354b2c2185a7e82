/**
 * Patterns of bytes, made into automata: what a constrained answer may look like. Text stands for its UTF-8 bytes.
 *
 * @module
 */

/** A pattern; make one with the functions of this file. */
export type BytePattern =
  | { readonly kind: "set"; readonly bytes: readonly number[] }
  | { readonly kind: "sequence"; readonly parts: readonly BytePattern[] }
  | { readonly kind: "choice"; readonly parts: readonly BytePattern[] }
  | { readonly kind: "many"; readonly part: BytePattern };

/** One byte of a set. */
const byteOf = (bytes: readonly number[]): BytePattern => ({ kind: "set", bytes });

/** Exactly this text. */
export function literal(text: string): BytePattern {
  return sequence(...Array.from(new TextEncoder().encode(text), (byte) => byteOf([byte])));
}

/** One of the characters of a text, all of them ASCII. @throws {RangeError} for others. */
export function oneOf(characters: string): BytePattern {
  return byteOf(asciiOf(characters));
}

/** One byte of printable text other than these characters, all of them ASCII; parts of longer characters included. */
export function noneOf(characters: string): BytePattern {
  const out = new Set(asciiOf(characters));
  return byteOf(
    Array.from({ length: 256 }, (_, byte) => byte).filter((byte) =>
      byte >= 0x20 && byte !== 0x7f && !out.has(byte)
    ),
  );
}

function asciiOf(characters: string): number[] {
  const bytes = [...new TextEncoder().encode(characters)];
  if (bytes.some((byte) => byte > 0x7f)) {
    throw new RangeError(
      `Cannot make a set of ${JSON.stringify(characters)}: expected ASCII characters`,
    );
  }
  return bytes;
}

/** One pattern behind the other. */
export function sequence(...parts: readonly BytePattern[]): BytePattern {
  return { kind: "sequence", parts };
}

/** One of several patterns. */
export function choice(...parts: readonly BytePattern[]): BytePattern {
  return { kind: "choice", parts };
}

/** A pattern or nothing. */
export function optional(part: BytePattern): BytePattern {
  return choice(part, sequence());
}

/** A pattern any number of times, none included. */
export function many(part: BytePattern): BytePattern {
  return { kind: "many", part };
}

/** Rows of 256 next states; the automaton of a pattern. */
export interface ByteAutomaton {
  /** Number of states. */
  readonly states: number;
  /** The state after `byte` in state s at 256 s + byte; -1 where the pattern is left for good. */
  readonly next: Int32Array;
  /** 1 for states in which the text may end. */
  readonly accepts: Uint8Array;
  /** Where every text starts. */
  readonly start: number;
}

/** A state of Thompson's construction: bytes that lead on, and states reached without any. */
interface Node {
  readonly bytes: readonly number[];
  to: number;
  readonly free: number[];
}

/** States of the nondeterministic automaton, appended for a pattern; gives its first and its last state. */
function build(pattern: BytePattern, nodes: Node[]): [first: number, last: number] {
  const add = (bytes: readonly number[] = []) => nodes.push({ bytes, to: -1, free: [] }) - 1;
  switch (pattern.kind) {
    case "set": {
      const first = add(pattern.bytes);
      const last = nodes[first]!.to = add();
      return [first, last];
    }
    case "sequence": {
      const first = add();
      let last = first;
      for (const part of pattern.parts) {
        const [from, to] = build(part, nodes);
        nodes[last]!.free.push(from);
        last = to;
      }
      return [first, last];
    }
    case "choice": {
      const first = add(), last = add();
      for (const part of pattern.parts) {
        const [from, to] = build(part, nodes);
        nodes[first]!.free.push(from);
        nodes[to]!.free.push(last);
      }
      return [first, last];
    }
    case "many": {
      const around = add();
      const [from, to] = build(pattern.part, nodes);
      nodes[around]!.free.push(from);
      nodes[to]!.free.push(around);
      return [around, around];
    }
  }
}

/** All states reached from some without a byte, themselves included, in order. */
function closure(nodes: readonly Node[], from: Iterable<number>): number[] {
  const seen = new Set(from), open = [...seen];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const next of nodes[at]!.free) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(next);
    }
  }
  return [...seen].sort((a, b) => a - b);
}

/** More states than any grammar of answers needs. */
const maxStates = 4096;

/**
 * The deterministic automaton of a pattern, by the subset construction. States from which no text can be finished are left out, so
 * whoever stays inside can always finish.
 *
 * @throws {RangeError} when the pattern matches nothing, or takes more than 4096 states.
 */
export function byteAutomaton(pattern: BytePattern): ByteAutomaton {
  const nodes: Node[] = [];
  const [first, last] = build(pattern, nodes);
  const sets: number[][] = [], numbers = new Map<string, number>(), rows: Int32Array[] = [];
  const number = (set: number[]) => {
    const key = set.join(",");
    const known = numbers.get(key);
    if (known !== undefined) return known;
    if (sets.length === maxStates) {
      throw new RangeError(`Cannot make an automaton of more than ${maxStates} states`);
    }
    numbers.set(key, sets.length);
    return sets.push(set) - 1;
  };
  number(closure(nodes, [first]));
  for (let s = 0; s < sets.length; s++) {
    const reached = new Map<number, Set<number>>();
    for (const at of sets[s]!) {
      const { bytes, to } = nodes[at]!;
      for (const byte of bytes) {
        if (!reached.has(byte)) reached.set(byte, new Set());
        reached.get(byte)!.add(to);
      }
    }
    const row = new Int32Array(256).fill(-1);
    for (const [byte, to] of reached) row[byte] = number(closure(nodes, to));
    rows.push(row);
  }
  const accepts = Uint8Array.from(sets, (set) => Number(set.includes(last)));
  return withoutDeadEnds(rows, accepts);
}

function withoutDeadEnds(rows: readonly Int32Array[], accepts: Uint8Array): ByteAutomaton {
  const finishes = Uint8Array.from(accepts);
  for (let changed = true; changed;) {
    changed = false;
    for (let s = 0; s < rows.length; s++) {
      if (finishes[s] || !rows[s]!.some((to) => to >= 0 && finishes[to])) continue;
      finishes[s] = 1;
      changed = true;
    }
  }
  if (!finishes[0]) {
    throw new RangeError("Cannot make an automaton of a pattern that matches nothing");
  }
  const kept = [...rows.keys()].filter((s) => finishes[s]);
  const renamed = new Map(kept.map((s, i) => [s, i]));
  const next = new Int32Array(256 * kept.length);
  kept.forEach((s, i) => {
    for (let byte = 0; byte < 256; byte++) {
      next[256 * i + byte] = renamed.get(rows[s]![byte]!) ?? -1;
    }
  });
  return {
    states: kept.length,
    next,
    accepts: Uint8Array.from(kept, (s) => accepts[s]!),
    start: 0,
  };
}
