import { assertEquals, assertThrows } from "@std/assert";
import { giouMonai } from "../eval/boxes.ts";
import { deviceTest, normals, testDevices } from "../kernels/kernel_testing.ts";
import { scale } from "./elementwise.ts";
import { checkGradients } from "./gradient_testing.ts";
import { boxGiou, boxLoss, boxLosses } from "./loss_boxes.ts";
import { differentiate } from "./tape.ts";
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

/** l1 * mean |a - b| + giou * (1 - GIoU) of centre-size boxes or corners. */
function reference(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { l1, giou, centred = true }: { l1: number; giou: number; centred?: boolean },
): number {
  const dims = a.length / 2,
    of = (box: ArrayLike<number>) => centred ? corners(box, dims) : [...Array.from(box)];
  const sum = Array.from(a).reduce((all, x, i) => all + Math.abs(x - b[i]!), 0);
  return l1 * sum / a.length + (giou === 0 ? 0 : giou * (1 - giouMonai(of(a), of(b))));
}

for (const dims of [2, 3]) {
  const width = 2 * dims;
  const rowsOf = (x: Float64Array) =>
    Array.from({ length: x.length / width }, (_, i) => x.subarray(i * width, (i + 1) * width));

  for (const kind of ["l1", "giou"] as const) {
    deviceTest(`${kind} of boxes and its gradient, ${dims}D`, async (device) => {
      for (const count of [1, 7, 67]) {
        await checkGradients(device, {
          inputs: {
            x: { shape: [count, width], values: boxes(count, dims, 3) },
            y: { shape: [count, width], values: boxes(count, dims, 4), constant: true },
          },
          operation: ({ x, y }) => boxLosses(x, y)[kind],
          reference({ x, y }) {
            const targets = rowsOf(y), weights = { l1: 0, giou: 0, [kind]: 1 };
            return rowsOf(x).map((a, i) => reference(a, targets[i]!, weights));
          },
          step: 1e-6,
          tolerance: 5e-4,
        });
      }
    });
  }

  deviceTest(`all pairs of boxes and the sums of their gradients, ${dims}D`, async (device) => {
    for (const [count, others] of [[1, 1], [3, 5], [13, 7]] as const) {
      for (const format of ["centre-size", "corners"] as const) {
        const centred = format === "centre-size";
        const made = (n: number, seed: number) => {
          const values = boxes(n, dims, seed);
          return centred ? values : Float32Array.from(
            rowsOf(Float64Array.from(values)).flatMap((box) => corners(box, dims)),
          );
        };
        await checkGradients(device, {
          what: `${count} x ${others} ${format}`,
          inputs: {
            x: { shape: [count, width], values: made(count, 5) },
            y: { shape: [others, width], values: made(others, 6), constant: true },
          },
          operation: ({ x, y }) => boxLoss(x, y, { format, pairs: "all" }),
          reference: ({ x, y }) =>
            rowsOf(x).flatMap((a) =>
              rowsOf(y).map((b) => reference(a, b, { l1: 5, giou: 2, centred }))
            ),
          step: 1e-6,
          tolerance: 1e-3,
        });
      }
    }
  });

  deviceTest(`GIoU of boxes apart, inside and equal, ${dims}D`, async (device) => {
    using _scope = device.scope();
    const box = (
      middle: number,
      side: number,
    ) => [...Array(dims).fill(middle), ...Array(dims).fill(side)];
    const x = tensor(device, [box(0.5, 0.5), box(0.5, 0.5), box(0.25, 0.5)].flat(), [3, width]);
    const y = tensor(device, [box(0.5, 0.5), box(0.5, 0.25), box(2.25, 0.5)].flat(), [3, width]);
    const giou = await boxGiou(x, y).readFloats();
    // The third pair: both boxes in a hull of 2.5 along every axis.
    const expected = [1, 0.5 ** dims, 2 * 0.5 ** dims / 2.5 ** dims - 1];
    giou.forEach((value, i) => assertEquals(Math.abs(value - expected[i]!) < 1e-5, true));
  });
}

Deno.test("boxes that do not pair are refused", async () => {
  const [device] = await testDevices();
  const x = tensor(device!, new Float32Array(12), [3, 4]);
  const two = tensor(device!, new Float32Array(8), [2, 4]);
  assertThrows(() => boxLoss(x, two), RangeError, "[2, 4]");
  assertEquals(boxLoss(x, two, { pairs: "all" }).shape, [3, 2]);
  assertThrows(
    () => boxLosses(x, tensor(device!, new Float32Array(12), [2, 6])),
    RangeError,
    "[2, 6]",
  );
  assertThrows(
    () => differentiate(device!, [x], () => boxLoss(x, scale(x, 2))),
    TypeError,
    "data",
  );
});
