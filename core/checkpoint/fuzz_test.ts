import { assert, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { bytesSource, readAll } from "../files.ts";
import fc from "fast-check";
import { readIndex } from "./hf_index.ts";
import { parseLoraConfig } from "./peft_config.ts";
import { OpaqueObject, PyTuple, type PyValue, TensorRef } from "./pickle_values.ts";
import { readSafetensors } from "./safetensors.ts";
import { openTorchFile, type TorchOptions } from "./torch_file.ts";

const golden = new URL("../../tests/golden/containers/", import.meta.url).pathname;

/** Every tensor of a value, which may contain itself. */
function findTensors(value: PyValue): TensorRef[] {
  const seen = new Set<PyValue>([value]), tensors: TensorRef[] = [];
  for (const item of seen) {
    const add = (inner: Iterable<PyValue>) => {
      for (const one of inner) if (typeof one === "object") seen.add(one);
    };
    if (item instanceof TensorRef) tensors.push(item);
    else if (item instanceof Map) add([...item.keys(), ...item.values()]);
    else if (item instanceof Set || Array.isArray(item)) add(item);
    else if (item instanceof PyTuple) add(item.items);
    else if (item instanceof OpaqueObject) add([...item.args, ...item.items, item.state]);
  }
  return tensors;
}

/** Reads everything a file holds. */
async function readEverything(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  options: TorchOptions = {},
): Promise<void> {
  const file = bytesSource(name, bytes);
  if (name.endsWith(".safetensors")) {
    for (const tensor of (await readSafetensors(file)).tensors.values()) await tensor.read();
    return;
  }
  const torch = await openTorchFile(file, options);
  for (const ref of findTensors(torch.value)) await torch.tensor("t", ref).read();
}

/** Whatever comes out is either the content or one sentence. */
async function onlyInputErrors(read: () => Promise<void>): Promise<void> {
  try {
    await read();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    assert(error.code.length > 0 && error.message.startsWith("Cannot "), error.message);
  }
}

Deno.test("a file cut anywhere is refused", async () => {
  for (
    const name of [
      "torch-zip/list_at_top_level.pth",
      "torch-legacy/list_at_top_level.pth",
      "safetensors/zero_size_and_scalar.safetensors",
    ]
  ) {
    const bytes = await readAll(golden + name);
    await readEverything(name, bytes);
    for (let length = 0; length < bytes.length; length++) {
      await assertRejects(
        () => readEverything(name, bytes.slice(0, length)),
        InputError,
        "Cannot ",
      );
    }
  }
});

/** One change to a file. Positions are fractions, so that a case fits files of any length. */
const change = fc.record({
  kind: fc.constantFrom(
    "set",
    "set",
    "flip",
    "flip",
    "number",
    "number",
    "cut",
    "insert",
    "remove",
  ),
  at: fc.noBias(fc.nat({ max: 999_999 })).map((millionths) => millionths / 1e6),
  value: fc.noBias(fc.nat({ max: 255 })),
  wide: fc.constantFrom(0, 1, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff),
});

type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function apply(original: Uint8Array<ArrayBuffer>, changes: readonly Change[]) {
  let bytes = original.slice();
  for (const { kind, at, value, wide } of changes) {
    const position = Math.floor(at * bytes.length);
    const splice = (remove: number, ...added: number[]) => {
      const list = [...bytes];
      list.splice(position, remove, ...added);
      bytes = Uint8Array.from(list);
    };
    if (kind === "set") bytes[position] = value;
    else if (kind === "flip") bytes[position] ^= 1 << (value & 7);
    else if (kind === "cut") bytes = bytes.slice(0, Math.max(position, bytes.length - value));
    else if (kind === "insert") splice(0, value);
    else if (kind === "remove") splice(1 + (value & 3));
    else if (position + 4 <= bytes.length) {
      new DataView(bytes.buffer).setUint32(position, wide, true);
    }
  }
  return bytes;
}

Deno.test("changed files give their content or one sentence", async () => {
  const names = [
    "torch-zip/list_at_top_level.pth",
    "torch-zip/views.pth",
    "torch-zip/saved_to_buffer.pth",
    "torch-legacy/views.pth",
    "torch-legacy/list_at_top_level.pth",
    "safetensors/zero_size_and_scalar.safetensors",
    "safetensors/reordered_unicode.safetensors",
    "corrupt/zip_numpy_objects.pth",
  ];
  const files = await Promise.all(names.map((name) => readAll(golden + name)));
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: names.length - 1 }),
      fc.array(change, { minLength: 1, maxLength: 4 }),
      fc.constantFrom<TorchOptions>({}, { unknownClasses: "opaque" }),
      async (which, changes, options) => {
        const bytes = apply(files[which], changes);
        await onlyInputErrors(() => readEverything(names[which], bytes, options));
      },
    ),
    { numRuns: 4000, seed: 20240607 },
  );
});

Deno.test("any bytes, indexes and configurations give one sentence", async () => {
  const json = fc.oneof(fc.json(), fc.string());
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), json, async (raw, text) => {
      const bytes = new Uint8Array(raw);
      for (const start of [[], [0x80, 2], [0x50, 0x4b, 3, 4]]) {
        const started = Uint8Array.from([...start, ...bytes]);
        await onlyInputErrors(() => readEverything("f.pth", started));
      }
      await onlyInputErrors(() => readEverything("f.safetensors", bytes));
      const encoded = new TextEncoder().encode(text);
      const header = new Uint8Array(8 + encoded.length);
      header[0] = encoded.length & 255;
      header[1] = encoded.length >> 8;
      header.set(encoded, 8);
      await onlyInputErrors(() => readEverything("f.safetensors", header));
      const index = bytesSource("i.index.json", encoded);
      await onlyInputErrors(async () => void await readIndex(index));
      await onlyInputErrors(() => Promise.resolve(void parseLoraConfig(text, "c")));
    }),
    { numRuns: 1000, seed: 20240608 },
  );
});
