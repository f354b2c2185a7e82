import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { squaredDistances } from "./distance_transform.ts";
import { maskCounts, maskDice, maskDiceMedplib, maskIou, validationIouMetric } from "./masks.ts";
import {
  averageSurfaceDistance,
  averageSymmetricSurfaceDistance,
  hausdorffDistance,
  normalisedSurfaceDistance,
  surfaceDistances,
} from "./surface.ts";
import {
  areaHausdorffDistance,
  areaSurfaceDice,
  areaWeightedDistance,
  surfaceElements,
} from "./surface_area.ts";

const shape = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 });
const masks = shape.chain((sizes) => {
  const count = sizes.reduce((a, b) => a * b, 1);
  const data = fc.uint8Array({ minLength: count, maxLength: count, max: 1 });
  return fc.record({ shape: fc.constant(sizes), a: data, b: data });
});

function place(index: number, sizes: readonly number[]): number[] {
  return sizes.map((size, axis) =>
    Math.floor(index / sizes.slice(axis + 1).reduce((a, b) => a * b, 1)) % size
  );
}

Deno.test("the distance transform equals the nearest of all marks", () => {
  fc.assert(fc.property(masks, ({ shape, a }) => {
    const spacing = [1, 0.7, 3].slice(0, shape.length);
    squaredDistances(a, shape, spacing).forEach((value, i) => {
      const here = place(i, shape);
      const nearest = Math.min(
        ...Array.from(a.keys()).filter((other) => a[other] === 1).map((other) =>
          place(other, shape).reduce(
            (sum, at, axis) => sum + ((at - here[axis]) * spacing[axis]) ** 2,
            0,
          )
        ),
      );
      if (nearest === Infinity) assertEquals(value, Infinity);
      else assertAlmostEquals(value, nearest, 1e-9);
    });
  }));
});

Deno.test("Dice follows from IoU, and equal masks have distance 0", () => {
  fc.assert(fc.property(masks, ({ shape, a, b }) => {
    const counts = maskCounts(a, b);
    const overlap = maskIou(counts, "compare");
    assertAlmostEquals(maskDice(counts, "compare"), 2 * overlap / (1 + overlap), 1e-12);
    if (counts.union > 0) {
      assertAlmostEquals(maskDiceMedplib(counts), 2 * overlap / (1 + overlap), 1e-12);
    }
    const distances = surfaceDistances({ data: a, shape }, { data: a, shape });
    const expected = a.includes(1) ? 0 : NaN;
    assertEquals(hausdorffDistance(distances), expected);
    const [there, back] = [
      surfaceDistances({ data: a, shape }, { data: b, shape }),
      surfaceDistances({ data: b, shape }, { data: a, shape }),
    ];
    assertEquals(hausdorffDistance(there, 95), hausdorffDistance(back, 95));
    assertEquals(normalisedSurfaceDistance(there, 1), normalisedSurfaceDistance(back, 1));
  }));
});

Deno.test("two voxels apart", () => {
  const data = (at: number) => Uint8Array.from({ length: 10 }, (_, i) => i === at ? 1 : 0);
  const distances = surfaceDistances({ data: data(2), shape: [2, 5] }, {
    data: data(4),
    shape: [2, 5],
  }, [1, 0.5]);
  assertEquals(averageSurfaceDistance(distances), 1);
  assertEquals(averageSymmetricSurfaceDistance(distances), 1);
  assertEquals(normalisedSurfaceDistance(distances, 0.9), 0);
  assertEquals(normalisedSurfaceDistance(distances, 1), 1);
});

Deno.test("empty masks", () => {
  const empty = { data: new Uint8Array(4), shape: [2, 2] };
  const full = { data: new Uint8Array(4).fill(1), shape: [2, 2] };
  const one = surfaceDistances(empty, full), none = surfaceDistances(empty, empty);
  assertEquals([averageSurfaceDistance(one), hausdorffDistance(one)], [Infinity, Infinity]);
  assertEquals([averageSurfaceDistance(none), hausdorffDistance(none, 95)], [NaN, NaN]);
  assertEquals(maskDice(maskCounts(full.data, empty.data)), NaN);
  assertThrows(() => surfaceDistances(full, { data: full.data, shape: [4] }), RangeError);
  assertThrows(() => maskCounts([1], [1, 0]), RangeError);
});

Deno.test("surface areas: a voxel alone is an octahedron, a block has its faces", () => {
  const voxel = { data: [1], shape: [1, 1, 1] };
  const { truth, prediction } = surfaceElements(voxel, voxel, [1, 1, 1]);
  // Eight corner triangles with an area of sqrt(3) / 8.
  assertAlmostEquals(truth.areas.reduce((a, b) => a + b, 0), Math.sqrt(3), 1e-12);
  assertEquals(areaWeightedDistance(prediction), 0);
  const cube = { data: new Uint8Array(1000).fill(1), shape: [10, 10, 10] };
  const pair = surfaceElements(cube, cube, [1, 1, 3]);
  // Inside a face every meeting point of voxels carries one unit square; each of the faces has 9 x 9 of them.
  const area = pair.truth.areas.reduce((a, b) => a + b, 0);
  assert(area > 2 * 81 * (1 + 3 + 3) && area < 2 * 100 * (1 + 3 + 3));
  assertEquals([areaSurfaceDice(pair, 1), areaHausdorffDistance(pair)], [1, 0]);
  assertThrows(
    () => surfaceElements({ data: [1], shape: [1] }, { data: [1], shape: [1] }, [1]),
    RangeError,
  );
});

Deno.test("MedPLIB's validation: gIoU, cIoU, mDice", () => {
  const metric = validationIouMetric();
  metric.add({ prediction: [1, 1, 0, 0], truth: [1, 0, 0, 0] });
  metric.add({ prediction: [0, 0, 0, 0], truth: [0, 0, 0, 0] });
  const { gIou, cIou, iou, dice } = metric.result();
  assertAlmostEquals(gIou, (0.5 + 1) / 2, 1e-4);
  assertAlmostEquals(cIou, 0.5, 1e-9);
  // An empty pair scores 0 in mDice and 1 in gIoU.
  assertEquals([iou, dice], [0.25, (2 / 3) / 2]);
});
