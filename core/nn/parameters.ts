/**
 * Named parameters: declared once as a table, then loaded, initialised, looked up by the official names and saved.
 *
 * @module
 */
import {
  type CheckpointSource,
  checkTensors,
  contiguousStride,
  dtypeBytes,
  type FloatDType,
  fromFloat32,
  isFloatDType,
  type TensorEntry,
  toFloat32,
} from "../checkpoint/mod.ts";
import type { Device } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import type { LoraTerm } from "../tensor/linear.ts";
import { elementCount, empty, type Tensor, tensor } from "../tensor/tensor.ts";
import { type Weight, weightBytes, type WeightDType, WeightWriter } from "../tensor/weight.ts";
import { type Initialiser, initialValues } from "./initialise.ts";

/** Storage of the large matrices on the device. */
export type WeightStorage = WeightDType;

/** One tensor of a model. */
export interface ParameterSpec {
  /** Name in the official checkpoint. */
  readonly name: string;
  /** Extents in the official checkpoint, outermost first; a matrix is [rows, columns] = [out, in]. */
  readonly shape: readonly number[];
  /**
   * How it is kept on the device: `matrix` in the storage the user chose, `half` in f16 unless that is f32, `float` and
   * `tensor` always in f32; all but `tensor` are weights of linear layers or tables, read row by row.
   */
  readonly keep: "matrix" | "half" | "float" | "tensor";
  /** Element type in the official files, used when saving. Any float type is accepted when loading. */
  readonly stored: FloatDType;
  /** How seeded random weights are made. */
  readonly init: Initialiser;
  /** Files may lack it: it follows from the configuration. It is written when saving. */
  readonly derived?: boolean;
}

/** Parameters on a device, by official name. */
export class Parameters {
  /** Device that holds all of them. */
  readonly device: Device;
  /** The table they were made from, in its order. */
  readonly specs: readonly ParameterSpec[];
  /** Low-rank updates of the matrix of this name, which {@linkcode projection} adds. Default: none of any. */
  adaptersOf: (name: string) => readonly LoraTerm[] = () => [];
  readonly #values: Map<string, Tensor | Weight>;

  /** Takes over `values`, one per spec and of its shape. Usually made by {@linkcode loadParameters}. */
  constructor(
    device: Device,
    specs: readonly ParameterSpec[],
    values: Map<string, Tensor | Weight>,
  ) {
    this.device = device;
    this.specs = specs;
    this.#values = values;
  }

  /** Bytes on the device. */
  get bytes(): number {
    let sum = 0;
    for (const value of this.#values.values()) {
      sum += "parts" in value ? value.bytes : 4 * value.size;
    }
    return sum;
  }

  /** Whether there is a parameter of this name, matrix or tensor. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** A matrix or tensor. @throws {TypeError} when there is none of this name. */
  value(name: string): Tensor | Weight {
    const value = this.#values.get(name);
    if (value === undefined) throw new TypeError(`The model has no parameter "${name}"`);
    return value;
  }

  /** A matrix. @throws {TypeError} when there is none of this name. */
  weight(name: string): Weight {
    const value = this.#values.get(name);
    if (value === undefined || !("parts" in value)) {
      throw new TypeError(`The model has no matrix "${name}"`);
    }
    return value;
  }

  /** A tensor. @throws {TypeError} when there is none of this name. */
  tensor(name: string): Tensor {
    const value = this.#values.get(name);
    if (value === undefined || "parts" in value) {
      throw new TypeError(`The model has no tensor "${name}"`);
    }
    return value;
  }

  /** A view in which every name starts with `prefix`. */
  at(prefix: string): ParameterScope {
    return new ParameterScope(this, prefix);
  }

