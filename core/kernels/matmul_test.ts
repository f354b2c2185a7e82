import { assertEquals, assertThrows } from "@std/assert";
import { matmul } from "../tensor/matmul.ts";
import { tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { productT, transposed, variants } from "./matmul_testing.ts";

/** [batch, M, N, K]: ones, primes, tile multiples and their neighbours on every axis, and the shapes of attention. */
const shapes = [
  [1, 1, 1, 1],
  [1, 1, 7, 5],
  [1, 1, 64, 64],
  [2, 2, 3, 32],
  [1, 3, 17, 33],
  [3, 4, 8, 31],
  [1, 4, 65, 128],
  [1, 5, 9, 4],
  [2, 7, 31, 13],
  [1, 8, 32, 16],
  [1, 9, 33, 17],
  [1, 16, 16, 64],
  [1, 17, 100, 36],
  [4, 31, 31, 20],
  [1, 32, 64, 8],
  [1, 33, 65, 15],
  [2, 63, 64, 88],
  [1, 65, 63, 61],
  [1, 64, 128, 48],
  [8, 50, 16, 50],
  [1, 129, 127, 72],
  [1, 130, 40, 257],
  [24, 130, 129, 20],
] as const;

deviceTest("products equal their float64 definition", async (device) => {
  for (const [name, target] of variants(device)) {
    const pending: Promise<void>[] = [];
    for (const [batch, m, n, k] of shapes) {
      const a = normals(batch * m * k, m + k), b = normals(batch * n * k, n);
      const bColumns = new Float32Array(b.length);
      const expected = new Float64Array(batch * m * n);
      for (let z = 0; z < batch; z++) {
        const own = b.subarray(z * n * k, (z + 1) * n * k);
        bColumns.set(transposed(own, n, k), z * n * k);
        expected.set(productT(a.subarray(z * m * k), own, m, n, k).map((v) => 0.5 * v), z * m * n);
      }
      using _scope = target.scope();
      const left = tensor(target, a, [batch, m, k]);
      const check = async (transposeB: boolean) => {
        const right = transposeB
          ? tensor(target, b, [batch, n, k])
          : tensor(target, bColumns, [batch, k, n]);
        const y = matmul(left, right, { transposeB, scale: 0.5 });
        assertEquals(y.shape, [batch, m, n]);
        return await y.readFloats();
      };
      for (const result of [check(true), check(false)]) {
        const what = `${name} ${[batch, m, n, k]}`;
        pending.push(result.then((y) => assertCloseTo(y, expected, { atol: 2e-5, what })));
      }
    }
    await Promise.all(pending);
  }
});

deviceTest("a right operand without leading axes serves the whole batch", async (device) => {
  for (const [name, target] of variants(device)) {
    const a = normals(2 * 3 * 5 * 12, 1), b = normals(12 * 9, 2);
    const y = matmul(tensor(target, a, [2, 3, 5, 12]), tensor(target, b, [12, 9]));
    assertEquals(y.shape, [2, 3, 5, 9]);
    assertCloseTo(await y.readFloats(), productT(a, transposed(b, 12, 9), 30, 9, 12), {
      atol: 1e-5,
      what: name,
    });
  }
});

deviceTest("a NaN behind the end of a row does not reach the row", async (device) => {
  for (const [, target] of variants(device)) {
    for (const k of [5, 6, 31, 32]) {
      for (const m of [2, 40]) {
        const a = new Float32Array(m * k).fill(1), b = new Float32Array(2 * k).fill(1);
        a.fill(NaN, k);
        b.fill(NaN, k);
        const y = await matmul(tensor(target, a, [m, k]), tensor(target, b, [2, k]), {
          transposeB: true,
        }).readFloats();
        assertEquals([y[0], y[1], y[2]], [k, NaN, NaN]);
      }
    }
  }
});

deviceTest("empty operands, refusals, and no allocation when repeated", async (device) => {
  const empty = matmul(
    tensor(device, new Float32Array(0), [0, 4]),
    tensor(device, normals(8, 1), [4, 2]),
  );
  assertEquals(empty.shape, [0, 2]);
  const zero = matmul(
    tensor(device, new Float32Array(0), [3, 0]),
    tensor(device, new Float32Array(0), [0, 2]),
  );
  assertEquals([...await zero.readFloats()], [0, 0, 0, 0, 0, 0]);
  const a = tensor(device, normals(6, 1), [2, 3]), b = tensor(device, normals(8, 1), [4, 2]);
  assertThrows(
    () => matmul(a, b),
    RangeError,
    "f32 [2, 3] by f32 [4, 2]: expected f32 [..., M, K]",
  );
  assertThrows(() => matmul(a, tensor(device, [1, 2, 3])), RangeError, "[3]");
  const c = tensor(device, normals(6, 2), [3, 2]);
  const once = () => {
    using _scope = device.scope();
    matmul(a, c);
  };
  once();
  const { created } = device.memory;
  once();
  assertEquals(device.memory.created, created);
});
