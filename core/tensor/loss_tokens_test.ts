import { assertEquals, assertThrows } from "@std/assert";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { checkGradients } from "./gradient_testing.ts";
import { crossEntropy, type CrossEntropyOptions } from "./loss_tokens.ts";
import { differentiate } from "./tape.ts";
import { tensor } from "./tensor.ts";

type Options = Omit<CrossEntropyOptions, "weights"> & { weights?: ArrayLike<number> };

function reference(
  logits: ArrayLike<number>,
  labels: ArrayLike<number>,
  [sequences, positions, columns]: readonly [number, number, number],
  { shift = false, reduction = "mean", weights, ignore = -100 }: Options,
): number[] {
  const by = shift ? 1 : 0, sums: number[] = [];
  let kept = 0;
  for (let b = 0; b < sequences; b++) {
    let sum = 0;
    for (let s = 0; s + by < positions; s++) {
      const at = b * positions + s, label = labels[at + by]!;
      if (label === ignore) continue;
      const row = Array.from({ length: columns }, (_, c) => logits[at * columns + c]!);
      const peak = Math.max(...row);
      const total = row.reduce((all, x) => all + Math.exp(x - peak), 0);
      sum += (weights?.[at + by] ?? 1) * (peak - row[label]! + Math.log(total));
      kept++;
    }
    sums.push(sum);
  }
  if (reduction === "sequence") return sums.map((sum) => sum / (positions - by));
  return [sums.reduce((a, b) => a + b, 0) / kept];
}

/** Every fifth label is ignored, never all of them. */
const someLabels = (count: number, columns: number, ignore = -100) =>
  Int32Array.from({ length: count }, (_, i) => i % 5 === 2 ? ignore : (7 * i + 3) % columns);

const shapes: readonly (readonly [number, number, number])[] = [
  [1, 2, 1],
  [1, 2, 5],
  [2, 7, 11],
  [3, 5, 32],
  [1, 3, 129],
  [2, 3, 260],
];

deviceTest("cross-entropy and its gradient equal their float64 definition", async (device) => {
  for (const [index, shape] of shapes.entries()) {
    const [sequences, positions, columns] = shape;
    const count = sequences * positions;
    for (const shift of [false, true]) {
      for (const reduction of ["mean", "sequence"] as const) {
        const ignore = index % 2 ? -100 : -1;
        const weights = index % 3 ? undefined : normals(count, index).map(Math.abs);
        const labels = someLabels(count, columns, ignore);
        const options = { shift, reduction, ignore };
        await checkGradients(device, {
          what: `${shape} ${JSON.stringify(options)}`,
          inputs: { logits: { shape: [...shape] } },
          operation: ({ logits }) =>
            crossEntropy(logits, tensor(device, labels, [sequences, positions]), {
              ...options,
              ...(weights && { weights: tensor(device, weights, [sequences, positions]) }),
            }),
          reference: ({ logits }) =>
            reference(logits, labels, shape, { ...options, ...(weights && { weights }) }),
          tolerance: 2e-5,
        });
      }
    }
  }
});

deviceTest("every way to share rows gives the same cross-entropy", async (device) => {
  for (const { name, device: variant } of variants(device)) {
    for (const [columns, factor] of [[3, 1], [67, 200], [1024, 3], [4099, 30]] as const) {
      const shape = [1, 9, columns] as const;
      const logits = normals(9 * columns, columns).map((x) => factor * x);
      const labels = someLabels(9, columns);
      const leaf = tensor(variant, logits, [...shape]);
      const { value, gradients } = differentiate(
        variant,
        [leaf],
        () => crossEntropy(leaf, tensor(variant, labels, [1, 9])),
      );
      const what = `${name} ${columns}`;
      assertCloseTo(await value.readFloats(), reference(logits, labels, shape, {}), { what });
      const gradient = await gradients[0]!.readFloats();
      for (let s = 0; s < 9; s++) {
        const row = gradient.subarray(s * columns, (s + 1) * columns);
        // Probabilities minus a one: the sum vanishes.
        assertCloseTo([row.reduce((a, b) => a + b, 0)], [0], { what, atol: 1e-6 });
        assertEquals(row.every((x) => x === 0), labels[s] === -100);
      }
      for (const one of [leaf, value, gradients[0]!]) one.dispose();
    }
  }
});

deviceTest("nothing to learn from is NaN with a gradient of zero", async (device) => {
  const logits = tensor(device, normals(30, 1), [2, 3, 5]);
  const labels = tensor(device, new Int32Array(6).fill(-100), [2, 3]);
  const { value, gradients } = differentiate(device, [logits], () => crossEntropy(logits, labels));
  assertEquals([...await value.readFloats()], [NaN]);
  assertEquals([...await gradients[0]!.readFloats()], new Array(30).fill(0));
  const perSequence = crossEntropy(logits, labels, { reduction: "sequence", shift: true });
  assertEquals([...await perSequence.readFloats()], [0, 0]);
  for (const one of [logits, labels, value, gradients[0]!, perSequence]) one.dispose();
});

deviceTest("bad labels and logits that are not numbers make the loss NaN", async (device) => {
  using _scope = device.scope();
  for (const columns of [3, 8, 100]) {
    const loss = async (bad: (logits: Float32Array, labels: Int32Array) => void) => {
      const values = normals(2 * columns, columns), labels = Int32Array.of(1, -100);
      bad(values, labels);
      const of = crossEntropy(tensor(device, values, [2, columns]), tensor(device, labels));
      return (await of.readFloats())[0]!;
    };
    assertEquals(await loss((_, labels) => labels[0] = columns), NaN);
    assertEquals(await loss((_, labels) => labels[0] = -1), NaN);
    assertEquals(await loss((logits) => logits[2] = NaN), NaN);
    assertEquals(await loss((logits) => logits[2] = Infinity), NaN);
    assertEquals(Number.isFinite(await loss((logits) => logits[2] = -Infinity)), true);
    // Of ignored positions nothing is read.
    assertEquals(Number.isFinite(await loss((logits) => logits[columns] = NaN)), true);
  }
});

deviceTest("shapes that do not fit are refused", (device) => {
  using _scope = device.scope();
  const logits = tensor(device, new Float32Array(12), [2, 2, 3]);
  const labels = tensor(device, new Int32Array(4), [2, 2]);
  assertThrows(() => crossEntropy(logits, labels.reshape(4)), RangeError, "[4]");
  assertThrows(() => crossEntropy(logits, tensor(device, new Float32Array(4), [2, 2])), RangeError);
  const weights = tensor(device, new Float32Array(4), [4]);
  assertThrows(() => crossEntropy(logits, labels, { weights }), RangeError, "[4]");
  return Promise.resolve();
});
