import { assertEquals, assertThrows } from "@std/assert";
import { sampleGridMean } from "../tensor/region.ts";
import { tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { variants } from "./variant_testing.ts";

function reference(
  features: ArrayLike<number>,
  [rows, columns]: readonly [number, number],
  channels: number,
  points: ArrayLike<number>,
): Float64Array {
  const mean = new Float64Array(channels), count = points.length / 2;
  for (let p = 0; p < count; p++) {
    // Every cell weighs by how near it is, which is bilinear interpolation written as a tent.
    for (let r = 0; r < rows; r++) {
      for (let q = 0; q < columns; q++) {
        const weight = Math.max(0, 1 - Math.abs(points[2 * p]! - r)) *
          Math.max(0, 1 - Math.abs(points[2 * p + 1]! - q));
        if (weight === 0) continue;
        for (let c = 0; c < channels; c++) {
          mean[c]! += weight * features[(r * columns + q) * channels + c]! / count;
        }
      }
    }
  }
  return mean;
}

const cases: [number, number, number, number][] = [
  [1, 1, 1, 1],
  [1, 1, 4, 3],
  [2, 3, 5, 1],
  [3, 2, 8, 7],
  [4, 4, 33, 2],
  [4, 4, 64, 9],
  [5, 7, 12, 31],
  [7, 5, 65, 32],
  [24, 24, 16, 33],
  [24, 24, 64, 64],
  [24, 24, 31, 65],
  [8, 8, 127, 11],
  [8, 8, 128, 12],
  [8, 8, 129, 13],
  [24, 24, 256, 100],
  [24, 24, 257, 512],
  [16, 16, 1024, 128],
  [1, 24, 20, 8],
  [24, 1, 20, 8],
  [3, 3, 4096, 5],
];

deviceTest("bilinear means equal their float64 definition", async (device) => {
  for (const [order, { name, device: variant }] of variants(device).entries()) {
    for (const [index, [rows, columns, channels, count]] of cases.entries()) {
      if (order > 0 && index % 3 !== order - 1) continue;
      const features = normals(rows * columns * channels, index + 1);
      // Positions from two cells before the grid to two behind it.
      const points = normals(2 * count, index + 50).map((value, i) => {
        const extent = i % 2 === 0 ? rows : columns;
        return (extent - 1) / 2 + value / 3 * ((extent - 1) / 2 + 2);
      });
      const grid = [rows, columns] as const;
      const y = await sampleGridMean(
        tensor(variant, features, [rows * columns, channels]),
        grid,
        tensor(variant, points, [count, 2]),
        count,
      ).readFloats();
      assertCloseTo(y, reference(features, grid, channels, points), {
        what: `${name} ${rows} x ${columns} x ${channels} at ${count}`,
      });
    }
  }
});

deviceTest("no points, points on cells, beyond the grid and not numbers", async (device) => {
  const features = tensor(device, [1, 10, 2, 20, 3, 30, 4, 40], [4, 2]);
  const at = async (points: number[], count = points.length / 2) => [
    ...await sampleGridMean(
      features,
      [2, 2],
      tensor(device, points, [points.length / 2, 2]),
      count,
    ).read(),
  ];
  assertEquals(await at([]), [0, 0]);
  assertEquals(await at([1, 1], 0), [0, 0]);
  assertEquals(await at([1, 0]), [3, 30]);
  assertEquals(await at([1, 0, 0, 1]), [2.5, 25]);
  assertEquals(await at([0.5, 0.5]), [2.5, 25]);
  assertEquals(await at([-0.5, 0]), [0.5, 5]);
  assertEquals(await at([1.5, 1]), [2, 20]);
  assertEquals(await at([-1, 0, 2, 0, 5e9, -5e9, NaN, 0]), [0, 0]);
  assertThrows(
    () => sampleGridMean(features, [2, 3], tensor(device, [], [0, 2]), 0),
    RangeError,
    "2 x 3",
  );
  assertThrows(
    () => sampleGridMean(features, [2, 2], tensor(device, [], [0, 2]), 1),
    RangeError,
    "at least 1",
  );
});

deviceTest("region features allocate once and replay", async (device) => {
  const features = tensor(device, normals(36 * 8, 1), [36, 8]);
  const points = tensor(device, [1, 2, 3.5, 4.25], [2, 2]);
  const step = () => {
    using _ = device.scope();
    sampleGridMean(features, [6, 6], points, 2);
  };
  step();
  const { created } = device.memory;
  step();
  assertEquals(device.memory.created, created);
  const expected = await sampleGridMean(features, [6, 6], points, 2).read();
  let y = features;
  using recording = device.record(() => {
    y = sampleGridMean(features, [6, 6], points, 2);
  });
  recording.replay();
  assertEquals(await y.read(), expected);
});