  /**
   * The parameters as they would be stored, read back from the device one by one.
   *
   * @param names Which. Default: all.
   */
  *entries(names?: ReadonlySet<string>): Generator<TensorEntry> {
    for (const spec of this.specs) {
      if (names?.has(spec.name) === false) continue;
      const value = this.#values.get(spec.name)!;
      if ("parts" in value && value.dtype !== "f32") {
        throw new InputError(
          "NOT_LOSSLESS",
          `Cannot save "${spec.name}": it is kept as ${value.dtype} on the device; load the model with --dtype f32 to save it`,
        );
      }
      yield deferredTensor(spec, async () => fromFloat32(await value.readFloats(), spec.stored));
    }
  }

  /** Releases all device memory; the parameters cannot be used any more. */
  dispose(): void {
    for (const value of this.#values.values()) value.dispose();
    this.#values.clear();
  }
}

/** A float tensor whose bytes are made when asked for, and not kept. */
export function deferredTensor(
  spec: Pick<ParameterSpec, "name" | "shape" | "stored">,
  read: () => Promise<Uint8Array<ArrayBuffer>>,
): TensorEntry {
  return {
    name: spec.name,
    dtype: spec.stored,
    shape: spec.shape,
    stride: contiguousStride(spec.shape),
    offset: 0,
    byteLength: dtypeBytes(spec.stored) * elementCount(spec.shape),
    read,
    async readRows(start, count) {
      const bytes = await read();
      const row = bytes.byteLength / Math.max(1, spec.shape[0] ?? 1);
      return bytes.slice(start * row, (start + count) * row);
    },
    async *chunks() {
      yield await read();
    },
  };
}

/** Parameters below a common prefix, so that a block reads its own names only. */
export class ParameterScope {
  readonly #parameters: Parameters;
  readonly #prefix: string;

  /** Sees the names that start with `prefix`, which ends in a full stop where one belongs there. */
  constructor(parameters: Parameters, prefix: string) {
    this.#parameters = parameters;
    this.#prefix = prefix;
  }

  /** Device that holds the parameters. */
  get device(): Device {
    return this.#parameters.device;
  }

  /** Whether there is a parameter `prefix + name`. */
  has(name: string): boolean {
    return this.#parameters.has(this.#prefix + name);
  }

  /** The matrix `prefix + name`. @throws {TypeError} when there is none of this name. */
  weight(name: string): Weight {
    return this.#parameters.weight(this.#prefix + name);
  }

  /** Low-rank updates of the matrix `prefix + name`. */
  adaptersOf(name: string): readonly LoraTerm[] {
    return this.#parameters.adaptersOf(this.#prefix + name);
  }

  /** The tensor `prefix + name`. @throws {TypeError} when there is none of this name. */
  tensor(name: string): Tensor {
    return this.#parameters.tensor(this.#prefix + name);
  }

