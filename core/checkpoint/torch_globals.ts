/**
 * The classes and functions that tensor files of PyTorch may name, and what they build (torch `_utils.py`,
 * `serialization.py`). Everything else is refused.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import {
  type PyConstructor,
  PyDict,
  PyGlobal,
  PyTuple,
  type PyValue,
  StorageRef,
  StorageType,
  TensorRef,
  TorchDevice,
  TorchDtype,
  TorchSize,
} from "./pickle_values.ts";
import { checkView, type DType } from "./tensor_data.ts";

const STORAGES: Readonly<Record<string, DType>> = {
  DoubleStorage: "F64",
  FloatStorage: "F32",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
};

const TORCH_NAMES: Readonly<Record<DType, string>> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U8: "uint8",
  BOOL: "bool",
};

/** The name torch gives an element type, such as `bfloat16`. */
export function torchDtypeName(dtype: DType): string {
  return TORCH_NAMES[dtype];
}

/** The torch storage class of an element type, such as `BFloat16Storage`. */
export function torchStorageName(dtype: DType): string {
  return Object.keys(STORAGES).find((name) => STORAGES[name] === dtype)!;
}

/** Dimensions of a tensor; torch itself stops at 64. */
const MAX_RANK = 64;

function invalid(what: string): never {
  throw new InputError("INVALID_PICKLE", what);
}

function count(value: PyValue, what: string): number {
  if (typeof value !== "number" || value < 0) invalid(`${what} is no whole number >= 0`);
  return value;
}

function sizes(value: PyValue, what: string): number[] {
  if (!(value instanceof PyTuple) || value.items.length > MAX_RANK) {
    invalid(`${what} is no tuple of at most ${MAX_RANK} numbers`);
  }
  return value.items.map((item) => count(item, what));
}

/** Elements of a list, tuple or set. */
function elements(value: PyValue): readonly PyValue[] {
  if (Array.isArray(value)) return value;
  if (value instanceof PyTuple) return value.items;
  if (value instanceof Set) return [...value];
  return invalid("a collection is made of something that is none");
}

function dict(ordered: boolean): PyConstructor {
  return (args, charge) => {
    const result = new PyDict();
    result.ordered = ordered;
    if (args.length > 1) invalid("a dict is made of several values");
    for (const pair of args.length === 0 ? [] : elements(args[0])) {
      const items = elements(pair);
      if (items.length !== 2) invalid("a dict is made of something that is no pair");
      charge(1);
      result.set(items[0], items[1]);
    }
    return result;
  };
}

function collection(make: (items: PyValue[]) => PyValue): PyConstructor {
  return (args, charge) => {
    if (args.length > 1) invalid("a collection is made of several values");
    const items = args.length === 0 ? [] : elements(args[0]);
    charge(items.length);
    return make([...items]);
  };
}

/** `_codecs.encode(text, "latin1")`: how protocol 2 spells bytes. */
const encode: PyConstructor = ([text, encoding], charge) => {
  if (typeof text !== "string" || (encoding !== "latin1" && encoding !== "latin-1")) {
    invalid("bytes are not spelled as latin1 text");
  }
  charge(text.length);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 255) invalid("bytes are not spelled as latin1 text");
    bytes[i] = unit;
  }
  return bytes;
};

const bytes: PyConstructor = (args) =>
  args.length === 0 ? new Uint8Array(0) : invalid("bytes are made of a value");

const size: PyConstructor = ([items]) =>
  new TorchSize(sizes(items ?? new PyTuple([]), "a torch.Size"));

const device: PyConstructor = ([type, index]) => {
  if (typeof type !== "string") invalid("a torch.device has no name");
  return new TorchDevice(index === undefined ? type : `${type}:${count(index, "a device index")}`);
};

/** (storage, offset, size, stride, requires_grad, backward_hooks[, metadata]) */
const rebuildTensor: PyConstructor = ([storage, start, size, steps, requiresGrad]) => {
  if (!(storage instanceof StorageRef)) invalid("a tensor has no storage");
  const offset = count(start, "a storage offset");
  const shape = sizes(size, "a tensor size");
  const stride = sizes(steps, "a tensor stride");
  const name = `in record ${storage.key}`;
  checkView({ name, dtype: storage.dtype, shape, stride, offset }, storage.length);
  return new TensorRef(storage, offset, shape, stride, requiresGrad === true, false);
};

/** (data, requires_grad, backward_hooks) */
const rebuildParameter: PyConstructor = ([data, requiresGrad]) => {
  if (!(data instanceof TensorRef)) invalid("a parameter has no tensor");
  const { storage, offset, shape, stride } = data;
  return new TensorRef(storage, offset, shape, stride, requiresGrad === true, true);
};

/** Dtype objects that configuration dictionaries in checkpoints mention, beside the ones of {@link DType}. */
const OTHER_DTYPES = ["complex64", "complex128", "half", "float", "double", "long", "int", "short"];

function buildTable(): Map<string, PyValue> {
  const table = new Map<string, PyValue>();
  const add = (module: string, name: string, construct: PyConstructor) =>
    table.set(`${module} ${name}`, new PyGlobal(module, name, construct));
  add("collections", "OrderedDict", dict(true));
  add("torch._utils", "_rebuild_tensor_v2", rebuildTensor);
  add("torch._utils", "_rebuild_parameter", rebuildParameter);
  add("torch", "Size", size);
  add("torch", "device", device);
  add("_codecs", "encode", encode);
  for (const module of ["builtins", "__builtin__"]) {
    add(module, "dict", dict(false));
    add(module, "list", collection((items) => items));
    add(module, "tuple", collection((items) => new PyTuple(items)));
    add(module, "set", collection((items) => new Set(items)));
    add(module, "frozenset", collection((items) => new Set(items)));
    add(module, "bytes", bytes);
  }
  for (const [name, dtype] of Object.entries(STORAGES)) {
    table.set(`torch ${name}`, new StorageType(name, dtype));
  }
  for (const name of [...Object.values(TORCH_NAMES), ...OTHER_DTYPES]) {
    table.set(`torch ${name}`, new TorchDtype(name));
  }
  return table;
}

/** The known globals by `module name`. */
export const TORCH_GLOBALS: ReadonlyMap<string, PyValue> = buildTable();

/**
 * Resolves persistent ids: ("storage", class, key, location, elements[, (view key, offset, size)]).
 *
 * @param seen Receives every storage that the pickle refers to.
 */
export function storageResolver(name: string, seen: Set<StorageRef>): (id: PyValue) => PyValue {
  const fail = (what: string): never => {
    throw new InputError("INVALID_PICKLE", `Cannot read the pickle of "${name}": ${what}`);
  };
  return (id) => {
    const [tag, type, key, , numel, view] = id instanceof PyTuple ? id.items : [];
    if (tag !== "storage" || !(type instanceof StorageType) || typeof key !== "string") {
      return fail("it refers to something that is no storage");
    }
    if (typeof numel !== "number" || numel < 0) return fail("a storage has no size");
    let start = 0, length = numel;
    if (view instanceof PyTuple) {
      const [, offset, size] = view.items;
      if (
        typeof offset !== "number" || typeof size !== "number" || offset < 0 || size < 0 ||
        offset + size > numel
      ) {
        throw new InputError(
          "VIEW_OUT_OF_BOUNDS",
          `Cannot read "${name}": a view of storage ${key} leaves its ${numel} elements`,
        );
      }
      start = offset;
      length = size;
    }
    const storage = new StorageRef(type.dtype, key, numel, start, length);
    seen.add(storage);
    return storage;
  };
}
