import { assertEquals, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { castTensor, float32ToBfloat16, float32ToHalf, fromFloat32, toFloat32 } from "./convert.ts";
import { memoryTensor } from "./tensor_data.ts";

Deno.test("every float16 survives float32 and back", () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const single = toFloat32(new Uint8Array(all.buffer), "F16");
  assertEquals(single[1], 2 ** -24);
  assertEquals(single[0x3c00], 1);
  assertEquals(single[0x7bff], 65504);
  assertEquals(single[0xfc00], -Infinity);
  const back = float32ToHalf(single);
  for (let i = 0; i < 65536; i++) {
    if (Number.isNaN(single[i])) assertEquals(back[i] & 0x7fff, 0x7e00);
    else if (back[i] !== i) throw new Error(`${i} became ${back[i]}`);
  }
});

Deno.test("float16 rounds to nearest, ties to even", () => {
  const all = toFloat32(
    new Uint8Array(Uint16Array.from({ length: 0x7c00 }, (_, i) => i).buffer),
    "F16",
  );
  const probe = new Float32Array(3);
  for (let i = 0; i + 1 < all.length; i++) {
    // The middle of neighbours is exact in float32.
    const middle = (all[i] + all[i + 1]) / 2;
    probe.set([middle, middle * (1 - 2 ** -20), middle * (1 + 2 ** -20)]);
    const [tie, below, above] = float32ToHalf(probe);
    if (tie !== i + (i & 1) || below !== i || above !== i + 1) throw new Error(`at ${i}`);
  }
  assertEquals([
    ...float32ToHalf(new Float32Array([65519.996, 65520, 1e9, 2 ** -25, 2 ** -26, -0])),
  ], [
    0x7bff,
    0x7c00,
    0x7c00,
    0,
    0,
    0x8000,
  ]);
});

Deno.test("bfloat16 rounds to nearest, ties to even", () => {
  const bits = (pattern: number) => new Float32Array(new Uint32Array([pattern]).buffer);
  const cases: [number, number][] = [
    [0x3f800000, 0x3f80],
    [0x3f808000, 0x3f80],
    [0x3f818000, 0x3f82],
    [0x3f808001, 0x3f81],
    [0x3f807fff, 0x3f80],
    [0x7f7fffff, 0x7f80],
    [0xff800000, 0xff80],
    [0x7f800001, 0x7fc0],
    [0x80000000, 0x8000],
    [0x00018000, 0x0002],
  ];
  for (const [from, to] of cases) assertEquals(float32ToBfloat16(bits(from))[0], to);
});

Deno.test("misaligned bytes, doubles and casts of tensors", async () => {
  const bytes = new Uint8Array(9);
  bytes.set(new Uint8Array(new Float32Array([1.5, -2]).buffer), 1);
  assertEquals([...toFloat32(bytes.subarray(1), "F32")], [1.5, -2]);
  assertEquals([...toFloat32(fromFloat32(new Float32Array([0.1]), "F64"), "F64")], [
    Math.fround(0.1),
  ]);
  assertThrows(() => toFloat32(new Uint8Array(4), "I32"), InputError, "I32");
  assertThrows(() => toFloat32(new Uint8Array(3), "F16"), InputError, "3 bytes");

  const tensor = memoryTensor(
    "t",
    "F32",
    [2, 2],
    fromFloat32(new Float32Array([1, 2, 3, 4]), "F32"),
  );
  const half = castTensor(tensor, "BF16");
  assertEquals(half.byteLength, 8);
  assertEquals([...toFloat32(await half.readRows(1, 1), "BF16")], [3, 4]);
  const pieces: number[] = [];
  for await (const piece of half.chunks(2)) pieces.push(...toFloat32(piece, "BF16"));
  assertEquals(pieces, [1, 2, 3, 4]);
  assertThrows(() => castTensor(tensor, "I8"), InputError, "I8");
});
