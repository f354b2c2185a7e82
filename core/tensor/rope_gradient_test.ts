import { assertThrows } from "@std/assert";
import { deviceTest, normals } from "../kernels/kernel_testing.ts";
import { appendRows } from "./append.ts";
import { decodeAttention } from "./decode_attention.ts";
import { checkGradients } from "./gradient_testing.ts";
import { sumRows } from "./reduction.ts";
import { rope, ropeAppend } from "./rope.ts";
import { differentiate } from "./tape.ts";
import { tensor } from "./tensor.ts";

/** Rotated heads of a view, in float64. */
function rotate(
  x: Float64Array,
  positions: readonly number[],
  { heads, headSize, offset, stride, theta }: {
    heads: number;
    headSize: number;
    offset: number;
    stride: number;
    theta: number;
  },
): number[] {
  const half = headSize / 2;
  return positions.flatMap((position, t) =>
    Array.from({ length: heads * headSize }, (_, c) => {
      const d = c % headSize, at = offset + t * stride + c;
      const angle = position * theta ** (-2 * (d % half) / headSize);
      const other = d < half ? -x[at + half]! : x[at - half]!;
      return x[at]! * Math.cos(angle) + other * Math.sin(angle);
    })
  );
}

const cases = [
  { heads: 1, headSize: 2, offset: 0, stride: 2, positions: [3], theta: 10000 },
  { heads: 3, headSize: 6, offset: 0, stride: 18, positions: [0, 1, 7, 2047, 12], theta: 10000 },
  { heads: 5, headSize: 34, offset: 0, stride: 170, positions: [5, 4, 3], theta: 500000 },
  // A part of a fused projection, with other columns before, between and after.
  { heads: 2, headSize: 4, offset: 5, stride: 21, positions: [9, 2, 1000003, 0], theta: 10000 },
] as const;

deviceTest("the gradient of rotary positions is rotated back", async (device) => {
  for (const view of cases) {
    const { heads, headSize, offset, stride, theta, positions } = view;
    const at = tensor(device, Int32Array.from(positions));
    await checkGradients(device, {
      what: JSON.stringify(view),
      inputs: { x: { shape: [positions.length, stride] } },
      operation: ({ x }) => rope({ tensor: x, offset }, at, { heads, headSize, theta }),
      reference: ({ x }) => rotate(x, positions, view),
    });
    at.dispose();
  }
});

deviceTest("what changes a cache in place is not differentiated", (device) => {
  using _scope = device.scope();
  const x = tensor(device, normals(8, 1), [1, 8]);
  const keys = tensor(device, normals(24, 2), [3, 8]),
    values = tensor(device, normals(24, 3), [3, 8]);
  const one = tensor(device, Uint32Array.of(1));
  const attempt = (body: () => unknown, name: string) =>
    assertThrows(
      () =>
        differentiate(device, [x], () => {
          body();
          return sumRows(x.reshape(-1, 1));
        }),
      TypeError,
      name,
    );
  attempt(() => ropeAppend(x, x, keys, values, one, { headSize: 4 }), "ropeAppend");
  attempt(() => appendRows(keys, x, one), "appendRows");
  attempt(
    () => decodeAttention(x, keys, values, one, { heads: 2, headSize: 4 }),
    "decodeAttention",
  );
  return Promise.resolve();
});
