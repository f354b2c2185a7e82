/**
 * Conversions between the float types of checkpoints. Narrowing rounds to nearest, ties to even (IEEE 754); a NaN
 * becomes a quiet NaN, as in `c10::Half` and `c10::BFloat16` of PyTorch, which also narrow doubles by way of float32.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { type DType, dtypeBytes, type TensorEntry } from "./tensor_data.ts";

/** The element types that hold floating-point numbers. */
export type FloatDType = "F64" | "F32" | "F16" | "BF16";

/** Whether the element type is a floating-point one. */
export function isFloatDType(dtype: DType): dtype is FloatDType {
  return dtype === "F64" || dtype === "F32" || dtype === "F16" || dtype === "BF16";
}

/** The bytes in a buffer aligned for elements of up to 8 bytes. */
function aligned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  if (bytes.byteOffset % 8 === 0 && bytes.buffer instanceof ArrayBuffer) {
    return bytes as Uint8Array<ArrayBuffer>;
  }
  return new Uint8Array(bytes);
}

/** Bits of a float16 (1 sign, 5 exponent, 10 fraction) as bits of the float32 of the same value. */
function singleBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (fraction << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}

/** Bits of a float32 as bits of the nearest float16. */
function halfBits(single: number): number {
  const sign = (single >>> 16) & 0x8000;
  const size = single & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00;
  if (size >= 0x47800000) return sign | 0x7c00;
  if (size >= 0x38800000) {
    // Rebias the exponent; a carry out of the fraction correctly ends in the next exponent or in infinity.
    const rebiased = size - 0x38000000;
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  if (size < 0x33000000) return sign;
  const shift = 126 - (size >>> 23);
  const fraction = (size & 0x7fffff) | 0x800000;
  const rest = fraction & ((1 << shift) - 1);
  const half = fraction >>> shift;
  const middle = 1 << (shift - 1);
  return sign | (half + (rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0));
}

/** Rounds float32 values to float16 (the bits, one `uint16` per value). */
export function float32ToHalf(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < halves.length; i++) halves[i] = halfBits(bits[i]);
  return halves;
}

/** Rounds float32 values to bfloat16 (the bits, one `uint16` per value). */
export function float32ToBfloat16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const rounded = new Uint16Array(values.length);
  for (let i = 0; i < rounded.length; i++) {
    const single = bits[i];
    rounded[i] = (single & 0x7fffffff) > 0x7f800000
      ? 0x7fc0
      : (single + 0x7fff + ((single >>> 16) & 1)) >>> 16;
  }
  return rounded;
}

/**
 * The values of little-endian float bytes as float32 (float64 is rounded, the other types are exact). May share the
 * memory of `bytes` when these are float32 already.
 *
 * @throws {InputError} code `NOT_A_FLOAT` for integer types, `SIZE_MISMATCH` when the bytes are no whole elements.
 */
export function toFloat32(bytes: Uint8Array, dtype: DType): Float32Array<ArrayBuffer> {
  if (bytes.byteLength % dtypeBytes(dtype) !== 0) {
    throw new InputError(
      "SIZE_MISMATCH",
      `Cannot convert ${bytes.byteLength} bytes: they are no whole ${dtype} elements`,
    );
  }
  const { buffer, byteOffset, byteLength } = aligned(bytes);
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    case "F64":
      return new Float32Array(new Float64Array(buffer, byteOffset, byteLength / 8));
    case "F16": {
      const halves = new Uint16Array(buffer, byteOffset, byteLength / 2);
      const bits = new Uint32Array(halves.length);
      for (let i = 0; i < bits.length; i++) bits[i] = singleBits(halves[i]);
      return new Float32Array(bits.buffer);
    }
    case "BF16": {
      const upper = new Uint16Array(buffer, byteOffset, byteLength / 2);
      const bits = new Uint32Array(upper.length);
      for (let i = 0; i < bits.length; i++) bits[i] = upper[i] << 16;
      return new Float32Array(bits.buffer);
    }
    default:
      throw new InputError("NOT_A_FLOAT", `Cannot convert ${dtype} elements to float32`);
  }
}

/** The values as little-endian bytes of a float type, rounded to nearest even where it is narrower. */
export function fromFloat32(values: Float32Array, dtype: FloatDType): Uint8Array<ArrayBuffer> {
  switch (dtype) {
    case "F32":
      return new Uint8Array(new Float32Array(values).buffer);
    case "F64":
      return new Uint8Array(new Float64Array(values).buffer);
    case "F16":
      return new Uint8Array(float32ToHalf(values).buffer);
    case "BF16":
      return new Uint8Array(float32ToBfloat16(values).buffer);
  }
}

/**
 * A tensor whose elements are converted while it is read. The same element type gives the same tensor, bit by bit.
 *
 * @throws {InputError} code `NOT_A_FLOAT` unless both types are floating point or equal.
 */
export function castTensor(tensor: TensorEntry, dtype: DType): TensorEntry {
  const from = tensor.dtype;
  if (from === dtype) return tensor;
  if (!isFloatDType(from) || !isFloatDType(dtype)) {
    throw new InputError(
      "NOT_A_FLOAT",
      `Cannot convert tensor "${tensor.name}" from ${from} to ${dtype}`,
    );
  }
  const convert = (bytes: Uint8Array) => fromFloat32(toFloat32(bytes, from), dtype);
  const ratio = dtypeBytes(dtype) / dtypeBytes(from);
  return {
    name: tensor.name,
    dtype,
    shape: tensor.shape,
    stride: tensor.stride,
    offset: tensor.offset,
    byteLength: tensor.byteLength * ratio,
    read: async () => convert(await tensor.read()),
    readRows: async (start, count) => convert(await tensor.readRows(start, count)),
    async *chunks(maxBytes = 2 ** 24) {
      const pieces = tensor.chunks(Math.max(Math.floor(maxBytes / ratio), 1));
      for await (const piece of pieces) yield convert(piece);
    },
  };
}
