import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { checkView, contiguousStride, memoryTensor, tensorEntry } from "./tensor_data.ts";

/** A storage of int16 values 0, 1, 2, … */
function counting(length: number) {
  const bytes = new Uint8Array(Int16Array.from({ length }, (_, i) => i).buffer);
  return {
    byteLength: bytes.byteLength,
    read: (offset: number, size: number) => Promise.resolve(bytes.slice(offset, offset + size)),
  };
}

const values = (bytes: Uint8Array<ArrayBuffer>) => [...new Int16Array(bytes.buffer)];

/** Elements by definition: index arithmetic over every coordinate. */
function expected(shape: number[], stride: number[], offset: number): number[] {
  const visit = (depth: number, at: number): number[] =>
    depth === shape.length
      ? [at]
      : Array.from({ length: shape[depth] }, (_, i) => visit(depth + 1, at + i * stride[depth]))
        .flat();
  return visit(0, offset);
}

Deno.test("strided views read as contiguous elements, whole, by rows and in pieces", async () => {
  const views: [number[], number[], number][] = [
    [[8, 6], [1, 8], 0],
    [[3, 2], [16, 3], 1],
    [[4, 8], [0, 1], 0],
    [[4, 2, 3], [1, 12, 4], 0],
    [[6], [9], 0],
    [[2, 3, 4], [24, 8, 2], 5],
    [[1, 5], [100, 1], 3],
    [[2, 1, 3], [3, 77, 1], 2],
    [[], [], 7],
    [[0, 3], [3, 1], 0],
  ];
  for (const [shape, stride, offset] of views) {
    const entry = tensorEntry({ name: "v", dtype: "I16", shape, stride, offset }, counting(64));
    const all = expected(shape, stride, offset);
    assertEquals(values(await entry.read()), all);
    const rows = shape[0] ?? 1, rowSize = all.length / Math.max(rows, 1);
    for (let start = 0; start <= rows; start++) {
      for (let count = 0; start + count <= rows; count++) {
        assertEquals(
          values(await entry.readRows(start, count)),
          all.slice(start * rowSize, (start + count) * rowSize),
        );
      }
    }
    for (const size of [1, 4, 6, 10, 1000]) {
      const pieces: number[] = [];
      for await (const piece of entry.chunks(size)) pieces.push(...values(piece));
      assertEquals(pieces, all);
    }
  }
});

Deno.test("views of every element width keep the bits", async () => {
  for (const [dtype, size] of [["U8", 1], ["BF16", 2], ["F32", 4], ["F64", 8]] as const) {
    const bytes = new Uint8Array(6 * size).map((_, i) => 255 - i);
    const entry = tensorEntry({ name: "t", dtype, shape: [3, 2], stride: [1, 3] }, {
      byteLength: bytes.length,
      read: (offset, length) => Promise.resolve(bytes.slice(offset, offset + length)),
    });
    const order = [0, 3, 1, 4, 2, 5].flatMap((i) => [...bytes.slice(i * size, (i + 1) * size)]);
    assertEquals([...await entry.read()], order);
  }
});

Deno.test("views outside of their storage are refused", async () => {
  const check = (shape: number[], stride: number[], offset: number) =>
    assertThrows(
      () => tensorEntry({ name: "w", dtype: "I16", shape, stride, offset }, counting(4)),
      InputError,
      '"w"',
    );
  check([5], [1], 0);
  check([4], [1], 1);
  check([2, 2], [3, 1], 0);
  check([2], [-1], 1);
  check([2], [2 ** 53], 0);
  check([2, 2], [1], 0);
  check([2 ** 40, 2 ** 40], [1, 1], 0);
  check([2 ** 40], [0], 0);
  assertEquals(checkView({ name: "w", dtype: "I16", shape: [0, 9], stride: [1, 1] }, 0), 0);
  const entry = memoryTensor("m", "U8", [2], new Uint8Array(2));
  await assertRejects(() => entry.readRows(1, 2), InputError, "rows");
  assertThrows(() => memoryTensor("m", "U8", [3], new Uint8Array(2)), InputError, "U8 [3]");
});

Deno.test("empty dimensions count as one in strides", () => {
  assertEquals(contiguousStride([3, 0, 2]), [2, 2, 1]);
  assertEquals(contiguousStride([]), []);
});
