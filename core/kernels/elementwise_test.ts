import { assertThrows } from "@std/assert";
import { binary, unary } from "../tensor/elementwise.ts";
import { tensor } from "../tensor/tensor.ts";
import { type Binary, binaryFunctions, type Unary, unaryFunctions } from "./elementwise.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";

const sizes = [1, 2, 63, 64, 65, 257, 4099];

deviceTest("unary functions equal their float64 definition", async (device) => {
  for (const f of Object.keys(unaryFunctions) as Unary[]) {
    for (const size of sizes) {
      const x = normals(size, size).map((value) => 4 * value);
      using scope = device.scope();
      const y = await scope.keep(unary(f, tensor(device, x))).readFloats();
      assertCloseTo(y, Float64Array.from(x, unaryFunctions[f].host), {
        atol: 1e-6,
        what: `${f} of ${size}`,
      });
    }
  }
});

deviceTest("activations saturate without NaN", async (device) => {
  const x = Float32Array.of(-1e30, -200, -90, 0, 90, 200, 1e30);
  for (const f of ["sigmoid", "tanh", "relu"] as const) {
    assertCloseTo(
      await unary(f, tensor(device, x)).readFloats(),
      Array.from(x, unaryFunctions[f].host),
      { atol: 1e-6 },
    );
  }
});

deviceTest("binary functions repeat their second operand over leading axes", async (device) => {
  for (const f of Object.keys(binaryFunctions) as Binary[]) {
    for (const [rows, columns] of [[1, 1], [3, 5], [7, 64], [65, 33]] as const) {
      const a = normals(rows * columns, 1),
        row = normals(columns, 2),
        full = normals(rows * columns, 3);
      for (const b of [row, full]) {
        const shape = b.length === columns ? [columns] : [rows, columns];
        const y = await binary(f, tensor(device, a, [rows, columns]), tensor(device, b, shape))
          .readFloats();
        assertCloseTo(
          y,
          Float64Array.from(a, (value, i) => binaryFunctions[f].host(value, b[i % b.length]!)),
          { what: f },
        );
      }
    }
  }
  assertThrows(
    () => binary("add", tensor(device, [1, 2, 3]), tensor(device, [1, 2])),
    RangeError,
    "[3] and [2]",
  );
});
