import { assertEquals, assertThrows } from "@std/assert";
import {
  broadcastRows,
  concat,
  fill,
  padRows,
  permute,
  scatterRows,
  slice,
  spliceRows,
} from "../tensor/movement.ts";
import { elementCount, type Tensor, tensor } from "../tensor/tensor.ts";
import { deviceTest } from "./kernel_testing.ts";
import { variants } from "./variant_testing.ts";

/** Values that tell every position apart. */
function counting(shape: readonly number[], from = 0): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: elementCount(shape) }, (_, i) => from + i);
}

/** Calls `body` with every index of a shape, in row-major order. */
function eachIndex(shape: readonly number[], body: (index: number[]) => void): void {
  const index = shape.map(() => 0);
  for (let i = 0; i < elementCount(shape); i++) {
    body(index);
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) {
      index[axis] = 0;
    }
  }
}

function at(x: ArrayLike<number>, shape: readonly number[], index: readonly number[]): number {
  return x[shape.reduce((offset, extent, axis) => offset * extent + index[axis]!, 0)]!;
}

const permutations: [number[], number[]][] = [
  [[1], [0]],
  [[5, 7], [1, 0]],
  [[5, 7], [0, 1]],
  [[4, 8], [1, 0]],
  [[64, 32], [1, 0]],
  [[33, 65], [1, 0]],
  [[31, 1], [1, 0]],
  [[3, 12, 20], [0, 2, 1]],
  [[2, 37, 41], [0, 2, 1]],
  [[1, 1, 4], [0, 2, 1]],
  [[3, 2, 8], [0, 2, 1]],
  [[2, 37, 132], [0, 2, 1]],
  [[131, 20], [1, 0]],
  [[3, 5, 4], [1, 0, 2]],
  [[3, 5, 7], [2, 1, 0]],
  [[2, 9, 3, 8], [0, 2, 1, 3]],
  [[2, 9, 3, 5], [0, 2, 1, 3]],
  [[2, 8, 4, 4], [0, 2, 3, 1]],
  [[2, 6, 5, 16], [0, 3, 1, 2]],
  [[2, 3, 4, 5], [3, 2, 1, 0]],
  [[2, 3, 4, 5], [1, 2, 0, 3]],
  [[1, 6, 1, 4], [3, 2, 1, 0]],
  [[2, 3, 2, 4, 3], [4, 1, 3, 0, 2]],
  [[2, 3, 2, 2, 3, 4], [5, 3, 1, 4, 2, 0]],
  [[2, 4, 3, 5, 4, 8], [0, 1, 3, 2, 4, 5]],
  [[2, 2, 2, 2, 2, 2, 4], [6, 5, 4, 3, 2, 1, 0]],
  [[0, 3], [1, 0]],
];

deviceTest("permute equals indexing", async (device) => {
  for (const [order, { name, device: variant }] of variants(device).entries()) {
    if (order > 1) continue; // Movement knows no subgroups.
    for (const [shape, axes] of permutations) {
      if (axes.length > 6) {
        assertThrows(
          () => permute(tensor(variant, counting(shape), shape), axes),
          RangeError,
          "at most 6",
        );
        continue;
      }
      const x = counting(shape);
      const y = permute(tensor(variant, x, shape), axes);
      const expected: number[] = [];
      const target = axes.map((axis) => shape[axis]!);
      eachIndex(target, (index) => {
        const source: number[] = [];
        axes.forEach((axis, i) => source[axis] = index[i]!);
        expected.push(at(x, shape, source));
      });
      assertEquals(y.shape, target);
      assertEquals([...await y.read()], expected, `${name} ${shape} by ${axes}`);
    }
  }
  assertThrows(() => permute(fill(device, [2, 3], 0), [0, 0]), RangeError, "every axis once");
});

deviceTest("concat and slice are inverse along every axis", async (device) => {
  const shapes: [number[], number][] = [
    [[1], 0],
    [[9], 0],
    [[3, 4], 0],
    [[3, 4], 1],
    [[5, 7], -1],
    [[2, 8, 4], 1],
    [[2, 3, 5], 1],
    [[2, 3, 5], -3],
    [[2, 12, 3, 4], 1],
    [[130, 65], 1],
    [[300, 260], 0],
  ];
  for (const [shape, axis] of shapes) {
    const position = axis < 0 ? axis + shape.length : axis;
    const whole = counting(shape.with(position, 3 * shape[position]!));
    const x = tensor(device, whole, shape.with(position, 3 * shape[position]!));
    const extent = shape[position]!;
    for (const cuts of [[extent, extent, extent], [0, 1, 3 * extent - 1], [3 * extent]]) {
      let start = 0;
      const parts: Tensor[] = [];
      for (const length of cuts) {
        const part = slice(x, axis, start, length);
        const expected: number[] = [];
        eachIndex(
          part.shape,
          (index) =>
            expected.push(at(whole, x.shape, index.with(position, index[position]! + start))),
        );
        assertEquals([...await part.read()], expected, `slice ${shape} ${axis} ${start}`);
        parts.push(part);
        start += length;
      }
      const back = concat(parts, axis);
      assertEquals(back.shape, x.shape);
      assertEquals(await back.read(), whole, `concat ${shape} ${axis}`);
    }
  }
  const repeated = tensor(device, [1, 2]);
  assertEquals([...await concat([repeated, repeated], 0).read()], [1, 2, 1, 2]);
  assertThrows(() => slice(repeated, 0, 1, 2), RangeError, "out of range");
  assertThrows(() => slice(repeated, 1, 0, 1), RangeError, "axis 1");
  assertThrows(() => concat([], 0), RangeError, "nothing");
  assertThrows(() => concat([repeated, fill(device, [2], 0, "u32")], 0), RangeError, "u32 [2]");
});

