/**
 * A restricted unpickler: a pickle is data for a small stack machine, and this one builds inert values only. Classes
 * and functions that the caller did not list are refused before anything is built, and nothing is ever imported.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { Op, type PickleOp, readOp } from "./pickle_ops.ts";
import { OpaqueObject, PyDict, PyFloat, PyGlobal, PyTuple, type PyValue } from "./pickle_values.ts";

/** What an unpickler knows of the world. */
export interface UnpickleOptions {
  /** Name of the file (and record) for messages. */
  name: string;
  /** The known classes, functions and constants by `module name`. */
  globals: ReadonlyMap<string, PyValue>;
  /** Resolves persistent ids (BINPERSID); without it they are refused. */
  persistent?: (id: PyValue) => PyValue;
  /** `refuse` (default) stops at classes that are not known; `opaque` keeps their objects as inert values. */
  unknownClasses?: "refuse" | "opaque";
}

/** Longest integer, in bytes. */
const MAX_LONG = 4096;
/** Elements that constructors such as `list(x)` may copy in one pickle: keeps small hostile files from growing. */
const MAX_COPIED = 2 ** 24;

/**
 * Reads one pickle that starts at the first byte and ends with STOP; bytes after it are ignored.
 *
 * @throws {InputError} code `UNSAFE_GLOBAL` (names the class or function), `PICKLE_TRUNCATED`, `INVALID_PICKLE`.
 */
export function unpickle(bytes: Uint8Array<ArrayBuffer>, options: UnpickleOptions): PyValue {
  return new Machine(bytes, options).run();
}

/** Where the pickle that starts at `start` ends, as far as the bytes show. */
export interface PickleExtent {
  /** Offset after STOP; absent while it has not been seen. */
  end?: number;
  /** Start of the opcode that did not fit: continue here with more bytes. */
  next: number;
}

/**
 * Finds the end of a pickle inside a stream.
 *
 * @throws {InputError} code `INVALID_PICKLE` at an unknown opcode.
 */
export function findPickleEnd(bytes: Uint8Array, start: number, name: string): PickleExtent {
  const op: PickleOp = { code: 0, start: 0, end: 0 };
  for (let at = start;; at = op.end) {
    const problem = readOp(bytes, at, op);
    if (problem === "truncated") return { next: at };
    if (problem === "unknown") throw unknownOp(name, op.code);
    if (op.code === Op.STOP) return { end: op.end, next: op.end };
  }
}

