import { assert, assertEquals, assertThrows } from "@std/assert";
import { deviceTest } from "../kernels/kernel_testing.ts";
import { checkGradients } from "./gradient_testing.ts";
import { dropout, uniforms } from "./random.ts";
import { tensor } from "./tensor.ts";

deviceTest(
  "dropout drops by draw, scales the rest, and carries gradients the same way",
  async (device) => {
    for (const count of [1, 3, 4, 67, 257]) {
      for (const rate of [0.05, 0.5, 1]) {
        const seed = 2 ** 33 + count, stream = 7;
        const draws = await uniforms(device, count, seed, stream).readFloats();
        await checkGradients(device, {
          what: `dropout ${count} ${rate}`,
          inputs: { x: { shape: [count] } },
          operation: ({ x }) => dropout(x, rate, seed, stream),
          reference: ({ x }) =>
            x.map((value, i) => draws[i]! < Math.fround(rate) ? 0 : value / (1 - rate)),
        });
      }
    }
  },
);

deviceTest("dropout keeps the mean, and differs by stream and seed", async (device) => {
  using _scope = device.scope();
  const count = 20000;
  const ones = tensor(device, new Float32Array(count).fill(1), [100, 200]);
  const drop = async (seed: number, stream: number) => {
    const y = dropout(ones, 0.2, seed, stream);
    assertEquals(y.shape, [100, 200]);
    return await y.readFloats();
  };
  const first = await drop(5, 0);
  const mean = first.reduce((sum, value) => sum + value, 0) / count;
  assert(Math.abs(mean - 1) < 0.02, `mean ${mean}`);
  assertEquals(await drop(5, 0), first);
  for (const [seed, stream] of [[5, 1], [6, 0]] as const) {
    const other = await drop(seed, stream);
    const both = other.filter((value, i) => value === 0 && first[i] === 0).length / count;
    assert(Math.abs(both - 0.04) < 0.01, `${both} dropped in both`);
  }
  assertEquals(dropout(ones, 0, 1, 1), ones);
  assertThrows(() => dropout(ones, 1.5, 1, 1), RangeError, "probability 1.5");
});
