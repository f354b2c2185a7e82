import { assertEquals, assertThrows } from "@std/assert";
import { linear, type LinearOptions, mergeLora } from "../tensor/linear.ts";
import { tensor } from "../tensor/tensor.ts";
import { weight, weightBytes } from "../tensor/weight.ts";
import { type Unary, unaryFunctions } from "./elementwise.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { limited, productT, variants } from "./matmul_testing.ts";
import type { WeightDType } from "./quantise.ts";

const dtypes: WeightDType[] = ["f32", "f16", "q8", "q4"];

/** [M, N, K]. */
const shapes = [
  [1, 1, 1],
  [1, 7, 64],
  [1, 8, 32],
  [1, 65, 96],
  [1, 130, 1056],
  [2, 9, 31],
  [2, 64, 128],
  [3, 33, 33],
  [4, 17, 40],
  [4, 40, 160],
  [5, 8, 64],
  [7, 31, 29],
  [8, 32, 32],
  [9, 41, 100],
  [15, 16, 256],
  [16, 64, 64],
  [17, 63, 36],
  [31, 5, 224],
  [33, 65, 35],
  [64, 64, 64],
  [65, 129, 96],
  [130, 66, 67],
] as const;

deviceTest(
  "linear layers equal float64 on the dequantised weight, in every dtype",
  async (device) => {
    for (const [name, target] of variants(device)) {
      const pending: Promise<void>[] = [];
      // Compiling is what takes time. Masking concerns x alone, so one dtype is enough for it.
      for (const dtype of name === "plain lanes" ? ["q4"] as const : dtypes) {
        for (const [m, n, k] of shapes) {
          if (dtype !== "f32" && k % 32 !== 0) continue;
          const x = normals(m * k, m), w = weight(target, normals(n * k, n), n, k, dtype);
          const y = linear(tensor(target, x, [m, k]), w);
          assertEquals(y.shape, [m, n]);
          const what = `${name} ${dtype} ${[m, n, k]}`;
          pending.push(
            Promise.all([y.readFloats(), w.readFloats()]).then(([values, rows]) => {
              y.dispose();
              w.dispose();
              assertCloseTo(values, productT(x, rows, m, n, k), { atol: 1e-4, nmse: 1e-12, what });
            }),
          );
        }
      }
      await Promise.all(pending);
    }
  },
);

deviceTest("tall tiles, for more work, are right too", async (device) => {
  if (device.kind === "wasm") return;
  const gpu = limited(device, { software: false });
  for (const [name, target] of [["own", device], ["gpu", gpu]] as const) {
    for (const dtype of ["f32", "q4"] as const) {
      const [m, n, k] = [161, 264, 416];
      const x = normals(m * k, 1), w = weight(target, normals(n * k, 2), n, k, dtype);
      const y = await linear(tensor(target, x, [m, k]), w).readFloats();
      assertCloseTo(y, productT(x, await w.readFloats(), m, n, k), {
        atol: 2e-4,
        nmse: 1e-12,
        what: `${name} ${dtype}`,
      });
    }
  }
});

deviceTest("weights in several parts give the same columns", async (device) => {
  for (const dtype of dtypes) {
    for (const m of [1, 20]) {
      const [n, k] = [37, 64];
      const split = limited(device, { bindingBytes: weightBytes(8, k, dtype) });
      const x = normals(m * k, 1), w = normals(n * k, 2);
      const results = [device, split].map((target) => {
        const made = weight(target, w, n, k, dtype);
        assertEquals(made.parts.length, target === split ? 5 : 1);
        return linear(tensor(target, x, [m, k]), made).readFloats();
      });
      const [expected, actual] = await Promise.all(results);
      assertCloseTo(actual!, expected!, { atol: 1e-6 });
    }
  }
});

/** act(x w^T + bias) + residual in float64. */
function expectedLayer(
  product: Float64Array,
  n: number,
  bias?: Float32Array,
  activation?: Unary,
  residual?: Float32Array,
): Float64Array {
  return product.map((value, i) => {
    if (bias !== undefined) value += bias[i % n]!;
    if (activation !== undefined) value = unaryFunctions[activation].host(value);
    return value + (residual?.[i] ?? 0);
  });
}

deviceTest("bias, activation and residual in their order", async (device) => {
  const cases: [Unary | undefined, boolean, boolean][] = [
    ["gelu", true, true],
    [undefined, true, false],
    ["relu", false, true],
    ["silu", true, false],
    ["quickGelu", false, false],
  ];
  for (const [name, target] of variants(device)) {
    for (const m of [1, 3, 30]) {
      const [n, k] = [21, 32];
      const x = normals(m * k, 1), w = normals(n * k, 2);
      const bias = normals(n, 3), residual = normals(m * n, 4);
      const made = weight(target, w, n, k), input = tensor(target, x, [1, m, k]);
      // The epilogue is the same text in all kernels: every order of it once, and the longest one everywhere.
      for (const [activation, withBias, withResidual] of m === 1 ? cases : cases.slice(0, 1)) {
        const options: LinearOptions = {
          ...(withBias ? { bias: tensor(target, bias) } : {}),
          ...(activation && { activation }),
          ...(withResidual ? { residual: tensor(target, residual, [1, m, n]) } : {}),
        };
        const y = linear(input, made, options);
        assertEquals(y.shape, [1, m, n]);
        assertCloseTo(
          await y.readFloats(),
          expectedLayer(
            productT(x, w, m, n, k),
            n,
            withBias ? bias : undefined,
            activation,
            withResidual ? residual : undefined,
          ),
          { atol: 5e-5, what: `${name} ${m} ${activation}` },
        );
        y.dispose();
      }
    }
  }
});

deviceTest("what does not fit is refused in one sentence", (device) => {
  const w = weight(device, normals(6, 1), 2, 3), x = tensor(device, normals(12, 1), [4, 3]);
  const refused = (options: LinearOptions, message: string) =>
    assertThrows(() => linear(x, w, options), RangeError, message);
  assertThrows(
    () => linear(tensor(device, [1, 2]), w),
    RangeError,
    "2 rows and 3 columns to f32 [2]",
  );
  refused({ bias: tensor(device, [1]) }, "bias has shape [1], expected [2]");
  refused({ residual: tensor(device, [1]) }, "expected 8 values");
  refused({ lora: [{ a: x, b: x, scale: 1 }] }, "[r, 3] and [2, r]");
  refused({ select: { rows: 4, first: 1 } }, "ends at 5 of 4 rows");
  refused({ into: { tensor: tensor(device, normals(8, 1), [4, 2]), firstRow: 1 } }, "room for 4");
  assertThrows(
    () => mergeLora(weight(device, normals(6, 1), 2, 3, "q8"), []),
    RangeError,
    "into a q8 weight",
  );
  assertEquals(linear(tensor(device, new Float32Array(0), [0, 3]), w).shape, [0, 2]);
  return Promise.resolve();
});