function unknownOp(name: string, code: number): InputError {
  return new InputError(
    "INVALID_PICKLE",
    `Cannot read the pickle of "${name}": opcode 0x${code.toString(16)} is not supported`,
  );
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Machine {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #options: UnpickleOptions;
  readonly #opaque: boolean;
  readonly #op: PickleOp = { code: 0, start: 0, end: 0 };
  readonly #stack: PyValue[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PyValue>();
  #copied = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>, options: UnpickleOptions) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#options = options;
    this.#opaque = options.unknownClasses === "opaque";
  }

  run(): PyValue {
    // First pass: refuse classes that the pickle names outright, before building anything.
    for (let at = 0; this.#step(at) !== Op.STOP; at = this.#op.end) {
      if (this.#op.code === Op.GLOBAL || this.#op.code === Op.INST) this.#global(...this.#lines());
    }
    for (let at = 0;; at = this.#op.end) {
      if (this.#step(at) === Op.STOP) return this.#pop();
      this.#execute(this.#op.code);
    }
  }

  #fail(code: string, what: string): never {
    throw new InputError(code, `Cannot read the pickle of "${this.#options.name}": ${what}`);
  }

  #step(at: number): number {
    const problem = readOp(this.#bytes, at, this.#op);
    if (problem === "unknown") throw unknownOp(this.#options.name, this.#op.code);
    if (problem === "truncated") {
      this.#fail("PICKLE_TRUNCATED", `it ends after ${this.#bytes.length} bytes; fetch it again`);
    }
    return this.#op.code;
  }

  #pop(): PyValue {
    const base = this.#marks.at(-1) ?? 0;
    if (this.#stack.length <= base) this.#fail("INVALID_PICKLE", "its stack is empty");
    return this.#stack.pop()!;
  }

  /** The values above the last mark. */
  #popMark(): PyValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) this.#fail("INVALID_PICKLE", "a mark is missing");
    return this.#stack.splice(mark);
  }

  #top(): PyValue {
    const value = this.#pop();
    this.#stack.push(value);
    return value;
  }

  #text(start = this.#op.start, end = this.#op.end): string {
    try {
      return utf8.decode(this.#bytes.subarray(start, end));
    } catch {
      return this.#fail("INVALID_PICKLE", "a string is not UTF-8");
    }
  }

  #lines(): [string, string] {
    const { start, end } = this.#op;
    const newline = this.#bytes.indexOf(0x0a, start);
    return [this.#text(start, newline), this.#text(newline + 1, end - 1)];
  }

  #global(module: string, name: string): PyValue {
    const known = this.#options.globals.get(`${module} ${name}`);
    if (known !== undefined) return known;
    if (this.#opaque) return new PyGlobal(module, name);
    return this.#fail(
      "UNSAFE_GLOBAL",
      `it refers to ${
        JSON.stringify(`${module}.${name}`.slice(0, 200))
      }, which is not a known class of tensor files; use it only if you trust it, and allow unknown classes explicitly`,
    );
  }

  #long(): PyValue {
    const { start, end } = this.#op;
    if (end - start > MAX_LONG) {
      this.#fail("INVALID_PICKLE", `an integer has ${end - start} bytes`);
    }
    if (end === start) return 0;
    let digits = "0x";
    for (let i = end - 1; i >= start; i--) digits += this.#bytes[i].toString(16).padStart(2, "0");
    const value = BigInt.asIntN(8 * (end - start), BigInt(digits));
    const small = Number(value);
    return Number.isSafeInteger(small) ? small : value;
  }

  #call(callee: PyValue, args: PyValue): PyValue {
    if (!(args instanceof PyTuple)) this.#fail("INVALID_PICKLE", "call arguments are no tuple");
    if (callee instanceof PyGlobal && callee.construct) {
      try {
        return callee.construct(args.items, (elements) => this.#charge(elements));
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        this.#fail(error.code, error.message);
      }
    }
    if (this.#opaque && (callee instanceof PyGlobal || callee instanceof OpaqueObject)) {
      return new OpaqueObject(callee, args.items);
    }
    return this.#fail("INVALID_PICKLE", "it calls something that is not a class");
  }

  #charge(elements: number): void {
    this.#copied += elements;
    if (this.#copied > MAX_COPIED) this.#fail("INVALID_PICKLE", "it copies too many elements");
  }

  #setItems(target: PyValue, pairs: readonly PyValue[]): void {
    if (pairs.length % 2 !== 0) this.#fail("INVALID_PICKLE", "a key has no value");
    for (let i = 0; i < pairs.length; i += 2) {
      if (target instanceof PyDict) target.set(pairs[i], pairs[i + 1]);
      else if (target instanceof OpaqueObject) target.entries.push([pairs[i], pairs[i + 1]]);
      else this.#fail("INVALID_PICKLE", "it sets an item of something that is no dict");
    }
  }

  #append(target: PyValue, items: readonly PyValue[]): void {
    const list = Array.isArray(target)
      ? target
      : target instanceof OpaqueObject
      ? target.items
      : this.#fail("INVALID_PICKLE", "it appends to something that is no list");
    for (const item of items) list.push(item);
  }

  #build(target: PyValue, state: PyValue): void {
    if (target instanceof OpaqueObject) {
      target.state = state;
    } else if (!(target instanceof PyDict && target.ordered)) {
      // The attributes of an OrderedDict (the _metadata of module state dicts) carry no tensors and are dropped.
      this.#fail("INVALID_PICKLE", "it sets attributes of a value that has none");
    }
  }

  #memoGet(key: number): PyValue {
    const value = this.#memo.get(key);
    if (value === undefined) this.#fail("INVALID_PICKLE", `memo ${key} is empty`);
    return value;
  }

  #execute(code: number): void {
    const stack = this.#stack, view = this.#view, { start, end } = this.#op;
    switch (code) {
      case Op.PROTO:
        if (this.#bytes[start] > 5) {
          this.#fail("INVALID_PICKLE", `protocol ${this.#bytes[start]} is not supported`);
        }
        return;
      case Op.FRAME:
        if (view.getBigUint64(start, true) > BigInt(this.#bytes.length - end)) {
          this.#fail("PICKLE_TRUNCATED", "a frame ends outside of it; fetch it again");
        }
        return;
      case Op.MARK:
        this.#marks.push(stack.length);
        return;
      case Op.POP:
        // As in Python, POP directly after MARK removes the mark.
        if (this.#marks.at(-1) === stack.length) this.#marks.pop();
        else this.#pop();
        return;
      case Op.POP_MARK:
        this.#popMark();
        return;
      case Op.DUP:
        stack.push(this.#top());
        return;
      case Op.BINPUT:
        this.#memo.set(view.getUint8(start), this.#top());
        return;
      case Op.LONG_BINPUT:
        this.#memo.set(view.getUint32(start, true), this.#top());
        return;
      case Op.MEMOIZE:
        this.#memo.set(this.#memo.size, this.#top());
        return;
      case Op.BINGET:
        stack.push(this.#memoGet(view.getUint8(start)));
        return;
      case Op.LONG_BINGET:
        stack.push(this.#memoGet(view.getUint32(start, true)));
        return;
      case Op.APPEND: {
        const item = this.#pop();
        this.#append(this.#top(), [item]);
        return;
      }
      case Op.APPENDS: {
        const items = this.#popMark();
        this.#append(this.#top(), items);
        return;
      }
      case Op.ADDITEMS: {
        const items = this.#popMark(), target = this.#top();
        if (target instanceof Set) items.forEach((item) => target.add(item));
        else this.#append(target instanceof OpaqueObject ? target : null, items);
        return;
      }
      case Op.SETITEM: {
        const value = this.#pop(), key = this.#pop();
        this.#setItems(this.#top(), [key, value]);
        return;
      }
      case Op.SETITEMS: {
        const pairs = this.#popMark();
        this.#setItems(this.#top(), pairs);
        return;
      }
      case Op.BUILD: {
        const state = this.#pop();
        this.#build(this.#top(), state);
        return;
      }
      default:
        stack.push(this.#value(code));
    }
  }

  /** The value that an opcode pushes. */
  #value(code: number): PyValue {
    const view = this.#view, { start, end } = this.#op;
    switch (code) {
      case Op.NONE:
        return null;
      case Op.NEWTRUE:
        return true;
      case Op.NEWFALSE:
        return false;
      case Op.BININT:
        return view.getInt32(start, true);
      case Op.BININT1:
        return view.getUint8(start);
      case Op.BININT2:
        return view.getUint16(start, true);
      case Op.LONG1:
      case Op.LONG4:
        return this.#long();
      case Op.BINFLOAT:
        return new PyFloat(view.getFloat64(start, false));
      case Op.BINUNICODE:
      case Op.SHORT_BINUNICODE:
      case Op.BINUNICODE8:
      case Op.BINSTRING:
      case Op.SHORT_BINSTRING:
        return this.#text();
      case Op.BINBYTES:
      case Op.SHORT_BINBYTES:
      case Op.BINBYTES8:
      case Op.BYTEARRAY8:
        return this.#bytes.slice(start, end);
      case Op.EMPTY_TUPLE:
        return new PyTuple([]);
      case Op.TUPLE:
        return new PyTuple(this.#popMark());
      case Op.TUPLE1:
        return new PyTuple([this.#pop()]);
      case Op.TUPLE2: {
        const second = this.#pop();
        return new PyTuple([this.#pop(), second]);
      }
      case Op.TUPLE3: {
        const third = this.#pop(), second = this.#pop();
        return new PyTuple([this.#pop(), second, third]);
      }
      case Op.EMPTY_LIST:
        return [];
      case Op.LIST:
        return this.#popMark();
      case Op.EMPTY_DICT:
        return new PyDict();
      case Op.DICT: {
        const dict = new PyDict();
        this.#setItems(dict, this.#popMark());
        return dict;
      }
      case Op.EMPTY_SET:
        return new Set();
      case Op.FROZENSET:
        return new Set(this.#popMark());
      case Op.GLOBAL:
        return this.#global(...this.#lines());
      case Op.STACK_GLOBAL: {
        const name = this.#pop(), module = this.#pop();
        if (typeof name !== "string" || typeof module !== "string") {
          this.#fail("INVALID_PICKLE", "a class name is no string");
        }
        return this.#global(module, name);
      }
      case Op.REDUCE:
      case Op.NEWOBJ: {
        const args = this.#pop();
        return this.#call(this.#pop(), args);
      }
      case Op.NEWOBJ_EX: {
        const named = this.#pop(), args = this.#pop();
        if (!(named instanceof PyDict) || (named.size > 0 && !this.#opaque)) {
          this.#fail("INVALID_PICKLE", "it calls a class with named arguments");
        }
        return this.#call(this.#pop(), args);
      }
      case Op.BINPERSID: {
        const resolve = this.#options.persistent;
        if (!resolve) this.#fail("INVALID_PICKLE", "it refers to data outside of it");
        return resolve(this.#pop());
      }
      default:
        throw unknownOp(this.#options.name, code);
    }
  }
}
