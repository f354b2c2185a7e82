/**
 * What a pickle can hold, as inert values: `null`, booleans, strings, bytes and `Set` stand for themselves, a list is
 * an array, a whole number is a `number` up to 2^53 and a `bigint` beyond.
 *
 * @module
 */
import type { DType } from "./tensor_data.ts";

/** Any value of a pickle. */
export type PyValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array<ArrayBuffer>
  | PyValue[]
  | Set<PyValue>
  | PyFloat
  | PyTuple
  | PyDict
  | PyGlobal
  | TorchDtype
  | TorchDevice
  | StorageType
  | StorageRef
  | TensorRef
  | OpaqueObject;

/** A Python float; kept apart from whole numbers, as 2.0 and 2 are not the same. */
export class PyFloat {
  /**
   * The value as data.
   *
   * @param value The number, possibly infinite or NaN.
   */
  constructor(readonly value: number) {}
}

/** A Python tuple. */
export class PyTuple {
  /**
   * The value as data.
   *
   * @param items Its elements.
   */
  constructor(readonly items: readonly PyValue[]) {}
}

/** A `torch.Size`: a tuple of sizes. */
export class TorchSize extends PyTuple {}

/** A Python dict in insertion order. Tuples and other objects are keys by identity. */
export class PyDict extends Map<PyValue, PyValue> {
  /** Whether it is a `collections.OrderedDict`. */
  ordered = false;
}

/** A `torch.dtype`, such as `float16`. */
export class TorchDtype {
  /**
   * The value as data.
   *
   * @param name Name without `torch.`.
   */
  constructor(readonly name: string) {}
}

/** A `torch.device`, such as `cpu` or `cuda:0`. */
export class TorchDevice {
  /**
   * The value as data.
   *
   * @param name Type, with the index after a colon when there is one.
   */
  constructor(readonly name: string) {}
}

/** A torch storage class, such as `FloatStorage`. */
export class StorageType {
  /**
   * The value as data.
   *
   * @param name Name of the class.
   * @param dtype Element type.
   */
  constructor(readonly name: string, readonly dtype: DType) {}
}

/** A storage of the file that holds the pickle. Counts are elements. */
export class StorageRef {
  /**
   * The value as data.
   *
   * @param dtype Element type.
   * @param key Name of the record in the file.
   * @param numel Elements of the record.
   * @param start First element of the record that belongs to this storage (legacy storage views; else 0).
   * @param length Elements that belong to this storage.
   */
  constructor(
    readonly dtype: DType,
    readonly key: string,
    readonly numel: number,
    readonly start: number,
    readonly length: number,
  ) {}
}

/** A tensor: a view of a storage. Offset, shape and stride count elements and stay inside the storage. */
export class TensorRef {
  /**
   * The value as data.
   *
   * @param storage Where the elements lie.
   * @param offset First element.
   * @param shape Sizes, outermost first.
   * @param stride Distance between neighbours of each dimension.
   * @param requiresGrad Whether it was trained.
   * @param isParameter Whether it is a `torch.nn.Parameter`.
   */
  constructor(
    readonly storage: StorageRef,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly stride: readonly number[],
    readonly requiresGrad: boolean,
    readonly isParameter: boolean,
  ) {}
}

/** What a known class or function makes of its arguments. `charge` accounts for elements that are copied. */
export type PyConstructor = (
  args: readonly PyValue[],
  charge: (elements: number) => void,
) => PyValue;

/** A class or function named in a pickle. Nothing is ever imported or called by this name. */
export class PyGlobal {
  /**
   * The value as data.
   *
   * @param module Python module.
   * @param name Name inside the module.
   * @param construct Builds the inert value; absent for classes that are not known.
   */
  constructor(
    readonly module: string,
    readonly name: string,
    readonly construct?: PyConstructor,
  ) {}
}

/** An object of a class that is not known, kept only because the caller asked to tolerate those. */
export class OpaqueObject {
  /** What BUILD attached: usually the attributes. */
  state: PyValue = null;
  /** Elements that were appended or added. */
  readonly items: PyValue[] = [];
  /** Keys and values that were set. */
  readonly entries: [PyValue, PyValue][] = [];

  /**
   * The value as data.
   *
   * @param type What was to be called, usually a {@link PyGlobal}.
   * @param args Its arguments.
   */
  constructor(readonly type: PyValue, readonly args: readonly PyValue[]) {}
}
