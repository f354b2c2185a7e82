/**
 * Splits a pickle into opcodes and their arguments, without giving them a meaning (Python `pickletools`).
 *
 * @module
 */

/** The opcodes that checkpoints use, protocols 2 to 5. */
export const Op = {
  MARK: 0x28,
  STOP: 0x2e,
  POP: 0x30,
  POP_MARK: 0x31,
  DUP: 0x32,
  NONE: 0x4e,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  LONG1: 0x8a,
  LONG4: 0x8b,
  BINFLOAT: 0x47,
  BINUNICODE: 0x58,
  SHORT_BINUNICODE: 0x8c,
  BINUNICODE8: 0x8d,
  BINSTRING: 0x54,
  SHORT_BINSTRING: 0x55,
  BINBYTES: 0x42,
  SHORT_BINBYTES: 0x43,
  BINBYTES8: 0x8e,
  BYTEARRAY8: 0x96,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  EMPTY_TUPLE: 0x29,
  TUPLE: 0x74,
  TUPLE1: 0x85,
  TUPLE2: 0x86,
  TUPLE3: 0x87,
  EMPTY_LIST: 0x5d,
  APPEND: 0x61,
  APPENDS: 0x65,
  LIST: 0x6c,
  EMPTY_DICT: 0x7d,
  DICT: 0x64,
  SETITEM: 0x73,
  SETITEMS: 0x75,
  EMPTY_SET: 0x8f,
  ADDITEMS: 0x90,
  FROZENSET: 0x91,
  GLOBAL: 0x63,
  STACK_GLOBAL: 0x93,
  INST: 0x69,
  REDUCE: 0x52,
  NEWOBJ: 0x81,
  NEWOBJ_EX: 0x92,
  BUILD: 0x62,
  BINPERSID: 0x51,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  BINGET: 0x68,
  LONG_BINGET: 0x6a,
  MEMOIZE: 0x94,
  PROTO: 0x80,
  FRAME: 0x95,
} as const;

/** Shape of the argument: a fixed number of bytes, or a length of so many bytes before the data, or text lines. */
type Argument = { fixed: number } | { lengthBytes: 1 | 4 | 8 } | { lines: number };

const ARGUMENTS = new Map<number, Argument>();
for (const code of Object.values(Op)) ARGUMENTS.set(code, { fixed: 0 });
for (const code of [Op.BININT1, Op.BINPUT, Op.BINGET, Op.PROTO]) ARGUMENTS.set(code, { fixed: 1 });
ARGUMENTS.set(Op.BININT2, { fixed: 2 });
for (const code of [Op.BININT, Op.LONG_BINPUT, Op.LONG_BINGET]) ARGUMENTS.set(code, { fixed: 4 });
for (const code of [Op.BINFLOAT, Op.FRAME]) ARGUMENTS.set(code, { fixed: 8 });
for (const code of [Op.LONG1, Op.SHORT_BINUNICODE, Op.SHORT_BINBYTES, Op.SHORT_BINSTRING]) {
  ARGUMENTS.set(code, { lengthBytes: 1 });
}
for (const code of [Op.LONG4, Op.BINUNICODE, Op.BINBYTES, Op.BINSTRING]) {
  ARGUMENTS.set(code, { lengthBytes: 4 });
}
for (const code of [Op.BINUNICODE8, Op.BINBYTES8, Op.BYTEARRAY8]) {
  ARGUMENTS.set(code, { lengthBytes: 8 });
}
for (const code of [Op.GLOBAL, Op.INST]) ARGUMENTS.set(code, { lines: 2 });

/** One opcode; its argument (without a length prefix) is `bytes[start … end)`, the next opcode is at `end`. */
export interface PickleOp {
  code: number;
  start: number;
  end: number;
}

/** Why no opcode could be read. */
export type OpProblem = "truncated" | "unknown";

/** Longest line of a GLOBAL opcode. */
const MAX_LINE = 4096;

/**
 * Reads the opcode at `at` into `op`.
 *
 * @returns undefined, or why there is none: the bytes end inside of it, or the opcode is not a known one.
 */
export function readOp(bytes: Uint8Array, at: number, op: PickleOp): OpProblem | undefined {
  if (at >= bytes.length) return "truncated";
  op.code = bytes[at];
  const argument = ARGUMENTS.get(op.code);
  if (argument === undefined) return "unknown";
  let start = at + 1, length = 0;
  if ("fixed" in argument) {
    length = argument.fixed;
  } else if ("lengthBytes" in argument) {
    if (start + argument.lengthBytes > bytes.length) return "truncated";
    for (let i = argument.lengthBytes - 1; i >= 0; i--) length = length * 256 + bytes[start + i];
    start += argument.lengthBytes;
  } else {
    for (let lines = argument.lines; lines > 0; lines--) {
      const newline = bytes.indexOf(0x0a, start + length);
      const seen = (newline < 0 ? bytes.length : newline) - (start + length);
      if (seen > MAX_LINE) return "unknown";
      if (newline < 0) return "truncated";
      length = newline + 1 - start;
    }
  }
  op.start = start;
  op.end = start + length;
  return op.end > bytes.length ? "truncated" : undefined;
}
