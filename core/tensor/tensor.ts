/**
 * The tensor: a shape over device memory.
 *
 * @module
 */
import type { BufferRange, Device, DeviceBuffer } from "../device/mod.ts";

/** Element types that kernels compute in. Weights have more (see `Weight`). */
export type DType = "f32" | "i32" | "u32";

/** Typed array of a dtype. */
export type TypedArray =
  | Float32Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>;

/** What a differentiation knows of a value; `tape.ts` makes these. */
export interface GradientNode {
  /** The differentiation it belongs to: any other takes the value for a constant. */
  readonly tape: object;
  /** Sum of the gradients that have arrived. */
  gradient: Tensor | undefined;
  /** Whether the sum is the tape's own memory, to which more may be added in place. */
  own: boolean;
}

/** Number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** A shape as text, such as `[2, 16, 64]`. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** A contiguous row-major array on a device. Reshaped tensors share their memory. */
export class Tensor {
  /** Device that holds the values. */
  readonly device: Device;
  /** Extents, outermost first; empty for a scalar. */
  readonly shape: readonly number[];
  /** Type of the elements, 4 bytes each. */
  readonly dtype: DType;
  /** Memory the values begin in; often larger than the shape needs. */
  readonly buffer: DeviceBuffer;
  /** Place in the differentiation under way (see `tape.ts`); tensors that share memory by reshaping share it. */
  node?: GradientNode | undefined;

  /**
   * Wraps device memory. To make one from values use {@linkcode tensor}, for results {@linkcode empty}.
   *
   * @throws {RangeError} when the buffer is too small for the shape.
   */
  constructor(device: Device, shape: readonly number[], dtype: DType, buffer: DeviceBuffer) {
    if (
      shape.some((extent) => !Number.isSafeInteger(extent) || extent < 0) ||
      4 * elementCount(shape) > buffer.size
    ) {
      throw new RangeError(
        `Cannot make a tensor of shape ${
          shapeText(shape)
        } on ${buffer.size} bytes of ${buffer.label}`,
      );
    }
    this.device = device;
    this.shape = shape;
    this.dtype = dtype;
    this.buffer = buffer;
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.shape);
  }

  /** What kernels bind. */
  get range(): BufferRange {
    return { buffer: this.buffer, size: Math.max(4, 4 * this.size) };
  }

  /**
   * The same memory under another shape. One extent may be -1 and is inferred.
   *
   * @throws {RangeError} when the number of elements differs.
   */
  reshape(...shape: number[]): Tensor {
    const open = shape.indexOf(-1);
    if (open >= 0) {
      const known = shape.reduce(
        (product, extent) => extent === -1 ? product : product * extent,
        1,
      );
      shape = shape.with(open, known === 0 ? 0 : this.size / known);
    }
    if (elementCount(shape) !== this.size) {
      throw new RangeError(`Cannot reshape ${shapeText(this.shape)} to ${shapeText(shape)}`);
    }
    const reshaped = new Tensor(this.device, shape, this.dtype, this.buffer);
    reshaped.node = this.node;
    return reshaped;
  }

  /** Replaces the values. `values` has exactly as many elements as the tensor. */
  write(values: TypedArray): void {
    if (values.length !== this.size) {
      throw new RangeError(
        `Cannot write ${values.length} values to a tensor of shape ${shapeText(this.shape)}`,
      );
    }
    if (values.length > 0) this.device.write(this.buffer, values);
  }

  /** Reads the values back. Waits for the device; nothing else in a model does. */
  async read(): Promise<TypedArray> {
    if (this.size === 0) return typedArray(this.dtype, new ArrayBuffer(0));
    return typedArray(this.dtype, await this.device.read(this.buffer, 0, 4 * this.size));
  }

  /** {@linkcode Tensor.read} for float tensors. @throws {TypeError} for other dtypes. */
  async readFloats(): Promise<Float32Array<ArrayBuffer>> {
    const values = await this.read();
    if (!(values instanceof Float32Array)) {
      throw new TypeError(`Cannot read ${this.dtype} values as floats`);
    }
    return values;
  }

  /** Returns the memory to the device's pool. Tensors that share it die with it. */
  dispose(): void {
    this.device.release(this.buffer);
  }
}

function typedArray(dtype: DType, bytes: ArrayBuffer): TypedArray {
  return dtype === "f32"
    ? new Float32Array(bytes)
    : dtype === "i32"
    ? new Int32Array(bytes)
    : new Uint32Array(bytes);
}

/** A tensor with undefined content, for an operation to fill. */
export function empty(
  device: Device,
  shape: readonly number[],
  dtype: DType = "f32",
  label = "tensor",
): Tensor {
  return new Tensor(device, shape, dtype, device.allocate(4 * elementCount(shape), label));
}

/**
 * A tensor with the given values; the dtype follows the typed array, plain numbers become f32.
 *
 * @throws {RangeError} when the number of values does not fit the shape.
 */
export function tensor(
  device: Device,
  values: TypedArray | readonly number[],
  shape: readonly number[] = [values.length],
): Tensor {
  const typed =
    values instanceof Float32Array || values instanceof Int32Array || values instanceof Uint32Array
      ? values
      : Float32Array.from(values as readonly number[]);
  const dtype: DType = typed instanceof Float32Array
    ? "f32"
    : typed instanceof Int32Array
    ? "i32"
    : "u32";
  if (elementCount(shape) !== typed.length) {
    throw new RangeError(
      `Cannot make a tensor of shape ${shapeText(shape)} from ${typed.length} values`,
    );
  }
  const made = empty(device, shape, dtype);
  made.write(typed);
  return made;
}
