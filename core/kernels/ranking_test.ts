import { assertEquals, assertThrows } from "@std/assert";
import { argmax, topK } from "../tensor/sampling.ts";
import { tensor } from "../tensor/tensor.ts";
import { deviceTest, normals } from "./kernel_testing.ts";
import { variants } from "./variant_testing.ts";

/** Columns of a row by falling value, equal ones by rising index, what is no number last. */
function ranking(row: ArrayLike<number>): number[] {
  const order = (value: number) => Number.isNaN(value) ? -Infinity : Math.max(value, -1e300);
  return Array.from(row, (_, c) => c).sort((a, b) => {
    const x = order(row[a]!), y = order(row[b]!);
    return x === y ? a - b : y - x;
  });
}

function rowsOf<T extends ArrayLike<number> & { subarray(a: number, b: number): T }>(
  x: T,
  columns: number,
): T[] {
  return Array.from(
    { length: x.length / columns },
    (_, r) => x.subarray(r * columns, (r + 1) * columns),
  );
}

const shapes: [number, number][] = [
  [1, 1],
  [3, 2],
  [130, 4],
  [65, 7],
  [5, 8],
  [3, 9],
  [2, 31],
  [7, 32],
  [2, 33],
  [3, 63],
  [5, 64],
  [2, 65],
  [3, 100],
  [1, 127],
  [2, 128],
  [1, 129],
  [3, 256],
  [1, 257],
  [2, 1000],
  [1, 4099],
  [3, 32000],
  [1, 32007],
  [1, 100000],
];

deviceTest("argmax and topK equal a full sort", async (device) => {
  for (const [order, { name, device: variant }] of variants(device).entries()) {
    for (const [index, [rows, columns]] of shapes.entries()) {
      // The device's own variant takes all shapes, the others every third.
      if (order > 0 && index % 3 !== order - 1) continue;
      using _ = device.scope();
      // Every second shape is coarse, which makes many values equal.
      const noise = normals(rows * columns, index + 1);
      const values = index % 2 === 0 ? noise : noise.map((value) => Math.round(3 * value));
      const x = tensor(variant, values, [rows, columns]);
      const ranks = rowsOf(values, columns).map(ranking);
      const what = `${name} ${rows} x ${columns}`;
      const found = argmax(x);
      assertEquals(found.shape, [rows]);
      assertEquals([...await found.read()], ranks.map((rank) => rank[0]!), what);
      for (const k of [1, 2, 8, 9, 40, 256].filter((k) => k <= columns && k * rows <= 1024)) {
        const top = topK(x, k);
        assertEquals(
          rowsOf(await top.indices.read() as Uint32Array, k).map((row) => [...row]),
          ranks.map((rank) => rank.slice(0, k)),
          `${what} top ${k}`,
        );
        assertEquals(
          [...await top.values.readFloats()],
          ranks.flatMap((rank, r) => rank.slice(0, k).map((c) => values[r * columns + c]!)),
          `${what} top ${k}`,
        );
      }
    }
  }
});

deviceTest(
  "zeros of both signs, infinities and what is no number have their place",
  async (device) => {
    const values = [-0, 0, NaN, Infinity, -Infinity, 3e38, -3e38, 1e-40, NaN, Infinity, -0];
    for (const { name, device: variant } of variants(device)) {
      // Short rows, and the same in a row long enough for a team.
      for (const row of [values, [...values, ...new Array(100).fill(NaN)]]) {
        // Denormals may be flushed, so 1e-40 counts as a zero on some devices: leave it out.
        const x = Float32Array.from(row.filter((value) => value !== 1e-40));
        const input = tensor(variant, x, [1, x.length]);
        const expected = ranking(x);
        assertEquals([...await argmax(input).read()], [expected[0]!], name);
        assertEquals([...await topK(input, 8).indices.read()], expected.slice(0, 8), name);
        assertEquals([...await topK(input, 10).indices.read()], expected.slice(0, 10), name);
      }
      const nothing = tensor(variant, new Float32Array(70).fill(NaN), [1, 70]);
      assertEquals([...await argmax(nothing).read()], [0]);
      assertEquals([...await topK(nothing, 3).indices.read()], [0, 1, 2]);
      const bottom = tensor(variant, new Float32Array(70).fill(-Infinity), [1, 70]);
      assertEquals([...await argmax(bottom).read()], [0]);
    }
  },
);

deviceTest("ranking allocates once, replays and refuses", async (device) => {
  const x = tensor(device, normals(3 * 70, 1), [3, 70]);
  const step = () => {
    using _ = device.scope();
    argmax(x);
    topK(x, 5);
  };
  step();
  const { created } = device.memory;
  step();
  assertEquals(device.memory.created, created);
  const expected = await topK(x, 5).indices.read();
  let y = x;
  using recording = device.record(() => {
    y = topK(x, 5).indices;
  });
  recording.replay();
  assertEquals(await y.read(), expected);
  assertThrows(() => topK(x, 71), RangeError, "1 to 70");
  assertThrows(() => topK(x, 0), RangeError, "top 0");
  assertThrows(() => argmax(tensor(device, [], [3, 0])), RangeError, "one column");
});
