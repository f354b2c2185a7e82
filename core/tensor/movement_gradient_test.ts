import { assertThrows } from "@std/assert";
import { deviceTest } from "../kernels/kernel_testing.ts";
import { checkGradients } from "./gradient_testing.ts";
import {
  broadcastRows,
  concat,
  padRows,
  permute,
  scatterRows,
  slice,
  spliceRows,
} from "./movement.ts";
import { differentiate } from "./tape.ts";
import { tensor } from "./tensor.ts";

deviceTest("permutations go back by the inverse", async (device) => {
  const shape = [2, 3, 5, 7];
  for (const order of [[0, 1, 2, 3], [3, 1, 0, 2], [1, 2, 3, 0], [0, 2, 1, 3]]) {
    const to = order.map((axis) => shape[axis]!);
    await checkGradients(device, {
      what: `${order}`,
      inputs: { x: { shape } },
      operation: ({ x }) => permute(x, order),
      reference({ x }) {
        const y = new Float64Array(x.length);
        for (let at = 0; at < y.length; at++) {
          let rest = at, from = 0;
          for (let axis = 3; axis >= 0; axis--) {
            const position = rest % to[axis]!;
            rest = Math.floor(rest / to[axis]!);
            from += position * shape.slice(order[axis]! + 1).reduce((a, b) => a * b, 1);
          }
          y[at] = x[from]!;
        }
        return y;
      },
    });
  }
});

deviceTest("slices and concatenations cut and join the gradient", async (device) => {
  // [a | x[:, 1:3] | a] along axis 1.
  await checkGradients(device, {
    inputs: { x: { shape: [3, 5, 2] }, a: { shape: [3, 1, 2] } },
    operation: ({ x, a }) => concat([a, slice(x, 1, 1, 2), a], -2),
    reference: ({ x, a }) =>
      Array.from({ length: 3 }, (_, i) => {
        const own = [...a.subarray(2 * i, 2 * i + 2)];
        return [...own, ...x.subarray(10 * i + 2, 10 * i + 6), ...own];
      }).flat(),
  });
});

deviceTest("spliced rows go back to their place, rows used twice get the sum", async (device) => {
  const columns = 3;
  await checkGradients(device, {
    inputs: { x: { shape: [5, columns] }, y: { shape: [2, columns] } },
    operation: ({ x, y }) =>
      spliceRows([
        { tensor: x, start: 1, length: 2 },
        { tensor: y },
        { tensor: x, start: 2, length: 3 },
        { tensor: x, length: 0 },
      ]),
    reference: ({ x, y }) => [
      ...x.subarray(columns, 3 * columns),
      ...y,
      ...x.subarray(2 * columns, 5 * columns),
    ],
  });
});

deviceTest("padding and repetition", async (device) => {
  await checkGradients(device, {
    inputs: { x: { shape: [2, 7] } },
    operation: ({ x }) => padRows(x, 5, 3),
    reference: ({ x }) => [...x, ...new Array(21).fill(3)],
  });
  await checkGradients(device, {
    inputs: { x: { shape: [13] } },
    operation: ({ x }) => broadcastRows(x, 6),
    reference: ({ x }) => Array.from({ length: 6 }, () => [...x]).flat(),
  });
});

deviceTest("operations in place cannot be differentiated and say so", (device) => {
  const target = tensor(device, [1, 2], [2, 1]), rows = tensor(device, [3], [1, 1]);
  const index = tensor(device, Int32Array.of(0));
  assertThrows(
    () =>
      differentiate(device, [rows], () => {
        scatterRows(target, rows, index);
        return rows;
      }),
    TypeError,
    "in place",
  );
  return Promise.resolve();
});
