/**
 * Tensors that still lie in a file: what they are, and how their elements are read without loading more than asked.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/** Element type of a stored tensor, named as in safetensors headers. */
export type DType =
  | "F64"
  | "F32"
  | "F16"
  | "BF16"
  | "I64"
  | "I32"
  | "I16"
  | "I8"
  | "U8"
  | "BOOL";

const BYTES: Readonly<Record<DType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** Bytes of one element (1, 2, 4 or 8). */
export function dtypeBytes(dtype: DType): number {
  return BYTES[dtype];
}

/** Whether the text names one of the element types of {@link DType}. */
export function isDType(text: string): text is DType {
  return Object.hasOwn(BYTES, text);
}

/** Bytes that can be read at any offset: a part of a file, or an inflated record. */
export interface ByteRange {
  /** Size in bytes. */
  readonly byteLength: number;
  /** Reads exactly `length` bytes from `offset` of the range. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** A tensor of a checkpoint. All reads give contiguous row-major little-endian bytes in a buffer of their own. */
export interface TensorEntry {
  /** Name in the checkpoint. */
  readonly name: string;
  /** Element type. */
  readonly dtype: DType;
  /** Sizes, outermost first; `[]` for a scalar. */
  readonly shape: readonly number[];
  /** Distance in elements between neighbours of each dimension, as stored; the reads undo it. */
  readonly stride: readonly number[];
  /** First element in the storage, as stored. */
  readonly offset: number;
  /** Bytes of the contiguous tensor. */
  readonly byteLength: number;
  /**
   * Reads the whole tensor.
   *
   * @throws {InputError} code `TENSOR_TOO_LARGE` above 4 GiB: use {@link TensorEntry.readRows} or chunks.
   */
  read(): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Reads rows `start … start + count - 1` of the outermost dimension (a scalar has one row).
   *
   * @throws {InputError} code `VIEW_OUT_OF_BOUNDS` when the rows leave the tensor.
   */
  readRows(start: number, count: number): Promise<Uint8Array<ArrayBuffer>>;
  /** The whole tensor in order, in pieces of at most `maxBytes` (default 16 MiB) that hold whole elements. */
  chunks(maxBytes?: number): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** Where the elements of a tensor lie in its storage. Offset and strides count elements. */
export interface TensorLayout {
  /** Name for messages and for the entry. */
  readonly name: string;
  /** Element type. */
  readonly dtype: DType;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** Distance between neighbours of each dimension; contiguous when absent. */
  readonly stride?: readonly number[];
  /** First element; 0 when absent. */
  readonly offset?: number;
}

/** Largest tensor read in one piece. */
const MAX_READ = 2 ** 32;
/** A tensor that repeats elements (stride 0) may be larger than its storage up to this size. */
const MAX_EXPANDED = 2 ** 26;
const CHUNK = 2 ** 24;

/** Row-major strides of a shape as torch counts them: an empty dimension counts as 1. */
export function contiguousStride(shape: readonly number[]): number[] {
  const stride = new Array<number>(shape.length);
  for (let i = shape.length - 1, step = 1; i >= 0; i--) {
    stride[i] = step;
    step *= Math.max(shape[i], 1);
  }
  return stride;
}

/**
 * Number of elements of a shape.
 *
 * @throws {InputError} code `OVERFLOW` when a size is not a whole number >= 0 or the product exceeds 2^53.
 */
export function elementCount(shape: readonly number[], name = "tensor"): number {
  let count = 1;
  for (const size of shape) {
    count *= size;
    if (!Number.isSafeInteger(size) || size < 0 || !Number.isSafeInteger(count)) {
      throw new InputError(
        "OVERFLOW",
        `Cannot use tensor "${name}": its shape [${shape}] overflows`,
      );
    }
  }
  return count;
}

/**
 * Checks that a view stays inside a storage of `available` elements.
 *
 * @returns the number of elements of the view.
 * @throws {InputError} code `VIEW_OUT_OF_BOUNDS`, or `OVERFLOW` for shapes beyond 2^53 elements.
 */
export function checkView(layout: TensorLayout, available: number): number {
  const { name, shape, offset = 0 } = layout;
  const stride = layout.stride ?? contiguousStride(shape);
  const count = elementCount(shape, name);
  let last = offset;
  let valid = stride.length === shape.length && Number.isSafeInteger(offset) && offset >= 0;
  for (let i = 0; valid && i < shape.length; i++) {
    valid = Number.isSafeInteger(stride[i]) && stride[i] >= 0;
    last += Math.max(shape[i] - 1, 0) * stride[i];
    valid &&= Number.isSafeInteger(last);
  }
  if (!valid || (count > 0 && last >= available)) {
    throw new InputError(
      "VIEW_OUT_OF_BOUNDS",
      `Cannot use tensor "${name}": shape [${shape}] with stride [${stride}] from element ${offset} leaves its storage of ${available} elements`,
    );
  }
  return count;
}

/**
 * A tensor over a storage.
 *
 * @throws {InputError} code `VIEW_OUT_OF_BOUNDS` when elements lie outside of the storage, `TENSOR_TOO_LARGE` when
 * repeated elements blow it up to more than its storage and 64 MiB.
 */
export function tensorEntry(layout: TensorLayout, storage: ByteRange): TensorEntry {
  const { name, dtype, shape, offset = 0 } = layout;
  const size = dtypeBytes(dtype);
  const count = checkView(layout, Math.floor(storage.byteLength / size));
  const byteLength = count * size;
  if (byteLength > storage.byteLength && byteLength > MAX_EXPANDED) {
    throw new InputError(
      "TENSOR_TOO_LARGE",
      `Cannot use tensor "${name}": shape [${shape}] repeats a storage of ${storage.byteLength} bytes up to ${byteLength}`,
    );
  }
  const dense = contiguousStride(shape);
  const stride = layout.stride ?? dense;
  const contiguous = shape.every((length, i) => length <= 1 || stride[i] === dense[i]);
  const rowSize = shape.length === 0 ? 1 : count / Math.max(shape[0], 1);

  const readElements = async (start: number, length: number) => {
    if (length === 0) return new Uint8Array(0);
    if (length * size > MAX_READ) {
      throw new InputError(
        "TENSOR_TOO_LARGE",
        `Cannot read ${length * size} bytes of tensor "${name}" at once; read it by rows`,
      );
    }
    if (contiguous) return await storage.read((offset + start) * size, length * size);
    return await gather({ dtype, shape, stride, offset }, rowSize, start, length, storage);
  };

  return {
    name,
    dtype,
    shape,
    stride,
    offset,
    byteLength,
    read: () => readElements(0, count),
    async readRows(start, rows) {
      const total = shape.length === 0 ? 1 : shape[0];
      if (
        !Number.isSafeInteger(start) || !Number.isSafeInteger(rows) || start < 0 || rows < 0 ||
        start + rows > total
      ) {
        throw new InputError(
          "VIEW_OUT_OF_BOUNDS",
          `Cannot read ${rows} rows from row ${start} of tensor "${name}": it has ${total}`,
        );
      }
      return await readElements(start * rowSize, rows * rowSize);
    },
    async *chunks(maxBytes = CHUNK) {
      const step = Math.max(1, Math.floor(maxBytes / size));
      for (let start = 0; start < count; start += step) {
        yield await readElements(start, Math.min(step, count - start));
      }
    },
  };
}

/** Reads elements `start … start + length - 1`, in row-major order, of a view that is not contiguous. */
async function gather(
  view: { dtype: DType; shape: readonly number[]; stride: readonly number[]; offset: number },
  rowSize: number,
  start: number,
  length: number,
  storage: ByteRange,
): Promise<Uint8Array<ArrayBuffer>> {
  const { dtype, shape, stride, offset } = view;
  const size = dtypeBytes(dtype);
  const firstRow = Math.floor(start / rowSize);
  const lastRow = Math.floor((start + length - 1) / rowSize);
  const low = offset + firstRow * stride[0];
  let high = offset + lastRow * stride[0];
  for (let i = 1; i < shape.length; i++) high += (shape[i] - 1) * stride[i];
  const span = (high - low + 1) * size;
  if (span > MAX_READ) {
    throw new InputError(
      "TENSOR_TOO_LARGE",
      `Cannot read a strided view: it spans ${span} bytes of its storage; save it contiguous`,
    );
  }
  const source = await storage.read(low * size, span);
  const target = new Uint8Array(length * size);

  const index = new Array<number>(shape.length);
  let rest = start, position = offset - low;
  for (let i = shape.length - 1; i >= 0; i--) {
    index[i] = rest % shape[i];
    rest = Math.floor(rest / shape[i]);
    position += index[i] * stride[i];
  }
  const inner = shape.length - 1;
  const copy = copier(size, source, target);
  for (let done = 0; done < length;) {
    const run = Math.min(shape[inner] - index[inner], length - done);
    copy(position, stride[inner], done, run);
    done += run;
    position += run * stride[inner];
    index[inner] += run;
    for (let i = inner; i > 0 && index[i] === shape[i]; i--) {
      position += stride[i - 1] - shape[i] * stride[i];
      index[i] = 0;
      index[i - 1]++;
    }
  }
  return target;
}

type CopyRun = (from: number, step: number, to: number, run: number) => void;

/** Copies runs of elements as integers of their width, so that no bit pattern (NaN payloads) changes. */
function copier(size: number, from: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): CopyRun {
  const lanes = <V>(source: ArrayLike<V>, target: { [index: number]: V }): CopyRun =>
  (
    at,
    step,
    start,
    run,
  ) => {
    for (let i = 0; i < run; i++) target[start + i] = source[at + i * step];
  };
  switch (size) {
    case 1:
      return lanes<number>(from, to);
    case 2:
      return lanes<number>(new Uint16Array(from.buffer), new Uint16Array(to.buffer));
    case 4:
      return lanes<number>(new Uint32Array(from.buffer), new Uint32Array(to.buffer));
    default:
      return lanes<bigint>(new BigUint64Array(from.buffer), new BigUint64Array(to.buffer));
  }
}

/**
 * A tensor held in memory, given as its contiguous little-endian bytes.
 *
 * @throws {InputError} code `SIZE_MISMATCH` when the bytes are not exactly those of the shape.
 */
export function memoryTensor(
  name: string,
  dtype: DType,
  shape: readonly number[],
  bytes: Uint8Array,
): TensorEntry {
  if (elementCount(shape, name) * dtypeBytes(dtype) !== bytes.byteLength) {
    throw new InputError(
      "SIZE_MISMATCH",
      `Cannot make tensor "${name}": ${bytes.byteLength} bytes are not ${dtype} [${shape}]`,
    );
  }
  return tensorEntry({ name, dtype, shape }, {
    byteLength: bytes.byteLength,
    read: (offset, length) =>
      Promise.resolve(new Uint8Array(bytes.subarray(offset, offset + length))),
  });
}

/** The same tensor under another name. */
export function renamedTensor(tensor: TensorEntry, name: string): TensorEntry {
  return {
    name,
    dtype: tensor.dtype,
    shape: tensor.shape,
    stride: tensor.stride,
    offset: tensor.offset,
    byteLength: tensor.byteLength,
    read: () => tensor.read(),
    readRows: (start, count) => tensor.readRows(start, count),
    chunks: (maxBytes) => tensor.chunks(maxBytes),
  };
}
