import { assert, assertEquals, assertRejects } from "@std/assert";
import { memoryTensor, type TensorEntry } from "../checkpoint/mod.ts";
import { deviceTest, normals } from "../kernels/kernel_testing.ts";
import { empty, tensor } from "../tensor/tensor.ts";
import { deviceEntry, readAhead, writeFromEntry } from "./device_tensors.ts";

deviceTest(
  "values in several buffers are one tensor, also transposed, and come back",
  async (device) => {
    using _scope = device.scope();
    const values = normals(7 * 5, 1);
    const parts = [values.slice(0, 13), values.slice(13)].map((part) => tensor(device, part));
    const pieces = parts.map(({ buffer, size }) => ({ buffer, count: size }));
    const entry = deviceEntry(device, { name: "w", shape: [7, 5] }, pieces);
    const floats = (bytes: Uint8Array<ArrayBuffer>) => new Float32Array(bytes.buffer);
    assertEquals(floats(await entry.read()), values);
    assertEquals(floats(await entry.readRows(2, 3)), values.slice(10, 25));
    const turned = deviceEntry(device, { name: "t", shape: [5, 7], stride: [1, 5] }, pieces);
    assertEquals(
      floats(await turned.read()),
      values.map((_, i) => values[i % 7 * 5 + Math.floor(i / 7)]!),
    );
    const copies = [20, 15].map((size) => empty(device, [size]));
    await writeFromEntry(
      device,
      entry,
      copies.map(({ buffer, size }) => ({ buffer, count: size })),
    );
    assertEquals(await copies[0]!.readFloats(), values.slice(0, 20));
    assertEquals(await copies[1]!.readFloats(), values.slice(20));
  },
);

Deno.test("tensors are read ahead up to a limit, in any order, and errors reach whoever asks", async () => {
  let open = 0, most = 0;
  const sizes = [3, 5, 40, 2, 9, 9, 1];
  const entries = sizes.map((size, i): TensorEntry => {
    const plain = memoryTensor(`t${i}`, "U8", [size], new Uint8Array(size).fill(i));
    return {
      ...plain,
      async read() {
        most = Math.max(most, open += size);
        await Promise.resolve();
        if (i === 5) throw new RangeError("lost");
        return await plain.read();
      },
    };
  });
  const bytesOf = async (entry: TensorEntry) => {
    const bytes: number[] = [];
    for await (const chunk of entry.chunks(16)) bytes.push(...chunk);
    open -= entry.byteLength;
    return bytes;
  };
  const ahead = readAhead(entries, 12);
  for (const i of [0, 1, 2, 4, 3, 6]) {
    assertEquals(await bytesOf(ahead[i]!), new Array(sizes[i]!).fill(i), `tensor ${i}`);
  }
  await assertRejects(() => ahead[5]!.read(), RangeError, "lost");
  assert(most <= 21, `${most} bytes at once`);
});
