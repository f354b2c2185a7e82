import { assertEquals, assertThrows } from "@std/assert";
import { addLayerNorm, addRmsNorm, layerNorm, layerNorm2d, rmsNorm } from "../tensor/norm.ts";
import { tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { variants } from "./variant_testing.ts";

interface Scales {
  weight?: Float32Array | undefined;
  bias?: Float32Array | undefined;
}

function reference(
  kind: "layer" | "rms",
  x: ArrayLike<number>,
  columns: number,
  eps: number,
  { weight, bias }: Scales,
): Float64Array {
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += columns) {
    const row = Array.from({ length: columns }, (_, c) => x[start + c]!);
    const mean = kind === "rms" ? 0 : row.reduce((a, b) => a + b, 0) / columns;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / columns;
    row.forEach((value, c) => {
      y[start + c] = (value - mean) / Math.sqrt(variance + eps) * (weight?.[c] ?? 1) +
        (bias?.[c] ?? 0);
    });
  }
  return y;
}

const shapes: [number, number][] = [
  [1, 1],
  [1, 2],
  [3, 4],
  [5, 7],
  [65, 8],
  [1, 31],
  [2, 32],
  [7, 33],
  [3, 64],
  [2, 65],
  [130, 12],
  [3, 127],
  [2, 128],
  [1, 129],
  [2, 257],
  [5, 768],
  [3, 1000],
  [2, 1024],
  [1, 1408],
  [2, 4096],
  [1, 4099],
  [1, 9216],
];

deviceTest("layerNorm and rmsNorm equal their float64 definition", async (device) => {
  for (const [order, { name, device: variant }] of variants(device).entries()) {
    for (const [index, [rows, columns]] of shapes.entries()) {
      // The device's own variant takes all shapes, the others every third.
      if (order > 0 && index % 3 !== order - 1) continue;
      using scope = device.scope();
      const x = normals(rows * columns, 1 + index).map((value) => 3 * value + 0.5);
      const weight = index % 3 === 0 ? undefined : normals(columns, 2);
      const bias = index % 4 === 0 ? undefined : normals(columns, 3);
      const input = tensor(variant, x, [rows, columns]);
      const w = weight && tensor(variant, weight), b = bias && tensor(variant, bias);
      const layer = scope.keep(layerNorm(input, w, b, 1e-5));
      const rms = scope.keep(rmsNorm(input, w, 1e-6));
      const what = `${name} ${rows} x ${columns}`;
      const read = [layer.readFloats(), rms.readFloats()];
      assertCloseTo(await read[0]!, reference("layer", x, columns, 1e-5, { weight, bias }), {
        what,
      });
      assertCloseTo(await read[1]!, reference("rms", x, columns, 1e-6, { weight }), { what });
      layer.dispose();
      rms.dispose();
    }
  }
});

deviceTest("sums and their norms come together", async (device) => {
  for (const { name, device: variant } of variants(device)) {
    for (const [rows, columns] of [[1, 3], [3, 64], [2, 257], [5, 1024]] as const) {
      const a = normals(rows * columns, 4), b = normals(rows * columns, 5);
      const weight = normals(columns, 6), bias = normals(columns, 7);
      const shape = [rows, columns];
      const x = tensor(variant, a, shape), residual = tensor(variant, b, shape);
      const total = a.map((value, i) => value + b[i]!);
      const rms = addRmsNorm(x, residual, tensor(variant, weight), 1e-6);
      const layer = addLayerNorm(x, residual, tensor(variant, weight), tensor(variant, bias), 1e-5);
      assertEquals(await rms.sum.read(), total, name);
      assertEquals(await layer.sum.read(), total, name);
      assertCloseTo(
        await rms.norm.readFloats(),
        reference("rms", total, columns, 1e-6, { weight }),
      );
      assertCloseTo(
        await layer.norm.readFloats(),
        reference("layer", total, columns, 1e-5, { weight, bias }),
      );
    }
  }
});

