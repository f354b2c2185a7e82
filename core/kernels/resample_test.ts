import { assertEquals, assertThrows } from "@std/assert";
import {
  adaptiveAvgPool2d,
  crop2d,
  resizeBicubic,
  resizeBilinear,
  resizeNearest,
} from "../tensor/resample.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";

type Taps = (i: number) => [index: number, weight: number][];

/** Value by value from two lists of taps, positions outside the image clamped to its border. */
function reference(
  x: Float32Array,
  [planes, h, w]: [number, number, number],
  [oh, ow]: [number, number],
  rows: Taps,
  columns: Taps,
): Float64Array {
  const clamp = (i: number, n: number) => Math.min(Math.max(i, 0), n - 1);
  return Float64Array.from({ length: planes * oh * ow }, (_, n) => {
    const plane = Math.floor(n / oh / ow);
    let sum = 0;
    for (const [y, u] of rows(Math.floor(n / ow) % oh)) {
      for (const [c, v] of columns(n % ow)) {
        sum += u * v * x[(plane * h + clamp(y, h)) * w + clamp(c, w)]!;
      }
    }
    return sum;
  });
}

const linear = (input: number, output: number, aligned: boolean): Taps => (i) => {
  const scale = aligned ? (output > 1 ? (input - 1) / (output - 1) : 0) : input / output;
  const at = aligned ? i * scale : Math.max(0, (i + 0.5) * scale - 0.5);
  return [[Math.floor(at), 1 - at % 1], [Math.floor(at) + 1, at % 1]];
};

const cubic = (input: number, output: number, aligned: boolean): Taps => (i) => {
  const scale = aligned ? (output > 1 ? (input - 1) / (output - 1) : 0) : input / output;
  const at = aligned ? i * scale : (i + 0.5) * scale - 0.5;
  const low = Math.floor(at), a = -0.75;
  return [-1, 0, 1, 2].map((k) => {
    const d = Math.abs(at - low - k);
    return [
      low + k,
      d <= 1
        ? (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1
        : a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a,
    ];
  });
};

const average = (input: number, output: number): Taps => (i) => {
  const from = Math.floor(i * input / output), to = Math.ceil((i + 1) * input / output);
  return Array.from({ length: to - from }, (_, k) => [from + k, 1 / (to - from)]);
};

const shapes: [[number, number, number, number], [number, number]][] = [
  [[1, 1, 1, 1], [1, 1]],
  [[1, 1, 1, 1], [3, 5]],
  [[1, 2, 5, 7], [5, 7]],
  [[1, 1, 2, 3], [7, 11]],
  [[2, 3, 8, 8], [16, 16]],
  [[1, 4, 16, 16], [8, 8]],
  [[1, 1, 64, 64], [256, 256]],
  [[1, 3, 13, 17], [31, 5]],
  [[1, 1, 37, 1], [1, 29]],
  [[1, 1, 256, 192], [97, 61]],
  [[3, 1, 24, 24], [16, 16]],
  [[1, 576, 3, 3], [2, 2]],
  [[1, 1, 63, 65], [64, 64]],
  [[1, 1, 50, 40], [1, 1]],
  [[1, 1, 256, 256], [513, 331]],
];

const seeded = (shape: readonly number[]) => normals(shape.reduce((a, b) => a * b, 1), shape[2]!);

deviceTest("smooth resizing equals its definition", async (device) => {
  for (const [shape, size] of shapes) {
    const [b, c, h, w] = shape, x = seeded(shape);
    for (const alignCorners of [false, true]) {
      for (
        const [name, resize, taps] of [
          ["bilinear", resizeBilinear, linear],
          ["bicubic", resizeBicubic, cubic],
        ] as const
      ) {
        using scope = device.scope();
        const y = resize(tensor(device, x, shape), ...size, { alignCorners });
        assertEquals(y.shape, [b, c, ...size]);
        assertCloseTo(
          await scope.keep(y).readFloats(),
          reference(
            x,
            [b * c, h, w],
            size,
            taps(h, size[0], alignCorners),
            taps(w, size[1], alignCorners),
          ),
          // Positions are float32: at 256 pixels they are good to 2e-5.
          { atol: 2e-4, what: `${name} ${shape} to ${size}, ${alignCorners}`, nmse: 1e-9 },
        );
      }
    }
  }
});

deviceTest("pooling averages every window", async (device) => {
  for (const [shape, size] of shapes) {
    const [b, c, h, w] = shape, x = seeded(shape);
    using scope = device.scope();
    const y = scope.keep(adaptiveAvgPool2d(tensor(device, x, shape), ...size));
    const expected = reference(x, [b * c, h, w], size, average(h, size[0]), average(w, size[1]));
    assertCloseTo(await y.readFloats(), expected, { what: `pool ${shape} to ${size}` });
  }
});

deviceTest("nearest resizing and cropping copy values", async (device) => {
  for (const [shape, [oh, ow]] of shapes) {
    const [b, c, h, w] = shape, x = seeded(shape);
    const near = (input: number, output: number): Taps => (i) => [[
      Math.floor(Math.fround(i * Math.fround(input / output))),
      1,
    ]];
    const y = await resizeNearest(tensor(device, x, shape), oh, ow).readFloats();
    assertEquals(
      [...y],
      [...reference(x, [b * c, h, w], [oh, ow], near(h, oh), near(w, ow))],
    );
    const top = h >> 1, left = w >> 2, ch = h - top, cw = Math.max(1, (w - left) >> 1);
    const window = await crop2d(tensor(device, x, shape), top, left, ch, cw).readFloats();
    assertEquals(
      [...window],
      [...reference(x, [b * c, h, w], [ch, cw], (i) => [[top + i, 1]], (i) => [[left + i, 1]])],
    );
  }
});

deviceTest("resampling keeps large values finite, reuses memory and replays", async (device) => {
  const shape = [1, 1, 4, 4];
  const x = tensor(device, new Float32Array(16).fill(-3e38), shape);
  for (const resize of [resizeBilinear, resizeNearest, adaptiveAvgPool2d]) {
    // Windows of one value: nothing is added up that could overflow.
    const y = await resize(x, 4, 4).readFloats();
    assertEquals([...y].every((value) => value === Math.fround(-3e38)), true);
  }
  const work = () => resizeBilinear(x, 9, 6);
  for (let i = 0, created = 0; i < 2; i++) {
    using _scope = device.scope();
    work();
    if (i === 0) created = device.memory.created;
    assertEquals(device.memory.created, created);
  }
  let y: Tensor = x;
  using recording = device.record(() => {
    y = work();
  });
  const values = normals(16, 3);
  x.write(values);
  recording.replay();
  assertCloseTo(
    await y.readFloats(),
    reference(values, [1, 4, 4], [9, 6], linear(4, 9, false), linear(4, 6, false)),
  );
});

deviceTest("sizes that make no sense are refused", (device) => {
  const x = tensor(device, new Float32Array(12), [1, 1, 3, 4]);
  assertThrows(() => resizeBilinear(x, 0, 3), RangeError, "0 x 3");
  assertThrows(() => resizeBicubic(x.reshape(3, 4), 2, 2), RangeError, "[3, 4]");
  assertThrows(() => crop2d(x, 1, 0, 3, 2), RangeError, "crop");
  return Promise.resolve();
});
