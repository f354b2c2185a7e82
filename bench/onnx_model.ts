/**
 * Tiny ONNX models in memory, so that the peer runtime gets exactly the operator that a row of the benchmark is about.
 *
 * Only the fields that a graph of standard and contributed operators needs are written: protocol buffers wire format,
 * message and field numbers of the public `onnx.proto` (onnx/onnx, `onnx/onnx.proto`).
 *
 * @module
 */

/** Element types of tensors, by their number in `TensorProto.DataType`. */
export const onnxTypes = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  float16: 10,
} as const;

/** An element type by name. */
export type OnnxType = keyof typeof onnxTypes;

/** A named tensor of fixed shape that is fed or fetched. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
}

/** A constant of the graph. */
export interface OnnxConstant extends OnnxValue {
  /** The elements, row-major, little-endian, in the element type's own width. */
  readonly data: ArrayBufferView;
}

/** A value of an attribute; numbers are integers unless wrapped as `{ float }`. */
export type OnnxAttribute =
  | number
  | string
  | readonly number[]
  | { readonly float: number };

/** One operator. */
export interface OnnxNode {
  readonly operator: string;
  /** Operator set: empty for the standard one, else such as `com.microsoft`. */
  readonly domain?: string;
  /** Names of values; an empty name leaves an optional input out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
}

/** A graph: nodes in an order in which every input exists before it is used. */
export interface OnnxGraph {
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly constants?: readonly OnnxConstant[];
  readonly nodes: readonly OnnxNode[];
}

/** A message under construction: pieces in order, so that large constants are copied once, at the end. */
class Message {
  readonly #pieces: Uint8Array[] = [];
  size = 0;

  #append(piece: Uint8Array): this {
    this.#pieces.push(piece);
    this.size += piece.length;
    return this;
  }

  #varint(value: number): this {
    const bytes: number[] = [];
    // Negative numbers travel as 64-bit two's complement.
    let rest = BigInt.asUintN(64, BigInt(value));
    do {
      const low = Number(rest & 127n);
      rest >>= 7n;
      bytes.push(rest === 0n ? low : low | 128);
    } while (rest !== 0n);
    return this.#append(Uint8Array.from(bytes));
  }

  integer(field: number, value: number): this {
    return this.#varint(field << 3).#varint(value);
  }

  float(field: number, value: number): this {
    this.#varint(field << 3 | 5);
    return this.#append(new Uint8Array(Float32Array.of(value).buffer));
  }

  bytes(field: number, value: Uint8Array): this {
    return this.#varint(field << 3 | 2).#varint(value.length).#append(value);
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, value: Message): this {
    this.#varint(field << 3 | 2).#varint(value.size);
    for (const piece of value.#pieces) this.#append(piece);
    return this;
  }

  finish(): Uint8Array<ArrayBuffer> {
    const whole = new Uint8Array(this.size);
    let at = 0;
    for (const piece of this.#pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }
}

function valueInfo({ name, type, shape }: OnnxValue): Message {
  const dimensions = new Message();
  for (const extent of shape) dimensions.message(1, new Message().integer(1, extent));
  const tensorType = new Message().integer(1, onnxTypes[type]).message(2, dimensions);
  return new Message().text(1, name).message(2, new Message().message(1, tensorType));
}

function constant({ name, type, shape, data }: OnnxConstant): Message {
  const message = new Message();
  for (const extent of shape) message.integer(1, extent);
  return message.integer(2, onnxTypes[type]).text(8, name)
    .bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function attribute(name: string, value: OnnxAttribute): Message {
  const message = new Message().text(1, name);
  if (typeof value === "number") return message.integer(3, value).integer(20, 2);
  if (typeof value === "string") return message.text(4, value).integer(20, 3);
  if ("float" in value) return message.float(2, value.float).integer(20, 1);
  for (const item of value) message.integer(8, item);
  return message.integer(20, 7);
}

function node({ operator, domain = "", inputs, outputs, attributes = {} }: OnnxNode): Message {
  const message = new Message();
  for (const name of inputs) message.text(1, name);
  for (const name of outputs) message.text(2, name);
  message.text(4, operator);
  for (const [name, value] of Object.entries(attributes)) {
    message.message(5, attribute(name, value));
  }
  return domain === "" ? message : message.text(7, domain);
}

/**
 * Encodes a graph as an ONNX model: IR version 10, standard operator set 21, `com.microsoft` version 1.
 *
 * @returns The bytes of a `ModelProto`, below 2 GiB as the format demands.
 */
export function onnxModel({ inputs, outputs, constants = [], nodes }: OnnxGraph): Uint8Array<
  ArrayBuffer
> {
  const graph = new Message();
  for (const item of nodes) graph.message(1, node(item));
  graph.text(2, "row");
  for (const item of constants) graph.message(5, constant(item));
  for (const item of inputs) graph.message(11, valueInfo(item));
  for (const item of outputs) graph.message(12, valueInfo(item));
  const operators = (domain: string, version: number) =>
    new Message().text(1, domain).integer(2, version);
  return new Message().integer(1, 10).message(7, graph)
    .message(8, operators("", 21)).message(8, operators("com.microsoft", 1)).finish();
}
