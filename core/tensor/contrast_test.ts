import { assertEquals, assertThrows } from "@std/assert";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { limitedExp, pairLoss, similarities, unitRows } from "./contrast.ts";
import { checkGradients } from "./gradient_testing.ts";
import { differentiate } from "./tape.ts";
import { tensor } from "./tensor.ts";

function unitReference(x: ArrayLike<number>, columns: number): number[] {
  return Array.from({ length: x.length }, (_, i) => {
    const start = i - i % columns;
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += x[start + c]! ** 2;
    return x[i]! / Math.sqrt(sum);
  });
}

function similarityReference(
  left: ArrayLike<number>,
  right: ArrayLike<number>,
  columns: number,
  factor: number,
): number[] {
  const a = unitReference(left, columns), b = unitReference(right, columns);
  const out: number[] = [];
  for (let i = 0; i < a.length; i += columns) {
    for (let j = 0; j < b.length; j += columns) {
      let dot = 0;
      for (let c = 0; c < columns; c++) dot += a[i + c]! * b[j + c]!;
      out.push(factor * dot);
    }
  }
  return out;
}

function pairReference(logits: ArrayLike<number>, size: number): number[] {
  const choose = (at: (i: number, j: number) => number) => {
    let sum = 0;
    for (let i = 0; i < size; i++) {
      const row = Array.from({ length: size }, (_, j) => at(i, j));
      const peak = Math.max(...row);
      sum += peak + Math.log(row.reduce((all, x) => all + Math.exp(x - peak), 0)) - row[i]!;
    }
    return sum / size;
  };
  const rows = choose((i, j) => logits[i * size + j]!);
  const columns = choose((i, j) => logits[j * size + i]!);
  return [(rows + columns) / 2];
}

deviceTest("rows of length one, and their gradient", async (device) => {
  for (const { name, device: variant } of variants(device)) {
    for (const [rows, columns] of [[1, 2], [3, 5], [7, 16], [2, 131]] as const) {
      await checkGradients(variant, {
        what: `${name} ${rows} x ${columns}`,
        inputs: { x: { shape: [rows, columns] } },
        operation: ({ x }) => unitRows(x),
        reference: ({ x }) => unitReference(x, columns),
      });
    }
  }
  using _scope = device.scope();
  assertEquals([...await unitRows(tensor(device, [0, 0, 0], [1, 3])).read()], [0, 0, 0]);
});

deviceTest("a limited exponential, and no gradient where the limit acts", async (device) => {
  for (const count of [1, 67]) {
    // Away from the limit: there the central difference crosses the kink.
    const values = normals(count, 3).map((x) => Math.abs(x - 1) < 0.05 ? x + 0.2 : x);
    await checkGradients(device, {
      what: `${count} values`,
      inputs: { x: { shape: [count], values } },
      operation: ({ x }) => limitedExp(x, Math.E),
      reference: ({ x }) => Array.from(x, (value) => Math.exp(Math.min(value, 1))),
    });
  }
  const x = tensor(device, [9], [1]);
  const { value, gradients } = differentiate(device, [x], () => limitedExp(x, 100));
  assertCloseTo(await value.readFloats(), [100]);
  assertEquals([...await gradients[0]!.readFloats()], [0]);
  for (const one of [x, value, gradients[0]!]) one.dispose();
  assertThrows(
    () => limitedExp(tensor(device, [1], [1]), 0),
    RangeError,
    "expected f32 and a positive limit",
  );
});

deviceTest("similarities and their gradients", async (device) => {
  for (const [left, right, columns] of [[1, 1, 3], [3, 7, 5], [5, 2, 33]] as const) {
    await checkGradients(device, {
      what: `${left} by ${right} of ${columns}`,
      inputs: {
        left: { shape: [left, columns] },
        right: { shape: [right, columns] },
        factor: { shape: [1], values: Float32Array.of(2.5) },
      },
      operation: ({ left, right, factor }) => similarities(left, right, factor),
      reference: ({ left, right, factor }) => similarityReference(left, right, columns, factor[0]!),
    });
  }
  using _scope = device.scope();
  const of = (shape: number[]) => tensor(device, normals(shape[0]! * shape[1]!, 1), shape);
  assertThrows(
    () => similarities(of([2, 3]), of([2, 4]), of([1, 1])),
    RangeError,
    "expected [B, C], [N, C] and one value",
  );
});

deviceTest("the loss of pairs and its gradient", async (device) => {
  for (const size of [1, 2, 7, 37]) {
    await checkGradients(device, {
      what: `${size} pairs`,
      inputs: { logits: { shape: [size, size] } },
      operation: ({ logits }) => pairLoss(logits),
      reference: ({ logits }) => pairReference(logits, size),
    });
  }
  using _scope = device.scope();
  const even = pairLoss(tensor(device, new Float32Array(25), [5, 5]));
  assertCloseTo(await even.readFloats(), [Math.log(5)]);
  assertThrows(
    () => pairLoss(tensor(device, new Float32Array(6), [2, 3])),
    RangeError,
    "expected [B, B]",
  );
});
