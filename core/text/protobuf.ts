/**
 * The protobuf wire format, as far as one message of known fields needs it: a bounded reader and a writer.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/** One field of a message. Which of the values is meaningful follows from `wire`. */
export interface ProtoField {
  /** Field number, 1 or more. */
  number: number;
  /** Wire type: 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes. */
  wire: number;
  /** A varint's low 32 bits as a signed number (protobuf writes negative numbers as 64 bits). */
  int: number;
  /** The bytes of a length-delimited or fixed-size field, a view of the input. */
  bytes: Uint8Array;
}

const NO_BYTES = new Uint8Array(0);

/**
 * Reads the fields of one message in order. Unknown fields are yielded too; the caller ignores them.
 *
 * @param bytes The message.
 * @param what What is being read, for messages, such as `the piece table of "tokenizer.model"`.
 * @throws {InputError} code `MALFORMED_PROTOBUF` when a field leaves the message or has an unknown wire type.
 */
export function* readFields(bytes: Uint8Array, what: string): Generator<ProtoField> {
  let at = 0;
  const fail = (problem: string): never => {
    throw new InputError(
      "MALFORMED_PROTOBUF",
      `Cannot read ${what}: ${problem} at byte ${at} of ${bytes.length}; the file is damaged or of another kind`,
    );
  };
  const varint = (): { low: number; high: number } => {
    let low = 0, high = 0;
    for (let i = 0; i < 10; i++) {
      if (at >= bytes.length) return fail("a number is cut off");
      const byte = bytes[at++];
      const bits = byte & 0x7f, shift = 7 * i;
      if (shift < 32) low |= bits << shift;
      if (shift === 28) high = bits >> 4;
      else if (shift >= 32) high |= bits << (shift - 32);
      if (byte < 0x80) return { low: low >>> 0, high: high >>> 0 };
    }
    return fail("a number is longer than ten bytes");
  };
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) return fail(`a field of ${length} bytes leaves the message`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = tag.low >>> 3, wire = tag.low & 7;
    if (tag.high !== 0 || number === 0) fail("a field number is out of range");
    if (wire === 0) {
      yield { number, wire, int: varint().low | 0, bytes: NO_BYTES };
    } else if (wire === 1 || wire === 5) {
      yield { number, wire, int: 0, bytes: take(wire === 1 ? 8 : 4) };
    } else if (wire === 2) {
      const length = varint();
      if (length.high !== 0) fail("a field is longer than four gigabytes");
      yield { number, wire, int: 0, bytes: take(length.low) };
    } else {
      fail(`a field has the wire type ${wire}`);
    }
  }
}

/** Writes the fields of one message in the order of the calls. */
export class ProtoWriter {
  readonly #bytes: number[] = [];

  /** Appends a varint field; negative numbers take ten bytes, booleans are 0 and 1. */
  int(number: number, value: number | boolean): this {
    this.#varint(BigInt(number) << 3n);
    this.#varint(BigInt.asUintN(64, BigInt(Number(value))));
    return this;
  }

  /** Appends a float32 field. */
  float(number: number, value: number): this {
    this.#varint((BigInt(number) << 3n) | 5n);
    const view = new DataView(new ArrayBuffer(4));
    view.setFloat32(0, value, true);
    for (let i = 0; i < 4; i++) this.#bytes.push(view.getUint8(i));
    return this;
  }

  /** Appends a string, bytes or an embedded message. */
  bytes(number: number, value: string | Uint8Array | ProtoWriter): this {
    const content = typeof value === "string"
      ? new TextEncoder().encode(value)
      : value instanceof ProtoWriter
      ? value.finish()
      : value;
    this.#varint((BigInt(number) << 3n) | 2n);
    this.#varint(BigInt(content.length));
    for (const byte of content) this.#bytes.push(byte);
    return this;
  }

  /** The message so far. */
  finish(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#bytes);
  }

  #varint(value: bigint): void {
    for (; value > 0x7fn; value >>= 7n) this.#bytes.push(Number(value & 0x7fn) | 0x80);
    this.#bytes.push(Number(value));
  }
}
