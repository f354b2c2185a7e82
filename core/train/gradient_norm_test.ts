import { assertEquals, assertThrows } from "@std/assert";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { pretending, variants } from "../kernels/variant_testing.ts";
import { tensor } from "../tensor/tensor.ts";
import { GradientNorm } from "./gradient_norm.ts";

deviceTest("gradients of any size are measured and clipped together", async (original) => {
  const small = { name: "small bindings", device: pretending(original, { bindingBytes: 1024 }) };
  for (const { name, device } of [...variants(original), small]) {
    const sizes = [1, 63, 64, 65, 1021, 4099, 0, 20011];
    for (const limit of [0.5, 7, 1e6]) {
      using _scope = device.scope();
      using norm = new GradientNorm(device, sizes);
      const values = sizes.map((size, i) => normals(size, i).map((value) => value * (i + 1) / 50));
      const gradients = values.map((floats, i) =>
        i === 3 ? undefined : tensor(device, floats, [sizes[i]!])
      );
      norm.measure(gradients, limit);
      let total = 0;
      for (const [i, floats] of values.entries()) {
        if (i !== 3) { for (const value of floats) total += value ** 2; }
      }
      const expected = Math.sqrt(total), factor = Math.min(1, limit / (expected + 1e-6));
      const verdict = await norm.verdict();
      assertCloseTo([verdict.norm, verdict.factor], [expected, factor], {
        what: `${name} ${limit}`,
      });
      norm.apply(gradients);
      for (const [i, gradient] of gradients.entries()) {
        if (gradient === undefined || gradient.size === 0) continue;
        assertCloseTo(await gradient.readFloats(), values[i]!.map((value) => value * factor), {
          what: `${name} gradient ${i}`,
        });
      }
    }
  }
});

deviceTest(
  "the first gradient that is not finite is named, and none is changed",
  async (device) => {
    using _scope = device.scope();
    const sizes = [300, 5000, 77, 1];
    using norm = new GradientNorm(device, sizes);
    const values = sizes.map((size) => normals(size, size));
    values[1]![4999] = NaN;
    values[2]![0] = -Infinity;
    const gradients = values.map((floats) => tensor(device, floats));
    norm.measure(gradients, 1e-3);
    const verdict = norm.verdict();
    norm.apply(gradients);
    assertEquals(await gradients[0]!.readFloats(), values[0]);
    // A later measurement does not change what was asked before.
    norm.measure([undefined, undefined, gradients[2], gradients[3]]);
    assertEquals(await verdict, { norm: Infinity, factor: 1, finite: false, offender: 1 });
    assertEquals((await norm.verdict()).offender, 2);
    assertThrows(() => norm.measure(gradients, -1), RangeError, "norm of -1");
  },
);
