/**
 * Reference cases of checkpoint containers: files that must load with exactly this content, and files that must be
 * refused with this error code. `index.json` lists them.
 *
 * @module
 */
import { openCheckpoint } from "../../core/checkpoint/source.ts";
import { readSafetensors } from "../../core/checkpoint/safetensors.ts";
import { toFloat32 } from "../../core/checkpoint/convert.ts";
import { openTorchFile } from "../../core/checkpoint/torch_file.ts";
import { torchDtypeName } from "../../core/checkpoint/torch_globals.ts";
import {
  PyDict,
  PyFloat,
  PyTuple,
  type PyValue,
  TensorRef,
  TorchDevice,
  TorchDtype,
  TorchSize,
} from "../../core/checkpoint/pickle_values.ts";
import type { TensorEntry } from "../../core/checkpoint/tensor_data.ts";
import { InputError } from "../../core/errors.ts";
import { openFile, readAll } from "../../core/files.ts";
import type { FoundCase, Report } from "./harness.ts";

interface Listed {
  file: string;
  expect: "load" | "error";
  expected?: string;
  "error_code"?: string;
}

/** The containers listed in `dir/index.json`. */
export async function findContainerCases(dir: string): Promise<FoundCase[]> {
  const index = await readJson(`${dir}/index.json`) as { files: Listed[] };
  return index.files.map((listed) => ({
    name: `containers/${listed.file}`,
    run: (report) => compare(dir, listed, report),
  }));
}

async function readJson(path: string): Promise<unknown> {
  return JSON.parse(new TextDecoder().decode(await readAll(path)));
}

async function compare(dir: string, listed: Listed, report: Report): Promise<void> {
  const path = `${dir}/${listed.file}`;
  if (listed.expect === "load") {
    const expected = await readJson(`${dir}/${listed.expected}`);
    // Safetensors headers and indexes are JSON objects: their order carries no meaning.
    const unordered = /\.(safetensors|index\.json)$/.test(path);
    report.exact(
      "content",
      canonical(await contents(path), unordered),
      canonical(expected, unordered),
    );
    return;
  }
  try {
    await contents(path);
    report.holds("refused", false, "it loaded");
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    report.exact("error code", error.code, listed.error_code);
    report.holds("message", error.message.length > 20, error.message);
  }
}

/** Everything a file holds, in the encoding of the expected files. */
async function contents(path: string): Promise<unknown> {
  if (path.endsWith(".index.json")) {
    using source = await openCheckpoint(path);
    return await tensorDict(source.entries());
  }
  using file = await openFile(path);
  if (path.endsWith(".safetensors")) {
    const { tensors, metadata } = await readSafetensors(file);
    return {
      tensors: await tensorDict(tensors.values()),
      metadata: Object.fromEntries(metadata),
    };
  }
  const torch = await openTorchFile(file);
  return await encode(torch.value, (ref) => torch.tensor("tensor", ref), 0);
}

async function tensorDict(entries: Iterable<TensorEntry>): Promise<unknown> {
  const dict: unknown[] = [];
  for (const entry of entries) {
    const tensor = await encodeTensor(entry, { requiresGrad: false, isParameter: false });
    dict.push([{ str: entry.name }, { tensor }]);
  }
  return { dict, ordered: false };
}

async function encode(
  value: PyValue,
  open: (ref: TensorRef) => TensorEntry,
  depth: number,
): Promise<unknown> {
  if (depth > 100) throw new InputError("INVALID_PICKLE", "Cannot encode a value nested this deep");
  const inner = (item: PyValue) => encode(item, open, depth + 1);
  const all = (items: Iterable<PyValue>) => Promise.all([...items].map(inner));
  if (value === null) return { none: true };
  if (typeof value === "boolean") return { bool: value };
  if (typeof value === "number") return { int: value };
  if (typeof value === "bigint") return { int: String(value) };
  if (typeof value === "string") return { str: value };
  if (value instanceof PyFloat) return { float: number(value.value) };
  if (value instanceof Uint8Array) return { bytes_hex: value.toHex() };
  if (value instanceof TorchSize) return { "torch.Size": value.items };
  if (value instanceof PyTuple) return { tuple: await all(value.items) };
  if (value instanceof TorchDtype) return { "torch.dtype": value.name };
  if (value instanceof TorchDevice) return { "torch.device": value.name };
  if (value instanceof TensorRef) return { tensor: await encodeTensor(open(value), value) };
  if (Array.isArray(value)) return { list: await all(value) };
  if (value instanceof Set) return { set: await all(value) };
  if (value instanceof PyDict) {
    const dict: unknown[] = [];
    for (const [key, item] of value) dict.push([await inner(key), await inner(item)]);
    return { dict, ordered: value.ordered };
  }
  throw new Error(`no encoding for ${value.constructor.name}`);
}

async function encodeTensor(
  entry: TensorEntry,
  { requiresGrad, isParameter }: { requiresGrad: boolean; isParameter: boolean },
): Promise<unknown> {
  const bytes = await entry.read();
  return {
    dtype: torchDtypeName(entry.dtype),
    shape: entry.shape,
    stride_in_file: entry.stride,
    storage_offset_in_file: entry.offset,
    requires_grad: requiresGrad,
    parameter: isParameter,
    sha256_contiguous_le: new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex(),
    values: values(entry, bytes),
  };
}

function values({ dtype }: TensorEntry, bytes: Uint8Array<ArrayBuffer>): unknown[] {
  const { buffer } = bytes;
  switch (dtype) {
    case "F64":
      return Array.from(new Float64Array(buffer), number);
    case "F32":
    case "F16":
    case "BF16":
      return Array.from(toFloat32(bytes, dtype), number);
    case "I64":
      return Array.from(new BigInt64Array(buffer), (value) => {
        const small = Number(value);
        return Number.isSafeInteger(small) ? small : String(value);
      });
    case "I32":
      return [...new Int32Array(buffer)];
    case "I16":
      return [...new Int16Array(buffer)];
    case "I8":
      return [...new Int8Array(buffer)];
    case "U8":
      return [...bytes];
    case "BOOL":
      return Array.from(bytes, (value) => value !== 0);
  }
}

/** JSON has no NaN and no infinities. */
function number(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

/** A form in which equal contents are equal texts: object keys sorted, -0 told from 0, dicts sorted if `unordered`. */
function canonical(value: unknown, unordered: boolean): unknown {
  if (Object.is(value, -0)) return "-0";
  if (Array.isArray(value)) return value.map((item) => canonical(item, unordered));
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([key, item]) => {
    const plain = canonical(item, unordered);
    const sortable = unordered && key === "dict" && Array.isArray(plain);
    return [key, sortable ? plain.sort(byText) : plain];
  }));
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}
