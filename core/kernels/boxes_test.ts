import { program } from "../device/mod.ts";
import { giou } from "../eval/boxes.ts";
import { empty, tensor } from "../tensor/tensor.ts";
import {
  boxCorners,
  type BoxDims,
  centreSizeGradientOf,
  giouGradientOf,
  giouOf,
  giouWgsl,
} from "./boxes.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";

/** GIoU of pairs of centre-size boxes, and its derivatives by the first. */
const pairProgram = (dims: BoxDims) =>
  program(`test giou ${dims}`, () => ({
    arrays: {
      a: { type: "f32", access: "read" },
      b: { type: "f32", access: "read" },
      value: { type: "f32", access: "read_write" },
      slope: { type: "f32", access: "read_write" },
    },
    parameters: { pairs: "u32" },
    wgsl: `${giouWgsl(dims)}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.pairs) { return; }
  var one: Box${dims};
  var other: Box${dims};
  for (var i = 0u; i < ${2 * dims}u; i++) {
    one[i] = a[id.x * ${2 * dims}u + i];
    other[i] = b[id.x * ${2 * dims}u + i];
  }
  one = corners${dims}(one);
  other = corners${dims}(other);
  value[id.x] = giou${dims}(one, other);
  let slopes = centreSizeGradient${dims}(giouGradient${dims}(one, other));
  for (var i = 0u; i < ${2 * dims}u; i++) { slope[id.x * ${2 * dims}u + i] = slopes[i]; }
}`,
    host({ a, b, value, slope }, { pairs }) {
      for (let pair = 0; pair < pairs; pair++) {
        const from = 2 * dims * pair, to = from + 2 * dims;
        const one = boxCorners(a.subarray(from, to)), other = boxCorners(b.subarray(from, to));
        value[pair] = giouOf(one, other);
        slope.set(centreSizeGradientOf(giouGradientOf(one, other)), from);
      }
    },
  }));

/** Boxes of centre and size about the middle of the unit square or cube. */
function boxes(count: number, dims: number, seed: number): Float32Array<ArrayBuffer> {
  return normals(2 * dims * count, seed).map((value, i) =>
    i % (2 * dims) < dims ? 0.5 + 0.2 * value : 0.05 + Math.abs(value) / 4
  );
}

for (const dims of [2, 3] as const) {
  deviceTest(`GIoU and its derivatives agree with differences, ${dims}D`, async (device) => {
    const pairs = 97, width = 2 * dims;
    const a = boxes(pairs, dims, 1), b = boxes(pairs, dims, 2);
    // A box inside another, one far away, and one that is the other.
    a.set([...Array(dims).fill(0.5), ...Array(dims).fill(0.75)], 0);
    b.set([...Array(dims).fill(0.5), ...Array(dims).fill(0.25)], 0);
    b.set(a.subarray(width, 2 * width).map((value, i) => i < dims ? value + 9 : value), width);
    const value = empty(device, [pairs]), slope = empty(device, [pairs * width]);
    device.dispatch(
      pairProgram(dims),
      {
        a: tensor(device, a).range,
        b: tensor(device, b).range,
        value: value.range,
        slope: slope.range,
      },
      { pairs },
      [2],
    );
    const of = (values: ArrayLike<number>, other: ArrayLike<number>) =>
      giou([...boxCorners(values)], [...boxCorners(other)]);
    const values: number[] = [], slopes: number[] = [];
    for (let from = 0; from < a.length; from += width) {
      const one = Float64Array.from(a.subarray(from, from + width));
      const other = Float64Array.from(b.subarray(from, from + width));
      values.push(of(one, other));
      for (let i = 0; i < width; i++) {
        slopes.push(
          (of(one.with(i, one[i] + 1e-6), other) - of(one.with(i, one[i] - 1e-6), other)) / 2e-6,
        );
      }
    }
    // The small numbers in the denominators are what is left of the difference.
    assertCloseTo(await value.readFloats(), values, { atol: 1e-4, nmse: 1e-7 });
    assertCloseTo(await slope.readFloats(), slopes, { atol: 1e-2, rtol: 1e-3, nmse: 1e-6 });
  });

  deviceTest(
    `GIoU of a box with itself is 1, with gradients that cancel, ${dims}D`,
    async (device) => {
      const a = tensor(device, boxes(1, dims, 5));
      const value = empty(device, [1]), slope = empty(device, [2 * dims]);
      device.dispatch(
        pairProgram(dims),
        { a: a.range, b: a.range, value: value.range, slope: slope.range },
        { pairs: 1 },
        [1],
      );
      assertCloseTo(await value.readFloats(), [1], { atol: 1e-5 });
      assertCloseTo(await slope.readFloats(), new Float64Array(2 * dims), { atol: 1e-3 });
    },
  );
}
