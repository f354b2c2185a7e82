import { assertEquals, assertThrows } from "@std/assert";
import { reduceMean, sumRows } from "../tensor/reduction.ts";
import { elementCount, tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { variants } from "./variant_testing.ts";

function reference(x: ArrayLike<number>, shape: readonly number[], axis: number): Float64Array {
  const inner = elementCount(shape.slice(axis + 1)), length = shape[axis]!;
  const sums = new Float64Array(elementCount(shape) / length);
  for (let i = 0; i < x.length; i++) {
    sums[Math.floor(i / inner / length) * inner + i % inner]! += x[i]!;
  }
  return sums;
}

const cases: [number[], number][] = [
  [[1], 0],
  [[7], 0],
  [[64], 0],
  [[3, 5], 0],
  [[3, 5], 1],
  [[65, 8], 0],
  [[8, 65], 1],
  [[2, 33, 12], 1],
  [[2, 3, 64], 1],
  [[3, 64, 2], 1],
  [[1, 577, 64], 1],
  [[2, 196, 31], 1],
  [[5, 1], 0],
  [[5, 1, 4], 1],
  [[2, 127, 129], 1],
  [[130, 7], 1],
  [[1, 4096], 1],
  [[4096, 4], 0],
  [[3, 257, 2], 2],
  [[2, 2, 2, 2], 1],
  [[1, 1000, 1], 1],
];

deviceTest("means and sums equal their float64 definition", async (device) => {
  for (const [order, { name, device: variant }] of variants(device).entries()) {
    for (const [index, [shape, axis]] of cases.entries()) {
      // The device's own variant takes all shapes, the others every third.
      if (order > 0 && index % 3 !== order - 1) continue;
      const x = normals(elementCount(shape), index + 1).map((value) => value + 1);
      const input = tensor(variant, x, shape);
      const what = `${name} [${shape}] over ${axis}`;
      const y = reduceMean(input, axis);
      assertEquals(y.shape, shape.toSpliced(axis, 1));
      const means = reference(x, shape, axis).map((sum) => sum / shape[axis]!);
      assertCloseTo(await y.readFloats(), means, { what });
      const columns = shape.at(-1)!;
      const sums = reference(x, [x.length / columns, columns], 0);
      assertCloseTo(await sumRows(input).readFloats(), sums, { what, atol: 1e-4 });
    }
  }
});

deviceTest("reductions of nothing are zero, allocate once, replay and refuse", async (device) => {
  assertEquals([...await reduceMean(tensor(device, [], [2, 0, 3]), 1).read()], [0, 0, 0, 0, 0, 0]);
  assertEquals([...await sumRows(tensor(device, [], [0, 2])).read()], [0, 0]);
  const x = tensor(device, normals(60, 1), [3, 4, 5]);
  const step = () => {
    using _ = device.scope();
    sumRows(reduceMean(x, -2));
    reduceMean(x, 2);
  };
  step();
  const { created } = device.memory;
  step();
  assertEquals(device.memory.created, created);
  const expected = await reduceMean(x, 1).read();
  let y = x;
  using recording = device.record(() => {
    y = reduceMean(x, 1);
  });
  recording.replay();
  assertEquals(await y.read(), expected);
  assertThrows(() => reduceMean(x, 3), RangeError, "axis 3");
  assertThrows(() => sumRows(tensor(device, Uint32Array.of(1))), RangeError, "u32");
});
