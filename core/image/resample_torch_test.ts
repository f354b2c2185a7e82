import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError } from "../errors.ts";
import { adaptiveAveragePool, interpolate, type InterpolateMode } from "./resample_torch.ts";

const MODES: InterpolateMode[] = ["nearest", "nearest-exact", "bilinear", "bicubic", "area"];

Deno.test("the same size is the identity, constants stay constant", () => {
  const data = Float32Array.from({ length: 2 * 3 * 5 }, (_, i) => Math.sin(i));
  for (const mode of MODES) assertEquals(interpolate(data, [2, 3, 5], [3, 5], mode), data, mode);
  const flat = new Float32Array(30).fill(1.5);
  for (const mode of MODES) {
    const out = interpolate(flat, [2, 3, 5], [7, 2], mode);
    assertEquals(out.length, 28);
    assert(out.every((value) => Math.abs(value - 1.5) < 1e-6), mode);
  }
});

Deno.test("corners coincide when asked to", () => {
  const ramp = Float32Array.of(0, 1, 2);
  assertEquals([...interpolate(ramp, [3], [5], "linear", { alignCorners: true })], [
    0,
    0.5,
    1,
    1.5,
    2,
  ]);
  const out = interpolate(ramp, [3], [6], "linear");
  assertEquals([...out], [0, 0.25, 0.75, 1.25, 1.75, 2]);
});

Deno.test("antialias weighs all of what a result covers", () => {
  const spike = new Float32Array(16);
  spike[5] = 1;
  const plain = interpolate(spike, [1, 16], [1, 2], "bilinear");
  const smooth = interpolate(spike, [1, 16], [1, 2], "bilinear", { antialias: true });
  assertEquals([...plain], [0, 0]);
  assert(smooth[0] > 0.05 && smooth[1] > 0);
});

Deno.test("pooling means over overlapping windows when sizes do not divide", () => {
  const data = Float32Array.of(1, 2, 3, 4, 5);
  assertEquals([...adaptiveAveragePool(data, [5], [3])], [1.5, 3, 4.5]);
  assertEquals([...adaptiveAveragePool(data, [1, 5], [2, 1])], [3, 3]);
});

Deno.test("shapes that do not hold the values are refused", () => {
  const data = new Float32Array(6);
  for (const [shape, size] of [[[5], [2]], [[6], [0]], [[6], [2, 2]], [[2, 3], [1.5]]]) {
    const error = assertThrows(() => interpolate(data, shape, size, "area"), InputError);
    assertEquals(error.code, "BAD_SIZE");
  }
});
