import { assertThrows } from "@std/assert";
import { giouMonai } from "../eval/boxes.ts";
import { deviceTest, normals, testDevices } from "../kernels/kernel_testing.ts";
import { checkGradients } from "./gradient_testing.ts";
import { boxLosses } from "./loss_boxes.ts";
import { tensor } from "./tensor.ts";

/** Boxes of centre and size about the middle of the unit square or cube. */
function boxes(count: number, dims: number, seed: number): Float32Array<ArrayBuffer> {
  return normals(2 * dims * count, seed).map((value, i) =>
    i % (2 * dims) < dims ? 0.5 + 0.1 * value : 0.2 + Math.abs(value) / 4
  );
}

const corners = (box: ArrayLike<number>, dims: number) => [
  ...Array.from({ length: dims }, (_, i) => box[i]! - box[dims + i]! / 2),
  ...Array.from({ length: dims }, (_, i) => box[i]! + box[dims + i]! / 2),
];

for (const dims of [2, 3]) {
  for (const kind of ["l1", "giou"] as const) {
    deviceTest(`${kind} of boxes and its gradient, ${dims}D`, async (device) => {
      for (const count of [1, 7, 67]) {
        const width = 2 * dims;
        await checkGradients(device, {
          inputs: {
            x: { shape: [count, width], values: boxes(count, dims, 3) },
            y: { shape: [count, width], values: boxes(count, dims, 4), constant: true },
          },
          operation: ({ x, y }) => boxLosses(x, y)[kind],
          reference: ({ x, y }) =>
            Array.from({ length: count }, (_, i) => {
              const a = x.subarray(i * width, (i + 1) * width);
              const b = y.subarray(i * width, (i + 1) * width);
              return kind === "giou"
                ? 1 - giouMonai(corners(a, dims), corners(b, dims))
                : a.reduce((sum, value, n) => sum + Math.abs(value - b[n]!), 0) / width;
            }),
          step: 1e-6,
          tolerance: 5e-4,
        });
      }
    });
  }
}

Deno.test("boxes that do not pair are refused", async () => {
  const [device] = await testDevices();
  const x = tensor(device!, new Float32Array(12), [3, 4]);
  assertThrows(() => boxLosses(x, tensor(device!, new Float32Array(8), [2, 4])), RangeError);
  assertThrows(() => boxLosses(x, x.reshape(2, 6)), RangeError, "expected f32 [..., 4]");
});
