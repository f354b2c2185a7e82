import { deviceTest } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { checkGradients } from "./gradient_testing.ts";
import { softmax } from "./softmax.ts";

const cases = [
  [1, 1, 1],
  [3, 2, 1],
  [7, 5, -0.7],
  [70, 4, 0.5],
  [3, 67, 2],
  [2, 100, 0.125],
  [1, 257, 1],
] as const;

deviceTest("softmax has the gradient of its float64 definition", async (device) => {
  for (const { name, device: variant } of variants(device)) {
    for (const [rows, columns, scale] of cases) {
      await checkGradients(variant, {
        what: `${name} ${rows} x ${columns}`,
        inputs: { x: { shape: [rows, columns] } },
        operation: ({ x }) => softmax(x, { scale }),
        reference: ({ x }) =>
          Array.from({ length: rows }, (_, r) => {
            const row = [...x.subarray(r * columns, (r + 1) * columns)];
            const powers = row.map((value) => Math.exp(scale * value));
            const sum = powers.reduce((a, b) => a + b);
            return powers.map((power) => power / sum);
          }).flat(),
      });
    }
  }
});
