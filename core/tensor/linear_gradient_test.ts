import { assertEquals } from "@std/assert";
import { pretending, variants } from "../kernels/variant_testing.ts";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { unaryFunctions } from "../kernels/elementwise.ts";
import { gatherRows, rowIndex } from "./gather.ts";
import { checkGradients } from "./gradient_testing.ts";
import { linear } from "./linear.ts";
import { timesWeight } from "./linear_gradient.ts";
import { matmul } from "./matmul.ts";
import { tensor } from "./tensor.ts";
import { weight, type WeightDType } from "./weight.ts";

/** a [m, k] times b [n, k]^T, or b [k, n]. */
function product(
  a: Float64Array,
  b: Float64Array,
  m: number,
  n: number,
  k: number,
  transposed = true,
): Float64Array {
  const y = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      for (let c = 0; c < k; c++) {
        y[i * n + j]! += a[i * k + c]! * (transposed ? b[j * k + c]! : b[c * n + j]!);
      }
    }
  }
  return y;
}

deviceTest("linear layers: input, weight, bias, adapters, activation, residual", async (device) => {
  for (const { device: target, name } of variants(device)) {
    for (const [m, n, k, r] of [[1, 1, 1, 1], [3, 5, 7, 2], [2, 33, 9, 3]] as const) {
      await checkGradients(target, {
        what: `${name} ${[m, n, k]}`,
        inputs: {
          x: { shape: [m, k] },
          w: { shape: [n, k], weight: "f32" },
          bias: { shape: [n] },
          a: { shape: [r, k] },
          b: { shape: [n, r] },
          residual: { shape: [m, n] },
        },
        operation: ({ x, w, bias, a, b, residual }) =>
          linear(x, w, { bias, residual, activation: "silu", lora: [{ a, b, scale: 0.5 }] }),
        reference({ x, w, bias, a, b, residual }) {
          const h = product(x, a, m, r, k);
          const update = product(h, b, m, n, r);
          return product(x, w, m, n, k).map((value, i) =>
            unaryFunctions.silu.host(value + bias[i % n]! + 0.5 * update[i]!) + residual[i]!
          );
        },
      });
    }
  }
});

deviceTest("a residual without activation takes no step of its own", async (device) => {
  const [m, n, k] = [5, 6, 4];
  await checkGradients(device, {
    inputs: {
      x: { shape: [m, k] },
      w: { shape: [n, k], weight: "f32" },
      residual: { shape: [m, n] },
    },
    operation: ({ x, w, residual }) => linear(x, w, { residual }),
    reference: ({ x, w, residual }) =>
      product(x, w, m, n, k).map((value, i) => value + residual[i]!),
  });
});

deviceTest("frozen weights in every dtype pass the gradient of their values on", async (device) => {
  for (const dtype of ["f32", "f16", "q8", "q4"] as WeightDType[]) {
    for (const [m, n, k] of [[1, 1, 32], [3, 13, 37], [2, 8, 65]] as const) {
      await checkGradients(device, {
        what: `${dtype} ${[m, n, k]}`,
        inputs: { x: { shape: [m, k] }, w: { shape: [n, k], weight: dtype, constant: true } },
        operation: ({ x, w }) => linear(x, w),
        reference: ({ x, w }) => product(x, w, m, n, k),
      });
    }
  }
});

deviceTest("weights in several parts sum over all of their rows", async (device) => {
  const [m, n, k] = [3, 37, 64];
  const target = pretending(device, { bindingBytes: 16 * 64 * 4, bufferBytes: 16 * 64 * 4 });
  const values = normals(n * k, 1), g = normals(m * n, 2);
  const w = weight(target, values, n, k);
  assertEquals(w.parts.length, 3);
  const y = timesWeight(tensor(device, g, [m, n]), w);
  const expected = product(Float64Array.from(g), Float64Array.from(values), m, k, n, false);
  assertCloseTo(await y.readFloats(), expected, { atol: 1e-4, nmse: 1e-12 });
});

deviceTest("batched products, with a right operand per batch entry or shared", async (device) => {
  for (const [batch, m, n, k] of [[1, 1, 1, 1], [2, 3, 5, 7], [3, 4, 2, 9]] as const) {
    for (const transposeB of [false, true]) {
      for (const shared of [false, true]) {
        await checkGradients(device, {
          what: `${[batch, m, n, k]} ${transposeB} ${shared}`,
          inputs: {
            a: { shape: [batch, m, k] },
            b: { shape: [...(shared ? [] : [batch]), ...(transposeB ? [n, k] : [k, n])] },
          },
          operation: ({ a, b }) => matmul(a, b, { transposeB, scale: 0.3 }),
          reference: ({ a, b }) =>
            Array.from({ length: batch }, (_, z) => {
              const left = a.subarray(z * m * k, (z + 1) * m * k);
              const right = shared ? b : b.subarray(z * k * n, (z + 1) * k * n);
              return [...product(left, right, m, n, k, transposeB)].map((value) => 0.3 * value);
            }).flat(),
        });
      }
    }
  }
});

deviceTest("gathered rows: repeated indices sum, those outside are dropped", async (device) => {
  for (const [rows, columns] of [[1, 1], [5, 7], [11, 8]] as const) {
    const index = Int32Array.from([0, 3, -1, 3, 0, 3, 99, 4, 0].map((i) => i % (rows + 3)));
    // The one index is linked on the device, the other on the host.
    for (
      const [kind, make] of [["weight", tensor], ["tensor", tensor], ["tensor", rowIndex]] as const
    ) {
      await checkGradients(device, {
        what: `${kind} ${[rows, columns]} ${make.name}`,
        inputs: {
          table: {
            shape: [rows, columns],
            ...(kind === "weight" ? { weight: "f32" as const } : {}),
          },
        },
        operation: ({ table }) => gatherRows(table, make(device, index)),
        reference: ({ table }) =>
          [...index].flatMap((row) =>
            Array.from(
              { length: columns },
              (_, c) => row >= 0 && row < rows ? table[row * columns + c]! : 0,
            )
          ),
      });
    }
  }
});
