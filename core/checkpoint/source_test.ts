import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { bytesSource, type FileSource, openFolder } from "../files.ts";
import { joinChunks, memoryFolder } from "./memory_folder.ts";
import { openCheckpoint } from "./source.ts";
import { safetensorsChunks } from "./safetensors.ts";
import { memoryTensor } from "./tensor_data.ts";
import { torchSaveChunks } from "./torch_save.ts";

const golden = new URL("../../tests/golden/containers/", import.meta.url).pathname;
const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const u8 = (name: string, value: number) => memoryTensor(name, "U8", [1], Uint8Array.of(value));
const bin = (...tensors: ReturnType<typeof u8>[]) => joinChunks(torchSaveChunks(tensors));
const safe = (...tensors: ReturnType<typeof u8>[]) => joinChunks(safetensorsChunks(tensors));

Deno.test("paths of folders, indexes and files", async () => {
  for (
    const [path, count] of [
      ["sharded-bin", 12],
      ["sharded-bin/", 12],
      ["sharded-safetensors/model.safetensors.index.json", 12],
      ["sharded-bin/pytorch_model-00001-of-00003.bin", 4],
      ["torch-zip/dtypes.pth", 19],
    ] as const
  ) {
    using source = await openCheckpoint(golden + path);
    assertEquals(source.names().length, count, path);
    assertEquals([...source.entries()].map((tensor) => tensor.name), source.names());
  }
  const error = await assertRejects(() => openCheckpoint(golden + "nothing"), InputError);
  assertEquals(error.code, "NOT_FOUND");
});

Deno.test("tensors under a usual key, a named key, or none", async () => {
  using usual = await openCheckpoint(golden + "torch-zip/nested.pth");
  assert(usual.get("fc.weight") !== undefined);
  using named = await openCheckpoint(golden + "torch-legacy/nested.pth", { key: "int_keys" });
  assertEquals(named.names(), []);
  for (
    const [file, key, code] of [
      ["nested.pth", "epoch", "MISSING_KEY"],
      ["nested.pth", "absent", "MISSING_KEY"],
      ["list_at_top_level.pth", "model", "MISSING_KEY"],
      ["list_at_top_level.pth", undefined, "NO_STATE_DICT"],
      ["tensor_at_top_level.pth", undefined, "NO_STATE_DICT"],
    ] as const
  ) {
    const open = () => openCheckpoint(`${golden}torch-zip/${file}`, { key });
    assertEquals((await assertRejects(open, InputError)).code, code);
  }
});

Deno.test("objects of unknown classes can be tolerated beside the tensors", async () => {
  for (const file of ["zip_argparse_namespace", "zip_unknown_class", "zip_numpy_objects"]) {
    const path = `${golden}corrupt/${file}.pth`;
    assertEquals(
      (await assertRejects(() => openCheckpoint(path), InputError)).code,
      "UNSAFE_GLOBAL",
    );
    using source = await openCheckpoint(path, { unknownClasses: "opaque" });
    assertEquals(source.names(), ["w"]);
    assertEquals((await source.get("w")!.read()).length, 8);
  }
});

Deno.test("a folder chooses the index, then safetensors, then the only file", async () => {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const folder = memoryFolder("m", files);
  const names = async () => {
    using source = await openCheckpoint(folder);
    return source.names();
  };
  assertEquals((await assertRejects(names, InputError)).code, "NO_CHECKPOINT");
  files.set("other.pth", await bin(u8("pth", 1)));
  assertEquals(await names(), ["pth"]);
  files.set("another.bin", await bin(u8("bin", 1)));
  assertEquals(
    (await assertRejects(names, InputError, "another.bin")).code,
    "AMBIGUOUS_CHECKPOINT",
  );
  files.set("pytorch_model.bin", await bin(u8("bin", 1)));
  assertEquals(await names(), ["bin"]);
  files.set("model.safetensors", await safe(u8("safe", 1)));
  assertEquals(await names(), ["safe"]);
  files.set("pytorch_model.bin.index.json", json({ weight_map: { pth: "other.pth" } }));
  assertEquals(await names(), ["pth"]);
  using source = await openCheckpoint(folder, { file: "another.bin" });
  assertEquals(source.names(), ["bin"]);
});

Deno.test("a shard is read from its safetensors twin, unless the twin lacks the tensor", async () => {
  const index = json({ weight_map: { a: "s-1.bin", tied: "s-1.bin", b: "s-2.bin" } });
  const folder = memoryFolder(
    "m",
    new Map([
      ["pytorch_model.bin.index.json", index],
      ["s-1.safetensors", await safe(u8("a", 1))],
      ["s-1.bin", await bin(u8("a", 9), u8("tied", 2))],
      ["s-2.safetensors", await safe(u8("b", 3), u8("extra", 4))],
    ]),
  );
  using source = await openCheckpoint(folder);
  const read = await Promise.all(
    [...source.entries()].map(async (t) => [t.name, (await t.read())[0]]),
  );
  assertEquals(read, [["a", 1], ["tied", 2], ["b", 3]]);
});

Deno.test("each shard is opened once and closed with the source, or on failure", async () => {
  const opened: string[] = [], closed: string[] = [];
  const disk = await openFolder(golden + "sharded-safetensors");
  const folder = (skip?: string) => ({
    ...disk,
    has: (name: string) => name === skip ? Promise.resolve(false) : disk.has(name),
    async open(name: string): Promise<FileSource> {
      opened.push(name);
      const file = await disk.open(name);
      return {
        ...file,
        [Symbol.dispose]() {
          closed.push(name);
          file[Symbol.dispose]();
        },
      };
    },
  });
  const source = await openCheckpoint(folder());
  assertEquals(opened.length, 4);
  assertEquals(new Set(opened).size, 4);
  assertEquals(closed, ["model.safetensors.index.json"]);
  for (const tensor of source.entries()) await tensor.read();
  assertEquals(opened.length, 4);
  source[Symbol.dispose]();
  assertEquals(closed.toSorted(), opened.toSorted());

  opened.length = closed.length = 0;
  const broken = folder("model-00003-of-00003.safetensors");
  const error = await assertRejects(() => openCheckpoint(broken), InputError, "model-00003");
  assertEquals(error.code, "MISSING_SHARD");
  assertEquals(closed.toSorted(), opened.toSorted());
});

Deno.test("a file of memory", async () => {
  using source = await openCheckpoint(bytesSource("x.bin", await bin(u8("a", 5))));
  assertEquals(await source.get("a")!.readRows(0, 1), Uint8Array.of(5));
  assertEquals(source.get("b"), undefined);
});
