/**
 * Writes tensors in the zip layout of `torch.save`: a protocol 2 pickle of an OrderedDict, and one record per tensor.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { contiguousStride, type DType, dtypeBytes, type TensorEntry } from "./tensor_data.ts";
import { torchStorageName } from "./torch_globals.ts";
import { zipChunks, type ZipInput } from "./zip_writer.ts";

/** Options of {@link torchSaveChunks}. */
export interface TorchSaveOptions {
  /** Saves `{key: {…}}` instead of the tensors at the top, for example `model`. */
  key?: string;
  /** Folder inside the archive; torch uses the stem of the file name. Default `archive`. */
  folder?: string;
}

/**
 * The bytes of a `.bin`, `.pth` or `.pt` file with these tensors, in pieces. Every tensor is saved contiguous, with a
 * storage of its own, on device `cpu`.
 *
 * @throws {InputError} code `INVALID_NAME` when two tensors share a name.
 */
export function torchSaveChunks(
  tensors: Iterable<TensorEntry>,
  { key, folder = "archive" }: TorchSaveOptions = {},
): AsyncGenerator<Uint8Array> {
  const list = [...tensors];
  const pickle = pickleTensors(list, key);
  const record = (name: string, bytes: Uint8Array): ZipInput => ({
    name: `${folder}/${name}`,
    size: bytes.byteLength,
    chunks: () => [bytes],
  });
  return zipChunks([
    record("data.pkl", pickle),
    ...list.map((tensor, i) => ({
      name: `${folder}/data/${i}`,
      size: tensor.byteLength,
      chunks: () => tensor.chunks(),
    })),
    record("version", new TextEncoder().encode("3\n")),
  ]);
}

function pickleTensors(tensors: readonly TensorEntry[], key: string | undefined): Uint8Array {
  const writer = new PickleWriter();
  const op = (code: string) => writer.op(code);
  if (key !== undefined) {
    op("}");
    writer.text(key);
  }
  writer.global("collections", "OrderedDict");
  op(")R(");
  const seen = new Set<string>();
  tensors.forEach(({ name, dtype, shape }, i) => {
    if (seen.has(name)) {
      throw new InputError("INVALID_NAME", `Cannot write tensor "${name}" twice into one file`);
    }
    seen.add(name);
    writer.text(name);
    writer.global("torch._utils", "_rebuild_tensor_v2");
    op("((");
    writer.repeated("storage");
    writer.global("torch", torchStorageName(dtype));
    writer.text(String(i));
    writer.repeated("cpu");
    writer.int(numel(shape, dtype));
    op("tQ");
    writer.int(0);
    writer.tuple(shape);
    writer.tuple(contiguousStride(shape));
    op("\x89");
    writer.global("collections", "OrderedDict");
    op(")RtR");
  });
  op("u");
  if (key !== undefined) op("s");
  op(".");
  return writer.done();
}

function numel(shape: readonly number[], dtype: DType): number {
  const count = shape.reduce((product, size) => product * size, 1);
  // Guards the arithmetic: beyond this the byte size would not be exact.
  if (!Number.isSafeInteger(count * dtypeBytes(dtype))) {
    throw new InputError("OVERFLOW", `Cannot write a tensor of shape [${shape}]`);
  }
  return count;
}

/** The few opcodes that are needed, all of them within what torch's own restricted unpickler accepts. */
class PickleWriter {
  #bytes = new Uint8Array(4096);
  #length = 0;
  readonly #memo = new Map<string, number>();

  constructor() {
    this.op("\x80\x02");
  }

  op(codes: string): void {
    this.#push(Uint8Array.from(codes, (code) => code.charCodeAt(0)));
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.op("X");
    this.#u32(bytes.length);
    this.#push(bytes);
  }

  /** A string that occurs for every tensor. */
  repeated(text: string): void {
    this.#once(`"${text}`, () => this.text(text));
  }

  global(module: string, name: string): void {
    this.#once(`${module} ${name}`, () => {
      this.op("c");
      this.#push(new TextEncoder().encode(`${module}\n${name}\n`));
    });
  }

  tuple(items: readonly number[]): void {
    if (items.length > 3) this.op("(");
    for (const item of items) this.int(item);
    this.op([")", "\x85", "\x86", "\x87"][items.length] ?? "t");
  }

  int(value: number): void {
    if (value < 2 ** 8) {
      this.#push(Uint8Array.of(0x4b, value));
    } else if (value < 2 ** 16) {
      this.#push(Uint8Array.of(0x4d, value & 0xff, value >>> 8));
    } else if (value < 2 ** 31) {
      this.op("J");
      this.#u32(value);
    } else {
      const bytes = new Uint8Array(10);
      bytes.set([0x8a, 8]);
      new DataView(bytes.buffer).setBigInt64(2, BigInt(value), true);
      this.#push(bytes);
    }
  }

  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #once(what: string, write: () => void): void {
    const known = this.#memo.get(what);
    if (known !== undefined) {
      this.#push(Uint8Array.of(0x68, known));
      return;
    }
    write();
    this.#push(Uint8Array.of(0x71, this.#memo.size));
    this.#memo.set(what, this.#memo.size);
  }

  #u32(value: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    this.#push(bytes);
  }

  #push(bytes: Uint8Array): void {
    if (this.#length + bytes.length > this.#bytes.length) {
      const grown = new Uint8Array(2 * (this.#length + bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }
}
