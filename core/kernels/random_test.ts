import { assert, assertEquals, assertThrows } from "@std/assert";
import { gaussians, gumbels, uniforms } from "../tensor/random.ts";
import { assertCloseTo, deviceTest } from "./kernel_testing.ts";
import { philox4x32, seedWords, uniformOf } from "./random.ts";

Deno.test("Philox gives the published test vectors", () => {
  assertEquals(philox4x32([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  assertEquals(philox4x32([ones, ones, ones, ones], [ones, ones]), [
    0x408f276d,
    0x41c83b0e,
    0xa20bc7c6,
    0x6d5451fd,
  ]);
  assertEquals(
    philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  );
});

Deno.test("uniforms are strictly between 0 and 1 in float32", () => {
  for (const word of [0, 1, 511, 512, 0x7fffffff, 0xffffffff]) {
    const u = uniformOf(word);
    assert(u > 0 && u < 1 && Math.fround(u) === u);
  }
  assertThrows(() => seedWords(-1), RangeError);
  assertEquals(seedWords(2 ** 33 + 5), [5, 2]);
});

deviceTest("device draws equal host draws", async (device) => {
  for (const count of [1, 3, 4, 63, 64, 65, 1021]) {
    const seed = 2 ** 40 + 17, stream = count;
    const words = Array.from(
      { length: count },
      (_, i) => philox4x32([i >> 2, 0, stream, 0], seedWords(seed))[i % 4]!,
    );
    assertEquals(
      [...await uniforms(device, count, seed, stream).readFloats()],
      words.map(uniformOf),
    );
    assertCloseTo(
      await gumbels(device, count, seed, stream).readFloats(),
      words.map((word) => -Math.log(-Math.log(uniformOf(word)))),
      { atol: 2e-5, rtol: 2e-5, nmse: 1e-9 },
    );
  }
});

deviceTest("normal draws have the asked moments", async (device) => {
  const count = 40000;
  const values = await gaussians(device, count, 9, 0, 0.5).readFloats();
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count;
  assertCloseTo([mean, Math.sqrt(variance)], [0, 0.5], { atol: 0.01, nmse: 1 });
  const tails = values.filter((value) => Math.abs(value) > 1).length / count;
  assertCloseTo([tails], [0.0455], { atol: 0.006, nmse: 1 });
});