  /** A view further down, of the names that start with this prefix and then `prefix`. */
  at(prefix: string): ParameterScope {
    return new ParameterScope(this.#parameters, this.#prefix + prefix);
  }
}

/** Rows and columns of a parameter kept as a matrix: the outermost extent, and the product of the others. */
function matrixShape(spec: ParameterSpec): [number, number] {
  const rows = spec.shape[0] ?? 1;
  return [rows, elementCount(spec.shape.slice(1))];
}

/** No parameter is kept wide on purpose. */
const none = () => false;

function storageOf(
  { name, keep }: ParameterSpec,
  { dtype = "f32", float = none }: Pick<PlaceOptions, "dtype" | "float">,
): WeightStorage {
  if (float(name)) return "f32";
  return keep === "matrix" ? dtype : keep === "half" && dtype !== "f32" ? "f16" : "f32";
}

/**
 * Bytes that the parameters take on a device. Nothing is allocated.
 *
 * @param float As {@linkcode PlaceOptions.float}.
 */
export function parameterBytes(
  specs: readonly ParameterSpec[],
  dtype: WeightStorage,
  float: (name: string) => boolean = none,
): number {
  return specs.reduce(
    (sum, spec) =>
      sum +
      (spec.keep === "tensor"
        ? 4 * elementCount(spec.shape)
        : weightBytes(...matrixShape(spec), storageOf(spec, { dtype, float }))),
    0,
  );
}

/** Options of {@linkcode loadParameters} and {@linkcode initialParameters}. */
export interface PlaceOptions {
  /** Storage of the parameters kept as `matrix`. Default `f32`. */
  readonly dtype?: WeightStorage;
  /** Parameters that stay f32 whatever the storage, such as those that are trained. Default: none. */
  readonly float?: (name: string) => boolean;
  /** Called with bytes on the device so far and in all, as {@linkcode parameterBytes} counts them. */
  readonly progress?: (done: number, total: number) => void;
  /** Stops with its reason as the error and releases what was placed. */
  readonly signal?: AbortSignal;
}

const chunkElements = 4 * 2 ** 20;

async function place(
  device: Device,
  specs: readonly ParameterSpec[],
  { dtype = "f32", float = none, progress, signal }: PlaceOptions,
  rowsOf: (spec: ParameterSpec, first: number, count: number) => Promise<Float32Array<ArrayBuffer>>,
): Promise<Parameters> {
  const values = new Map<string, Tensor | Weight>();
  const total = parameterBytes(specs, dtype, float);
  let done = 0;
  try {
    for (const spec of specs) {
      signal?.throwIfAborted();
      const [rows, columns] = matrixShape(spec);
      if (spec.keep === "tensor") {
        const floats = await rowsOf(spec, 0, rows);
        values.set(
          spec.name,
          floats.length === 0 ? empty(device, spec.shape) : tensor(device, floats, spec.shape),
        );
        done += 4 * rows * columns;
      } else {
        const storage = storageOf(spec, { dtype, float });
        const writer = new WeightWriter(device, rows, columns, storage);
        const step = Math.max(1, Math.floor(chunkElements / Math.max(1, columns)));
        for (let first = 0; first < rows; first += step) {
          const count = Math.min(step, rows - first);
          // Making or converting a large chunk may take a second: let signals and timers in.
          if (count * columns > 2 ** 20) await new Promise((resolve) => setTimeout(resolve));
          signal?.throwIfAborted();
          writer.writeRows(first, await rowsOf(spec, first, count));
          progress?.(done + weightBytes(first + count, columns, storage), total);
        }
        values.set(spec.name, writer.finish());
        done += weightBytes(rows, columns, storage);
      }
      progress?.(done, total);
    }
    return new Parameters(device, specs, values);
  } catch (error) {
    for (const value of values.values()) value.dispose();
    throw error;
  }
}

/**
 * Loads every parameter from a checkpoint, streaming row by row.
 *
 * @param ignore Names in the checkpoint that are known and not needed.
 * @throws {InputError} code `CHECKPOINT_MISMATCH` listing every missing, unexpected and mis-shaped tensor.
 */
export async function loadParameters(
  device: Device,
  specs: readonly ParameterSpec[],
  source: CheckpointSource,
  options: PlaceOptions & { ignore?: readonly RegExp[] } = {},
): Promise<Parameters> {
  checkTensors(
    source,
    specs.map(({ name, shape, derived }) => ({ name, shape, optional: derived === true })),
    { ignore: [...options.ignore ?? []] },
  );
  // A tensor is saved again in the element type it came in.
  const stored = specs.map((spec) => {
    const dtype = source.get(spec.name)?.dtype;
    return dtype !== undefined && isFloatDType(dtype) ? { ...spec, stored: dtype } : spec;
  });
  return await place(device, stored, options, async (spec, first, count) => {
    const entry = source.get(spec.name);
    if (entry === undefined) return initialValues(spec, 0, first, count);
    return toFloat32(
      entry.shape.length === 0 ? await entry.read() : await entry.readRows(first, count),
      entry.dtype,
    );
  });
}

/** Makes every parameter from its initialiser. The values depend on the seed and the parameter's name alone. */
export async function initialParameters(
  device: Device,
  specs: readonly ParameterSpec[],
  seed: number,
  options: PlaceOptions = {},
): Promise<Parameters> {
  return await place(
    device,
    specs,
    options,
    (spec, first, count) => Promise.resolve(initialValues(spec, seed, first, count)),
  );
}
