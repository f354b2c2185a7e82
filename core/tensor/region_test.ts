import { assertEquals, assertThrows } from "@std/assert";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { variants } from "../kernels/variant_testing.ts";
import { scale } from "./elementwise.ts";
import { checkGradients } from "./gradient_testing.ts";
import { sampleGridMean, sampleGridMeans } from "./region.ts";
import { sumRows } from "./reduction.ts";
import { differentiate } from "./tape.ts";
import { tensor } from "./tensor.ts";

type Region = readonly [image: number, first: number, count: number];

/** Every cell weighs by how near it is, which is bilinear interpolation written as a tent. */
function means(
  features: ArrayLike<number>,
  [rows, columns]: readonly [number, number],
  channels: number,
  points: ArrayLike<number>,
  regions: readonly Region[],
): Float64Array {
  const y = new Float64Array(regions.length * channels);
  for (const [region, [image, first, count]] of regions.entries()) {
    for (let p = first; p < first + count; p++) {
      for (let cell = 0; cell < rows * columns; cell++) {
        const weight = Math.max(0, 1 - Math.abs(points[2 * p]! - Math.floor(cell / columns))) *
          Math.max(0, 1 - Math.abs(points[2 * p + 1]! - cell % columns));
        for (let c = 0; c < channels; c++) {
          y[region * channels + c]! += weight / count *
            features[(image * rows * columns + cell) * channels + c]!;
        }
      }
    }
  }
  return y;
}

/** Positions around the grid, some of them beyond it. */
function pointsAround([rows, columns]: readonly [number, number], count: number, seed: number) {
  return normals(2 * count, seed).map((value, i) => {
    const extent = i % 2 === 0 ? rows : columns;
    return (extent - 1) / 2 + value / 3 * ((extent - 1) / 2 + 2);
  });
}

deviceTest("a region feature has the gradient of its definition", async (device) => {
  for (
    const [rows, columns, channels, count] of [
      [1, 1, 1, 1],
      [2, 3, 5, 1],
      [3, 2, 8, 7],
      [4, 5, 3, 31],
      [3, 3, 17, 2],
    ] as const
  ) {
    const grid = [rows, columns] as const;
    // One point more than is used.
    const points = pointsAround(grid, count + 1, count);
    await checkGradients(device, {
      what: `${grid} x ${channels} at ${count}`,
      inputs: { x: { shape: [rows * columns, channels] } },
      operation: ({ x }) => sampleGridMean(x, grid, tensor(device, points, [count + 1, 2]), count),
      reference: ({ x }) => means(x, grid, channels, points, [[0, 0, count]]),
    });
  }
});

const batches: { grid: [number, number]; channels: number; images: number; regions: Region[] }[] = [
  { grid: [1, 1], channels: 1, images: 1, regions: [[0, 0, 1]] },
  { grid: [2, 3], channels: 4, images: 3, regions: [[2, 0, 3], [0, 3, 1]] },
  { grid: [3, 2], channels: 5, images: 2, regions: [[1, 4, 2], [0, 0, 4], [1, 2, 3], [1, 6, 0]] },
  { grid: [4, 4], channels: 12, images: 1, regions: [[0, 0, 11], [0, 0, 11], [0, 5, 6]] },
];

deviceTest("regions of many images in one go, their values and gradients", async (device) => {
  for (const { device: variant } of variants(device)) {
    for (const { grid, channels, images, regions } of batches) {
      const count = Math.max(...regions.map(([, first, some]) => first + some));
      const points = pointsAround(grid, count, channels);
      await checkGradients(variant, {
        what: `${regions.length} regions of ${images} images`,
        inputs: { x: { shape: [images, grid[0] * grid[1], channels] } },
        operation: ({ x }) =>
          sampleGridMeans(
            x,
            grid,
            tensor(variant, points, [count, 2]),
            tensor(variant, Uint32Array.from(regions.flat()), [regions.length, 3]),
          ),
        reference: ({ x }) => means(x, grid, channels, points, regions),
      });
    }
  }
});

deviceTest("many regions at once equal one after the other", async (device) => {
  const grid = [24, 24] as const, channels = 68;
  const values = normals(2 * 576 * channels, 1), points = pointsAround(grid, 300, 2);
  const regions: Region[] = [[0, 0, 300], [1, 0, 1], [1, 17, 200], [0, 5, 64]];
  const x = tensor(device, values, [2, 576, channels]);
  const all = tensor(device, points, [300, 2]);
  const table = tensor(device, Uint32Array.from(regions.flat()), [4, 3]);
  const y = sampleGridMeans(x, grid, all, table);
  assertEquals(y.shape, [4, channels]);
  assertCloseTo(await y.readFloats(), means(values, grid, channels, points, regions));
  for (const one of [x, all, table, y]) one.dispose();
});

deviceTest(
  "points that are no numbers or have no gradient, tables of other shapes",
  async (device) => {
    const x = tensor(device, [1, 10, 2, 20, 3, 30, 4, 40], [4, 2]);
    const points = tensor(device, [NaN, 0, 5e9, 1, 1, 1], [3, 2]);
    const { value, gradients } = differentiate(
      device,
      [x],
      () => sumRows(sampleGridMean(x, [2, 2], points, 3).reshape(-1, 1)),
    );
    const third = Math.fround(1 / 3);
    assertEquals([...await gradients[0]!.readFloats()], [0, 0, 0, 0, 0, 0, third, third]);
    assertThrows(
      () =>
        differentiate(
          device,
          [points],
          () => sumRows(sampleGridMean(x, [2, 2], scale(points, 2), 1).reshape(-1, 1)),
        ),
      TypeError,
      "points",
    );
    const table = tensor(device, Uint32Array.of(0, 0, 1), [1, 3]);
    assertThrows(
      () => sampleGridMeans(x.reshape(1, 4, 2), [2, 2], points, table.reshape(3)),
      RangeError,
      "u32 [R, 3]",
    );
    assertThrows(() => sampleGridMeans(x, [2, 2], points, table), RangeError, "[B, 4, C]");
    const none = sampleGridMeans(
      x.reshape(1, 4, 2),
      [2, 2],
      points,
      tensor(device, new Uint32Array(0), [0, 3]),
    );
    assertEquals(none.shape, [0, 2]);
    for (const one of [x, points, table, value, gradients[0]!, none]) one.dispose();
  },
);