deviceTest("every dtype keeps its bits", async (device) => {
  const words = Uint32Array.of(
    0,
    1,
    0x80000000,
    0x7fc00001,
    0xffffffff,
    0x00000001,
    0x7f800000,
    42,
  );
  for (const values of [words, new Int32Array(words.buffer), new Float32Array(words.buffer)]) {
    const x = tensor(device, values, [2, 4]);
    for (
      const y of [
        permute(permute(x, [1, 0]), [1, 0]),
        concat([slice(x, 0, 0, 1), slice(x, 0, 1, 1)], 0),
      ]
    ) {
      assertEquals(y.dtype, x.dtype);
      assertEquals(new Uint32Array((await y.read()).buffer), words);
    }
  }
  assertEquals([...await fill(device, [3], -7, "i32").read()], [-7, -7, -7]);
  assertEquals([...await fill(device, [2], 4e9, "u32").read()], [4e9, 4e9]);
  assertEquals([...await fill(device, [1, 65], 0.5).read()], new Array(65).fill(0.5));
  assertEquals((await fill(device, [0], 1).read()).length, 0);
});

deviceTest("rows splice, pad, repeat and scatter", async (device) => {
  for (const columns of [1, 3, 4, 64, 65]) {
    const a = tensor(device, counting([5, columns]), [5, columns]);
    const b = tensor(device, counting([7, columns], 1000), [7, columns]);
    const row = (values: number[]) =>
      values.flatMap((first) => Array.from({ length: columns }, (_, c) => first + c));
    const numbered = (matrix: "a" | "b", r: number) => (matrix === "a" ? 0 : 1000) + r * columns;

    const spliced = spliceRows([
      { tensor: a, length: 2 },
      { tensor: b, start: 3 },
      { tensor: a, start: 5 },
      { tensor: a, start: 1, length: 1 },
    ]);
    assertEquals(
      [...await spliced.read()],
      row([
        numbered("a", 0),
        numbered("a", 1),
        ...[3, 4, 5, 6].map((r) => numbered("b", r)),
        numbered("a", 1),
      ]),
    );
    assertEquals([...await padRows(a, 6, -1).read()], [
      ...counting([5, columns]),
      ...new Array(columns).fill(-1),
    ]);
    assertEquals([...await padRows(a, 5).read()], [...counting([5, columns])]);
    assertEquals(
      [...await broadcastRows(slice(b, 0, 6, 1).reshape(columns), 3).read()],
      row([6, 6, 6].map((r) => numbered("b", r))),
    );
    const target = fill(device, [4, columns], 0);
    scatterRows(target, a, tensor(device, Int32Array.of(2, -1, 0, 4, 3)));
    assertEquals([...await target.read()], [
      ...row([numbered("a", 2)]),
      ...new Array(columns).fill(0),
      ...row([numbered("a", 0), numbered("a", 4)]),
    ]);
    assertThrows(() => spliceRows([{ tensor: a, start: 4, length: 2 }]), RangeError, "4 to 6");
    assertThrows(() => padRows(a, 4), RangeError, "4 rows");
    assertThrows(() => broadcastRows(a, 2), RangeError, "[C]");
    assertThrows(
      () => scatterRows(target, a, tensor(device, Int32Array.of(1))),
      RangeError,
      "into",
    );
  }
});

deviceTest("movement allocates once and replays", async (device) => {
  const x = tensor(device, counting([8, 6]), [8, 6]);
  const step = () =>
    spliceRows([{ tensor: permute(permute(x, [1, 0]), [1, 0]), start: 2 }, {
      tensor: padRows(x, 9),
      start: 7,
    }]);
  const run = () => {
    using _ = device.scope();
    step();
  };
  run();
  const { created } = device.memory;
  run();
  assertEquals(device.memory.created, created);
  let y = x;
  using recording = device.record(() => {
    y = step();
  });
  recording.replay();
  const values = [...counting([8, 6])];
  assertEquals([...await y.read()], [...values.slice(12), ...values.slice(42), 0, 0, 0, 0, 0, 0]);
});
