import { assertEquals } from "@std/assert";
import type { Device } from "../device/mod.ts";
import { deviceTest, normals } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { add, multiply } from "./elementwise.ts";
import { checkGradients } from "./gradient_testing.ts";
import { addLayerNorm, addRmsNorm, layerNorm, layerNorm2d, rmsNorm } from "./norm.ts";
import { sumRows } from "./reduction.ts";
import { differentiate } from "./tape.ts";
import { type Tensor, tensor } from "./tensor.ts";

/** Norm of every row, in double precision. */
function reference(
  kind: "layer" | "rms",
  x: Float64Array,
  columns: number,
  eps: number,
  weight?: Float64Array,
  bias?: Float64Array,
): Float64Array {
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += columns) {
    const row = x.subarray(start, start + columns);
    const mean = kind === "rms" ? 0 : row.reduce((a, b) => a + b, 0) / columns;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / columns;
    for (let c = 0; c < columns; c++) {
      y[start + c] = (row[c]! - mean) / Math.sqrt(variance + eps) * (weight?.[c] ?? 1) +
        (bias?.[c] ?? 0);
    }
  }
  return y;
}

/** The device with all cases, its other kernels with one case in three each. */
function portions<T>(
  device: Device,
  cases: readonly T[],
): { device: Device; some: readonly T[] }[] {
  return variants(device).map(({ device }, order) => ({
    device,
    some: cases.filter((_, i) => order === 0 || i % 3 === order - 1),
  }));
}

// The last ones are long rows: one load per lane and more than the registers hold.
const shapes: [number, number][] = [
  [1, 1],
  [1, 2],
  [3, 4],
  [7, 5],
  [2, 31],
  [13, 8],
  [5, 33],
  [2, 64],
  [3, 68],
  [1, 129],
  [2, 260],
  [1, 521],
];

deviceTest("layerNorm and rmsNorm have the gradients of their definition", async (device) => {
  for (const { device: variant, some } of portions(device, shapes)) {
    for (const [rows, columns] of some) {
      const affine = columns % 3 !== 0;
      const x = normals(rows * columns, 5 * columns + rows).map((value) => 2 * value + 1);
      const inputs = {
        x: { shape: [rows, columns], values: x },
        ...(affine ? { weight: { shape: [columns] }, bias: { shape: [columns] } } : {}),
      };
      await checkGradients(variant, {
        what: `layerNorm ${rows} x ${columns}`,
        inputs,
        operation: ({ x, weight, bias }) => layerNorm(x, weight, bias, 1e-2),
        // deno-lint-ignore no-explicit-any
        reference: ({ x, weight, bias }: any) => reference("layer", x, columns, 1e-2, weight, bias),
      });
      await checkGradients(variant, {
        what: `rmsNorm ${rows} x ${columns}`,
        inputs,
        // The bias is added, so that the same inputs serve both norms.
        operation: ({ x, weight, bias }) => {
          const y = rmsNorm(x, weight, 1e-2);
          return bias === undefined ? y : add(y, bias);
        },
        // deno-lint-ignore no-explicit-any
        reference: ({ x, weight, bias }: any) => reference("rms", x, columns, 1e-2, weight, bias),
      });
    }
  }
});

deviceTest("norms of sums have the gradients of both summands", async (device) => {
  for (const [rows, columns] of [[1, 3], [3, 8], [5, 37]] as const) {
    const shape = [rows, columns];
    const inputs = { x: { shape }, residual: { shape }, weight: { shape: [columns] } };
    const sum = (x: Float64Array, residual: Float64Array) => x.map((v, i) => v + residual[i]!);
    for (const [kind, operation] of [["rms", addRmsNorm], ["layer", addLayerNorm]] as const) {
      await checkGradients(device, {
        what: `${kind} ${shape}`,
        inputs,
        operation({ x, residual, weight }) {
          const both = operation === addRmsNorm
            ? addRmsNorm(x, residual, weight, 1e-3)
            : addLayerNorm(x, residual, weight, undefined, 1e-3);
          return multiply(both.sum, both.norm);
        },
        reference({ x, residual, weight }) {
          const total = sum(x, residual);
          return reference(kind, total, columns, 1e-3, weight).map((y, i) => y * total[i]!);
        },
      });
    }
  }
});

