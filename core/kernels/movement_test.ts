import { assertEquals, assertThrows } from "@std/assert";
import {
  broadcastRows,
  concat,
  fill,
  padRows,
  permute,
  reduceMean,
  reduceSum,
  scatterRows,
  slice,
  spliceRows,
} from "../tensor/movement.ts";
import { tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";

/** Index of every element of a shape. */
function* indices(shape: readonly number[]): Generator<number[]> {
  if (shape.length === 0) return yield [];
  for (let i = 0; i < shape[0]!; i++) {
    for (const rest of indices(shape.slice(1))) yield [i, ...rest];
  }
}

function at(values: ArrayLike<number>, shape: readonly number[], index: readonly number[]): number {
  return values[index.reduce((sum, one, axis) => sum * shape[axis]! + one, 0)]!;
}

const shapes = [
  [1],
  [7],
  [3, 5],
  [1, 64, 2],
  [2, 3, 4],
  [13, 1, 5],
  [2, 3, 2, 5],
  [2, 1, 3, 2, 2],
  [2, 2, 3, 1, 2, 3],
];

deviceTest("permute, slice and concat equal their definition", async (device) => {
  for (const shape of shapes) {
    const values = normals(shape.reduce((a, b) => a * b, 1), shape.length);
    const x = tensor(device, values, shape);
    const order = shape.map((_, axis) => axis).sort((a, b) =>
      (a * 7 + 3) % 5 - (b * 7 + 3) % 5 || b - a
    );
    const permuted = permute(x, order);
    const expected = [...indices(permuted.shape)].map((index) =>
      at(values, shape, shape.map((_, axis) => index[order.indexOf(axis)]!))
    );
    assertEquals([...await permuted.read()], expected);
    for (let axis = 0; axis < shape.length; axis++) {
      const start = Math.floor(shape[axis]! / 3), length = shape[axis]! - start;
      const part = slice(x, axis, start, length);
      assertEquals(
        [...await part.read()],
        [...indices(part.shape)].map((index) =>
          at(values, shape, index.with(axis, index[axis]! + start))
        ),
      );
      const whole = concat([slice(x, axis, 0, start), part, x], axis);
      assertEquals(
        [...await whole.read()],
        [...indices(whole.shape)].map((index) =>
          at(values, shape, index.with(axis, index[axis]! % shape[axis]!))
        ),
      );
    }
  }
});

deviceTest("integers move bit by bit", async (device) => {
  const x = tensor(device, Uint32Array.of(0x7fc00001, 1, 0xffffffff, 5), [2, 2]);
  assertEquals([...await permute(x, [1, 0]).read()], [0x7fc00001, 0xffffffff, 1, 5]);
});

deviceTest("rows are spliced, repeated, padded and scattered", async (device) => {
  for (const columns of [1, 3, 64, 67]) {
    const a = normals(5 * columns, 1), b = normals(2 * columns, 2);
    const rows = tensor(device, a, [5, columns]), more = tensor(device, b, [2, columns]);
    const row = (
      values: Float32Array,
      index: number,
    ) => [...values.subarray(index * columns, (index + 1) * columns)];
    assertEquals(
      [
        ...await spliceRows([{ tensor: rows, start: 3 }, { tensor: more }, {
          tensor: rows,
          start: 1,
          length: 1,
        }]).read(),
      ],
      [...row(a, 3), ...row(a, 4), ...b, ...row(a, 1)],
    );
    assertEquals([...await broadcastRows(tensor(device, row(a, 2)), 3).read()], [
      ...row(a, 2),
      ...row(a, 2),
      ...row(a, 2),
    ]);
    assertEquals([...await padRows(more, 3).read()], [...b, ...new Array(columns).fill(0)]);
    const target = fill(device, [4, columns], -1.5);
    scatterRows(target, more, tensor(device, Uint32Array.of(3, 0)));
    const blank = new Array(columns).fill(-1.5);
    assertEquals([...await target.read()], [...row(b, 1), ...blank, ...blank, ...row(b, 0)]);
    scatterRows(target, more, tensor(device, Uint32Array.of(4, 0xffffffff)));
    assertEquals([...await target.read()], [...row(b, 1), ...blank, ...blank, ...row(b, 0)]);
  }
});

deviceTest("means and sums agree with float64", async (device) => {
  for (
    const [outer, length, inner] of [[1, 1, 1], [2, 7, 3], [1, 256, 32], [3, 65, 1], [
      5,
      4,
      129,
    ]] as const
  ) {
    const values = normals(outer * length * inner, length).map((value) => value + 100);
    const sums = new Float64Array(outer * inner);
    values.forEach((value, i) =>
      sums[Math.floor(i / (length * inner)) * inner + i % inner]! += value
    );
    const x = tensor(device, values, [outer, length, inner]);
    assertCloseTo(await reduceMean(x, 1).readFloats(), sums.map((sum) => sum / length), {
      what: "mean",
    });
    assertCloseTo(await reduceSum(x, -2).readFloats(), sums, { what: "sum" });
  }
});

deviceTest("a second call in a scope creates nothing, and recordings repeat it", async (device) => {
  const x = tensor(device, normals(24, 3), [2, 3, 4]);
  const run = () => {
    using _scope = device.scope();
    permute(concat([x, x], 1), [2, 0, 1]);
  };
  run();
  const { created } = device.memory;
  run();
  assertEquals(device.memory.created, created);
  const out = fill(device, [3, 2, 4], 0);
  using recording = device.record(() => {
    using _scope = device.scope();
    const y = permute(x, [1, 0, 2]);
    device.copy(y.range, out.range, 96);
  });
  recording.replay();
  assertEquals(await out.read(), await permute(x, [1, 0, 2]).read());
});

deviceTest("shapes that do not fit are refused", (device) => {
  const x = tensor(device, normals(6, 1), [2, 3]);
  assertThrows(() => permute(x, [0, 0]), RangeError, "[2, 3]");
  assertThrows(() => slice(x, 1, 2, 2), RangeError, "axis 1");
  assertThrows(() => concat([x, tensor(device, [1, 2])], 0), RangeError, "[2]");
  assertThrows(() => concat([], 0), RangeError);
  assertThrows(() => spliceRows([{ tensor: x, start: 1, length: 2 }]), RangeError, "rows 1 to 3");
  assertThrows(() => padRows(x, 1), RangeError);
  return Promise.resolve();
});
