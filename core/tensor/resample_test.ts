import { assertEquals } from "@std/assert";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { multiply } from "./elementwise.ts";
import { checkGradients } from "./gradient_testing.ts";
import { sumRows } from "./reduction.ts";
import {
  adaptiveAvgPool2d,
  crop2d,
  resizeBicubic,
  resizeBilinear,
  resizeNearest,
} from "./resample.ts";
import { differentiate } from "./tape.ts";
import { type Tensor, tensor } from "./tensor.ts";

/** Input positions and weights of output position i; positions outside are clamped. */
type Taps = (i: number) => [index: number, weight: number][];

function resampled(
  x: ArrayLike<number>,
  [planes, h, w]: readonly [number, number, number],
  [oh, ow]: readonly [number, number],
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

const positionOf = (input: number, output: number, aligned: boolean) => (i: number) =>
  aligned ? (output > 1 ? i * (input - 1) / (output - 1) : 0) : (i + 0.5) * input / output - 0.5;

const linear = (input: number, output: number, aligned: boolean): Taps => (i) => {
  const at = Math.max(0, positionOf(input, output, aligned)(i));
  return [[Math.floor(at), 1 - at % 1], [Math.floor(at) + 1, at % 1]];
};

const cubic = (input: number, output: number, aligned: boolean): Taps => (i) => {
  const at = positionOf(input, output, aligned)(i), low = Math.floor(at), a = -0.75;
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
  const begin = Math.floor(i * input / output), end = Math.ceil((i + 1) * input / output);
  return Array.from({ length: end - begin }, (_, k) => [begin + k, 1 / (end - begin)]);
};

const near = (input: number, output: number): Taps => (i) => [[
  Math.floor(Math.fround(i * Math.fround(input / output))),
  1,
]];

const shapes: [[number, number, number, number], [number, number]][] = [
  [[1, 1, 1, 1], [1, 1]],
  [[1, 2, 1, 1], [3, 5]],
  [[1, 1, 5, 7], [5, 7]],
  [[1, 1, 2, 3], [7, 11]],
  [[2, 3, 4, 4], [8, 8]],
  [[1, 1, 6, 8], [3, 2]],
  [[1, 1, 3, 5], [25, 41]],
  [[1, 2, 13, 7], [5, 17]],
  [[1, 1, 37, 1], [1, 29]],
  [[2, 1, 9, 8], [1, 1]],
  [[1, 1, 2, 67], [2, 3]],
];

deviceTest("resizing and pooling have the gradients of their definitions", async (device) => {
  for (const [shape, size] of shapes) {
    const [b, c, h, w] = shape, [oh, ow] = size;
    const check = (
      what: string,
      operation: (x: Tensor) => Tensor,
      rows: Taps,
      columns: Taps,
    ) =>
      checkGradients(device, {
        what: `${what} [${shape}] to ${size}`,
        inputs: { x: { shape } },
        operation: ({ x }) => operation(x),
        reference: ({ x }) => resampled(x, [b * c, h, w], size, rows, columns),
      });
    for (const alignCorners of [false, true]) {
      for (
        const [name, resize, taps] of [
          ["bilinear", resizeBilinear, linear],
          ["bicubic", resizeBicubic, cubic],
        ] as const
      ) {
        await check(
          `${name} ${alignCorners}`,
          (x) => resize(x, oh, ow, { alignCorners }),
          taps(h, oh, alignCorners),
          taps(w, ow, alignCorners),
        );
      }
    }
    await check("pooling", (x) => adaptiveAvgPool2d(x, oh, ow), average(h, oh), average(w, ow));
    await check("nearest", (x) => resizeNearest(x, oh, ow), near(h, oh), near(w, ow));
  }
});

deviceTest("a crop sends its gradient back to where it was cut out", async (device) => {
  for (
    const [shape, top, left, size] of [
      [[1, 1, 1, 1], 0, 0, [1, 1]],
      [[1, 2, 5, 7], 0, 0, [3, 7]],
      [[2, 1, 5, 7], 2, 1, [3, 5]],
      [[1, 3, 8, 4], 7, 0, [1, 4]],
    ] as [[number, number, number, number], number, number, [number, number]][]
  ) {
    const [b, c, h, w] = shape;
    await checkGradients(device, {
      what: `crop ${size} at ${top}, ${left} of [${shape}]`,
      inputs: { x: { shape } },
      operation: ({ x }) => crop2d(x, top, left, ...size),
      reference: ({ x }) =>
        resampled(x, [b * c, h, w], size, (i) => [[top + i, 1]], (i) => [[left + i, 1]]),
    });
  }
});

deviceTest(
  "large images: the transposed operator is the adjoint, the same every time",
  async (device) => {
    // <dy, R x> = <R' dy, x> for every mode; sizes of masks on their way to the original image.
    for (
      const [shape, [oh, ow]] of [
        [[1, 1, 64, 64], [256, 256]],
        [[1, 2, 256, 213], [96, 80]],
        [[1, 1, 150, 256], [601, 1023]],
      ] as [[number, number, number, number], [number, number]][]
    ) {
      const count = shape.reduce((a, b) => a * b, 1), out = shape[0] * shape[1] * oh * ow;
      const values = normals(count, 1), mix = normals(out, 2);
      const x = tensor(device, values, shape), weighting = tensor(device, mix);
      for (
        const resize of [
          (t: Tensor) => resizeBilinear(t, oh, ow),
          (t: Tensor) => resizeBilinear(t, oh, ow, { alignCorners: true }),
          (t: Tensor) => resizeBicubic(t, oh, ow),
          (t: Tensor) => resizeNearest(t, oh, ow),
          (t: Tensor) => adaptiveAvgPool2d(t, oh, ow),
        ]
      ) {
        const run = async () => {
          let forward: Promise<Float32Array> | undefined;
          const { value, gradients } = differentiate(device, [x], () => {
            const y = resize(x);
            forward = y.readFloats();
            return sumRows(multiply(y.reshape(-1), weighting).reshape(-1, 1));
          });
          const y = await forward!, dx = await gradients[0]!.readFloats();
          value.dispose();
          gradients[0]!.dispose();
          return { y, dx };
        };
        const { y, dx } = await run();
        assertEquals((await run()).dx, dx);
        const inner = (a: Float32Array, b: Float32Array) => a.reduce((s, v, i) => s + v * b[i]!, 0);
        const scale = Math.sqrt(inner(y, y) * inner(mix, mix));
        assertCloseTo([inner(dx, values) / scale], [inner(y, mix) / scale], { atol: 2e-6 });
      }
      x.dispose();
      weighting.dispose();
    }
  },
);