deviceTest("layerNorm2d normalises channels", async (device) => {
  const planes: [number, number, number, number][] = [
    [1, 1, 1, 1],
    [1, 2, 3, 5],
    [2, 3, 4, 4],
    [1, 64, 7, 7],
    [2, 17, 5, 8],
    [1, 256, 16, 16],
    [3, 33, 1, 31],
  ];
  for (const { name, device: variant } of variants(device)) {
    for (const [b, c, h, w] of planes) {
      const size = b * c * h * w, pixels = h * w;
      const x = normals(size, c + h).map((value) => value + 100);
      const weight = c % 2 === 0 ? normals(c, 8) : undefined;
      const bias = c % 3 === 0 ? undefined : normals(c, 9);
      const y = await layerNorm2d(
        tensor(variant, x, [b, c, h, w]),
        weight && tensor(variant, weight),
        bias && tensor(variant, bias),
        1e-6,
      ).readFloats();
      const position = (i: number) =>
        (Math.floor(i / pixels / c) * pixels + i % pixels) * c + Math.floor(i / pixels) % c;
      const rows = new Float64Array(size);
      for (let i = 0; i < size; i++) rows[position(i)] = x[i]!;
      const expected = reference("layer", rows, c, 1e-6, { weight, bias });
      assertCloseTo(y, Float64Array.from(y, (_, i) => expected[position(i)]!), {
        what: `${name} [${b}, ${c}, ${h}, ${w}]`,
        atol: 2e-5,
      });
    }
  }
});

deviceTest("a large mean, an outlier and huge or tiny values lose nothing", async (device) => {
  for (const { name, device: variant } of variants(device)) {
    for (const columns of [64, 1000, 9216]) {
      const noise = normals(columns, columns);
      const cases: [string, Float32Array<ArrayBuffer>][] = [
        ["mean 1000, deviation 0.01", noise.map((value) => 1000 + 0.014 * value)],
        ["an outlier", noise.map((value, i) => i === 0 ? 1000 : value)],
        ["huge", noise.map((value) => 1e15 * value)],
        ["tiny", noise.map((value) => 1e-15 * value)],
        ["constant", noise.map(() => 7.3)],
      ];
      for (const [what, x] of cases) {
        const expected = reference("layer", x, columns, 1e-12, {});
        assertCloseTo(
          await layerNorm(tensor(variant, x), undefined, undefined, 1e-12).readFloats(),
          expected,
          { what: `${name} ${columns} ${what}`, atol: 2e-5, rtol: 2e-5 },
        );
        if (columns > 64) continue;
        assertCloseTo(
          await layerNorm2d(tensor(variant, x, [1, columns, 1, 1]), undefined, undefined, 1e-12)
            .readFloats(),
          expected,
          { what: `${name} plane ${what}`, atol: 2e-5, rtol: 2e-5 },
        );
      }
    }
  }
});

deviceTest("norms allocate once, replay, take nothing and refuse wrong shapes", async (device) => {
  const x = tensor(device, normals(6 * 40, 1), [6, 40]), weight = tensor(device, normals(40, 2));
  const step = () => {
    using _ = device.scope();
    addRmsNorm(layerNorm(x, weight, weight, 1e-5), x, weight, 1e-5);
    layerNorm2d(x.reshape(1, 6, 5, 8), undefined, undefined, 1e-5);
  };
  step();
  const { created } = device.memory;
  step();
  assertEquals(device.memory.created, created);

  const expected = await rmsNorm(x, weight, 1e-5).read();
  let y = x;
  using recording = device.record(() => {
    y = rmsNorm(x, weight, 1e-5);
  });
  recording.replay();
  assertEquals(await y.read(), expected);

  assertEquals(rmsNorm(tensor(device, [], [0, 40]), weight, 1e-5).shape, [0, 40]);
  assertThrows(() => layerNorm(x, tensor(device, [1]), undefined, 1e-5), RangeError, "[40]");
  assertThrows(() => addRmsNorm(x, weight, undefined, 1e-5), RangeError, "equal shapes");
  assertThrows(() => layerNorm2d(x, undefined, undefined, 1e-5), RangeError, "[B, C, H, W]");
});
