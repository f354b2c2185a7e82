import { assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { isFloatDType, toFloat32 } from "./convert.ts";
import { memoryFolder } from "./memory_folder.ts";
import { diskFolder, saveShardedBin, saveShardedSafetensors } from "./save.ts";
import { openCheckpoint } from "./source.ts";
import { memoryTensor } from "./tensor_data.ts";

const golden = new URL("../../tests/golden/containers/", import.meta.url).pathname;

Deno.test("saving what was loaded keeps every byte, in shards and in one file", async () => {
  for (const save of [saveShardedBin, saveShardedSafetensors]) {
    for (
      const [from, maxShardBytes] of [["sharded-bin", 1000], ["torch-zip/views.pth", 1e9]] as const
    ) {
      using original = await openCheckpoint(golden + from);
      const files = new Map<string, Uint8Array<ArrayBuffer>>();
      const folder = memoryFolder("out", files);
      const saved = await save(folder, original.entries(), { maxShardBytes });
      assertEquals([...files.keys()], saved.files);
      using copy = await openCheckpoint(folder);
      assertEquals(copy.names().toSorted(), original.names().toSorted());
      let total = 0;
      for (const tensor of original.entries()) {
        const back = copy.get(tensor.name)!;
        assertEquals([back.dtype, back.shape], [tensor.dtype, tensor.shape]);
        assertEquals(await back.read(), await tensor.read());
        total += tensor.byteLength;
      }
      assertEquals(saved.totalBytes, total);
    }
  }
});

Deno.test("names, index and shard sizes are those of Hugging Face", async () => {
  const tensor = (name: string, size: number) =>
    memoryTensor(name, "U8", [size], new Uint8Array(size));
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const tensors = [tensor("z", 6), tensor("a", 4), tensor("big", 50), tensor("m", 1)];
  await saveShardedBin(memoryFolder("out", files), tensors, { maxShardBytes: 10 });
  assertEquals([...files.keys()], [
    "pytorch_model-00001-of-00003.bin",
    "pytorch_model-00002-of-00003.bin",
    "pytorch_model-00003-of-00003.bin",
    "pytorch_model.bin.index.json",
  ]);
  assertEquals(
    new TextDecoder().decode(files.get("pytorch_model.bin.index.json")!),
    `{
  "metadata": {
    "total_size": 61
  },
  "weight_map": {
    "a": "pytorch_model-00001-of-00003.bin",
    "big": "pytorch_model-00002-of-00003.bin",
    "m": "pytorch_model-00003-of-00003.bin",
    "z": "pytorch_model-00001-of-00003.bin"
  }
}
`,
  );
  const twice = saveShardedSafetensors(memoryFolder("out"), [tensors[0], tensors[0]]);
  assertEquals((await assertRejects(() => twice, InputError)).code, "INVALID_NAME");
});

Deno.test("tensors are converted while they are saved, to disk", async () => {
  const path = await Deno.makeTempDir();
  try {
    using original = await openCheckpoint(golden + "sharded-safetensors");
    await saveShardedBin(diskFolder(path), original.entries(), {
      dtype: (tensor) => isFloatDType(tensor.dtype) ? "BF16" : undefined,
    });
    using copy = await openCheckpoint(path);
    for (const tensor of original.entries()) {
      const back = copy.get(tensor.name)!;
      assertEquals(back.dtype, "BF16");
      const values = toFloat32(await back.read(), "BF16");
      toFloat32(await tensor.read(), tensor.dtype).forEach((value, i) => {
        if (Math.abs(values[i] - value) > Math.abs(value) * 2 ** -8) throw new Error(tensor.name);
      });
    }
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

Deno.test("names with folders make these folders on a disk", async () => {
  const path = await Deno.makeTempDir();
  try {
    const folder = diskFolder(path);
    await folder.write("llama/inner/x.bin", [Uint8Array.of(1, 2)]);
    assertEquals(await Deno.readFile(`${path}/llama/inner/x.bin`), Uint8Array.of(1, 2));
    await folder.write("file", [Uint8Array.of(3)]);
    await assertRejects(() => folder.write("file/x.bin", []), InputError, "Cannot make the folder");
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});
