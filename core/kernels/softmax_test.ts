import { assertEquals, assertThrows } from "@std/assert";
import { softmax } from "../tensor/softmax.ts";
import { tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { variants } from "./variant_testing.ts";

function reference(x: ArrayLike<number>, columns: number, scale: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += columns) {
    const row = Array.from({ length: columns }, (_, c) => scale * x[start + c]!);
    const peak = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const exponentials = row.map((value) => Math.exp(value - peak));
    const sum = exponentials.reduce((a, b) => a + b, 0);
    exponentials.forEach((value, c) => y[start + c] = value / sum);
  }
  return y;
}

const shapes: [number, number][] = [
  [1, 1],
  [3, 2],
  [130, 4],
  [7, 5],
  [65, 8],
  [2, 31],
  [3, 32],
  [5, 33],
  [2, 63],
  [3, 64],
  [1, 65],
  [4, 100],
  [2, 127],
  [3, 128],
  [1, 129],
  [5, 577],
  [2, 1000],
  [2, 1024],
  [1, 1025],
  [3, 4096],
  [1, 32007],
  [1, 100000],
];

deviceTest("softmax equals its float64 definition", async (device) => {
  for (const [order, { name, device: variant }] of variants(device).entries()) {
    for (const [index, [rows, columns]] of shapes.entries()) {
      // The device's own variant takes all shapes, the others every third.
      if (order > 0 && index % 3 !== order - 1) continue;
      using _ = device.scope();
      const x = normals(rows * columns, 1 + index).map((value) => 4 * value);
      const scale = [1, 0.125, -0.7][index % 3]!;
      const y = await softmax(tensor(variant, x, [rows, columns]), { scale }).readFloats();
      assertCloseTo(y, reference(x, columns, scale), {
        what: `${name} ${rows} x ${columns}`,
        atol: 1e-7,
        rtol: 2e-5,
      });
    }
  }
});

deviceTest("masked, huge and constant rows stay distributions", async (device) => {
  for (const { name, device: variant } of variants(device)) {
    for (const columns of [4, 5, 64, 333]) {
      const noise = normals(columns, columns);
      const cases: [string, Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>][] = [
        ["masked", noise.map((v, i) => i % 2 ? -1e30 : v), noise.map((v, i) => i % 2 ? -1e30 : v)],
        ["masked throughout", noise.map(() => -3e38), noise.map(() => 0)],
        ["infinite masks", noise.map(() => -Infinity), noise.map(() => 0)],
        [
          "some infinite masks",
          noise.map((v, i) => i % 3 ? -Infinity : v),
          noise.map((v, i) => i % 3 ? -1e38 : v),
        ],
        [
          "one huge",
          noise.map((_, i) => i === 1 ? 3e38 : -3e38),
          noise.map((_, i) => i === 1 ? 1000 : 0),
        ],
      ];
      for (const [what, x, equivalent] of cases) {
        assertCloseTo(
          await softmax(tensor(variant, x)).readFloats(),
          reference(equivalent, columns, 1),
          { what: `${name} ${columns} ${what}` },
        );
      }
      const poisoned = await softmax(tensor(variant, noise.with(columns - 1, NaN))).readFloats();
      assertEquals(poisoned.every(Number.isNaN), true, `${name} ${columns} NaN`);
    }
  }
});

deviceTest("softmax allocates once, replays and refuses other dtypes", async (device) => {
  const x = tensor(device, normals(6 * 40, 1), [6, 40]);
  const step = () => {
    using _ = device.scope();
    softmax(x);
  };
  step();
  const { created } = device.memory;
  step();
  assertEquals(device.memory.created, created);
  const expected = await softmax(x).read();
  let y = x;
  using recording = device.record(() => {
    y = softmax(x);
  });
  recording.replay();
  assertEquals(await y.read(), expected);
  assertEquals(softmax(tensor(device, [], [3, 0])).shape, [3, 0]);
  assertThrows(() => softmax(tensor(device, Uint32Array.of(1))), RangeError, "u32");
  assertThrows(() => softmax(x, { scale: Infinity }), RangeError, "finite");
});
