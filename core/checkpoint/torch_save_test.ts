import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { bytesSource } from "../files.ts";
import { joinChunks } from "./memory_folder.ts";
import { PyDict, TensorRef } from "./pickle_values.ts";
import { openCheckpoint } from "./source.ts";
import { type DType, dtypeBytes, memoryTensor, type TensorEntry } from "./tensor_data.ts";
import { openTorchFile } from "./torch_file.ts";
import { torchSaveChunks } from "./torch_save.ts";
import { readZip } from "./zip_reader.ts";
import { zipChunks } from "./zip_writer.ts";
import { zipSync } from "fflate";

/** Tensors of every type and rank, with bytes that depend on their place. */
function sample(): TensorEntry[] {
  const dtypes: DType[] = ["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"];
  const shapes = [[], [3], [0, 2], [2, 3], [2, 1, 5], [300, 1], [2, 1, 2, 3], [1, 2, 1, 2, 2]];
  return dtypes.flatMap((dtype, d) =>
    shapes.map((shape, s) => {
      const size = shape.reduce((product, length) => product * length, 1) * dtypeBytes(dtype);
      const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 7 + d * 31 + s) & 0xff);
      return memoryTensor(`layer.${d}.${s}.gewichtß`, dtype, shape, bytes);
    })
  );
}

Deno.test("saved tensors load again, byte by byte", async () => {
  const tensors = sample();
  for (const key of [undefined, "model"]) {
    const bytes = await joinChunks(torchSaveChunks(tensors, { key, folder: "stem" }));
    using source = await openCheckpoint(bytesSource("f.pth", bytes), { key });
    assertEquals(source.names(), tensors.map((tensor) => tensor.name));
    for (const tensor of tensors) {
      const back = source.get(tensor.name)!;
      assertEquals([back.dtype, back.shape], [tensor.dtype, tensor.shape]);
      assertEquals(await back.read(), await tensor.read());
    }
  }
});

Deno.test("the object is an OrderedDict and records are aligned to 64 bytes", async () => {
  const tensors = sample();
  const bytes = await joinChunks(torchSaveChunks(tensors));
  const file = await openTorchFile(bytesSource("f.pth", bytes));
  assert(file.value instanceof PyDict && file.value.ordered);
  assert([...file.value.values()].every((value) => value instanceof TensorRef));
  const view = new DataView(bytes.buffer);
  let seen = 0;
  for (let at = 0; at + 4 <= bytes.length; at++) {
    if (view.getUint32(at, true) !== 0x04034b50) continue;
    const start = at + 30 + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
    assertEquals(start % 64, 0);
    seen++;
  }
  assertEquals(seen, tensors.length + 2);
});

Deno.test("two tensors of one name are not written", async () => {
  const [tensor] = sample();
  const error = await assertRejects(
    async () => await joinChunks(torchSaveChunks([tensor, tensor])),
    InputError,
  );
  assertEquals(error.code, "INVALID_NAME");
});

Deno.test("zip64 sizes and offsets are written and read", async () => {
  const record = (name: string, length: number) => ({
    name,
    size: length,
    chunks: () => [new Uint8Array(length).fill(length)],
  });
  for (const zip64From of [0, 1, 4, 100, undefined]) {
    const records = [record("a", 3), record("b/c", 5), record("empty", 0)];
    const bytes = await joinChunks(zipChunks(records, zip64From));
    const back = await readZip(bytesSource("z", bytes));
    assertEquals([...back.keys()], ["a", "b/c", "empty"]);
    assertEquals(await back.get("b/c")!.read(1, 3), Uint8Array.of(5, 5, 5));
    assertEquals(await back.get("empty")!.read(0, 0), new Uint8Array(0));
  }
  const short = { name: "s", size: 4, chunks: () => [new Uint8Array(3)] };
  await assertRejects(() => joinChunks(zipChunks([short])), InputError, "3 bytes instead of 4");
});

Deno.test("deflated records are inflated to their declared size only", async () => {
  const content = Uint8Array.from({ length: 300_000 }, (_, i) => (i * i) >> 7);
  const bytes = new Uint8Array(zipSync({ "x/data": content }, { level: 6 }));
  const record = (await readZip(bytesSource("z", bytes))).get("x/data")!;
  assertEquals(record.byteLength, content.length);
  assertEquals(await record.read(7, 1000), content.slice(7, 1007));
  const view = new DataView(bytes.buffer);
  const entry = view.getUint32(bytes.length - 6, true);
  for (const size of [content.length - 1, content.length + 1, 2 ** 30]) {
    view.setUint32(entry + 24, size, true);
    const wrong = (await readZip(bytesSource("z", bytes))).get("x/data")!;
    const error = await assertRejects(() => wrong.read(0, 1), InputError);
    assertEquals(error.code, "INVALID_ZIP");
  }
});