deviceTest("layerNorm2d has the gradients of its definition", async (device) => {
  const planes: [number, number, number, number][] = [
    [1, 1, 1, 1],
    [1, 2, 3, 5],
    [2, 3, 4, 4],
    [2, 17, 1, 3],
    [1, 12, 2, 2],
    [3, 5, 1, 7],
    [1, 7, 5, 12],
  ];
  for (const { device: variant, some } of portions(device, planes)) {
    for (const shape of some) {
      const [, c, h, w] = shape, pixels = h * w;
      const position = (i: number) =>
        (Math.floor(i / pixels / c) * pixels + i % pixels) * c + Math.floor(i / pixels) % c;
      const affine = c % 3 !== 0;
      await checkGradients(variant, {
        what: `layerNorm2d [${shape}]`,
        inputs: {
          x: { shape },
          ...(affine ? { weight: { shape: [c] }, bias: { shape: [c] } } : {}),
        },
        operation: ({ x, weight, bias }) => layerNorm2d(x, weight, bias, 1e-2),
        // deno-lint-ignore no-explicit-any
        reference({ x, weight, bias }: any) {
          const rows = new Float64Array(x.length);
          for (let i = 0; i < x.length; i++) rows[position(i)] = x[i]!;
          const y = reference("layer", rows, c, 1e-2, weight, bias);
          return rows.map((_, i) => y[position(i)]!);
        },
      });
    }
  }
});

const total = (x: Tensor) => sumRows(x.reshape(-1, 1));

deviceTest("every subset of gradients, many rows, the same bits every time", async (device) => {
  const [rows, columns] = [1031, 12];
  const values = normals(rows * columns, 3);
  const x = tensor(device, values, [rows, columns]);
  const planes = tensor(device, values, [1, 12, 1, rows]);
  const weight = tensor(device, normals(columns, 4)), bias = tensor(device, normals(columns, 5));
  const mix = tensor(device, normals(rows * columns, 6), [rows, columns]);
  const run = async (leaves: Tensor[], norm: () => Tensor) => {
    const { value, gradients } = differentiate(
      device,
      leaves,
      () => total(multiply(norm(), mix.reshape(-1))),
    );
    const read = await Promise.all(gradients.map((gradient) => gradient!.read()));
    for (const one of [value, ...gradients]) one!.dispose();
    return read;
  };
  const norms = {
    layer: [x, () => layerNorm(x, weight, bias, 1e-5).reshape(-1)],
    rms: [x, () => rmsNorm(x, weight, 1e-5).reshape(-1)],
    planes: [planes, () => layerNorm2d(planes, weight, bias, 1e-5).reshape(-1)],
  } as const;
  for (const [name, [input, norm]] of Object.entries(norms)) {
    const leaves = name === "rms" ? [input, weight] : [input, weight, bias];
    const all = await run(leaves, norm);
    assertEquals(await run(leaves, norm), all, name);
    for (const [i, leaf] of leaves.entries()) {
      assertEquals(await run([leaf], norm), [all[i]], `${name} ${i}`);
    }
  }
  for (const one of [x, planes, weight, bias, mix]) one.dispose();
});

deviceTest("gradients at a large mean and at huge values", async (device) => {
  // Gradients do not change when all inputs move together, and shrink as inputs grow.
  for (const { name, device: variant } of variants(device)) {
    const columns = 64, noise = normals(columns, 1), mix = normals(columns, 2);
    const gradientAt = async (values: Float32Array<ArrayBuffer>, norm: (x: Tensor) => Tensor) => {
      const x = tensor(variant, values), weighting = tensor(variant, mix);
      const { value, gradients } = differentiate(
        variant,
        [x],
        () => total(multiply(norm(x).reshape(-1), weighting)),
      );
      const read = await gradients[0]!.readFloats();
      for (const one of [x, weighting, value, gradients[0]!]) one.dispose();
      return read;
    };
    const rounded = noise.map((value) => Math.round(256 * value) / 256);
    for (
      const norm of [
        (x: Tensor) => layerNorm(x, undefined, undefined, 1e-12),
        (x: Tensor) => layerNorm2d(x.reshape(1, columns, 1, 1), undefined, undefined, 1e-12),
      ]
    ) {
      const plain = await gradientAt(rounded, norm);
      const moved = await gradientAt(rounded.map((value) => value + 1000), norm);
      const grown = await gradientAt(rounded.map((value) => value * 2 ** 50), norm);
      for (const [i, value] of plain.entries()) {
        assertEquals(Math.abs(moved[i]! - value) < 2e-5, true, `${name} moved ${i}`);
        assertEquals(Math.abs(grown[i]! * 2 ** 50 - value) < 2e-5, true, `${name} grown ${i}`);
      }
    }
  }
});
