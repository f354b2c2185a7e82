import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { weight, weightBytes, WeightWriter } from "../tensor/weight.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { limited } from "./matmul_testing.ts";
import { packedLayout, PackedReader, packRows, type WeightDType } from "./quantise.ts";

const dtypes: WeightDType[] = ["f32", "f16", "q8", "q4"];
const shapes = [
  [1, 1],
  [1, 32],
  [2, 31],
  [3, 33],
  [7, 5],
  [8, 64],
  [9, 100],
  [16, 127],
  [17, 128],
  [40, 257],
] as const;

/** Packs and unpacks on the host. */
function roundTrip(values: Float32Array, rows: number, columns: number, dtype: WeightDType) {
  const packed = packRows(values, rows, columns, dtype);
  const bytes = new Uint8Array(packed.values.length + packed.scales.length);
  bytes.set(packed.values);
  bytes.set(packed.scales, packed.values.length);
  const reader = new PackedReader(new Uint32Array(bytes.buffer), rows, columns, dtype);
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    reader.read(row, result.subarray(row * columns, (row + 1) * columns));
  }
  return result;
}

Deno.test("round trips stay within the error of the format, block by block", () => {
  for (const dtype of dtypes) {
    for (const [rows, columns] of shapes) {
      for (const size of [1e-3, 1, 300]) {
        const values = normals(rows * columns, rows + columns).map((value) => size * value);
        const result = roundTrip(values, rows, columns, dtype);
        for (let row = 0; row < rows; row++) {
          for (let from = 0; from < columns; from += 32) {
            const block = values.subarray(
              row * columns + from,
              row * columns + Math.min(columns, from + 32),
            );
            const most = block.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
            // Half a step of the format, plus the rounding of the f16 scale; in q4 the end opposite to the extreme
            // value is cut off a full step early.
            const bound = {
              f32: 0,
              f16: most * 2 ** -11 + 2 ** -25,
              q8: most / 127 * 0.5 + most * 2 ** -10 + 127 * 2 ** -25,
              q4: most / 8 * 1.01 + 8 * 2 ** -25,
            }[dtype];
            block.forEach((value, i) => {
              const error = Math.abs(result[row * columns + from + i]! - value);
              assert(error <= bound, `${dtype} ${value}: error ${error} over ${bound}`);
            });
          }
        }
      }
    }
  }
});

Deno.test("the value of largest magnitude survives 4 bits, and zeros stay zeros", () => {
  const values = new Float32Array(64);
  values[5] = -3;
  values[40] = 7;
  const result = roundTrip(values, 1, 64, "q4");
  values.forEach((value, i) => assertAlmostEquals(result[i]!, value, 1e-2));
  assertEquals(roundTrip(new Float32Array(64), 2, 32, "q8"), new Float32Array(64));
});

Deno.test("sizes are 32, 16, 8.5 and 4.5 bits per value", () => {
  const values = 4096 * 4096;
  assertEquals(dtypes.map((dtype) => 8 * weightBytes(4096, 4096, dtype) / values), [
    32,
    16,
    8.5,
    4.5,
  ]);
  assertEquals(packedLayout(9, 33, "q8"), {
    blocks: 2,
    granules: 4,
    scaleBase: 64,
    bytes: 16 * (64 + 4),
  });
});

Deno.test("values that do not fit a format are refused", () => {
  assertThrows(() => packRows(Float32Array.of(7e4), 1, 1, "f16"), RangeError, "65504");
  for (const dtype of ["q8", "q4"] as const) {
    assertThrows(() => packRows(Float32Array.of(1, NaN), 1, 2, dtype), RangeError, "not finite");
    assertThrows(() => packRows(Float32Array.of(-Infinity), 1, 1, dtype), RangeError, "not finite");
  }
  assertEquals(
    roundTrip(Float32Array.of(NaN, -Infinity, 65504), 1, 3, "f16"),
    Float32Array.of(NaN, -Infinity, 65504),
  );
});

deviceTest(
  "weights read back what was written, in any cut and in several parts",
  async (device) => {
    for (const dtype of dtypes) {
      for (const [rows, columns] of shapes) {
        const values = normals(rows * columns, 3);
        const expected = roundTrip(values, rows, columns, dtype);
        // Room for two panels per part.
        const small = limited(device, { bindingBytes: 2 * weightBytes(8, columns, dtype) });
        for (
          const [target, step] of [[device, rows], [small, 3], [small, 8], [small, 11]] as const
        ) {
          const writer = new WeightWriter(target, rows, columns, dtype);
          const starts = Array.from({ length: Math.ceil(rows / step) }, (_, i) => i * step);
          for (const row of step === 3 ? starts.reverse() : starts) {
            writer.writeRows(row, values.subarray(row * columns, (row + step) * columns));
          }
          const made = writer.finish();
          assertEquals(made.parts.length, target === device ? 1 : Math.ceil(rows / 16));
          assertCloseTo(await made.readFloats(), expected, { atol: 0, rtol: 0, what: dtype });
          made.dispose();
        }
      }
    }
  },
);

deviceTest("writers refuse what is not whole rows, past the end, or missing", async (device) => {
  const writer = new WeightWriter(device, 10, 4, "f32");
  assertThrows(() => writer.writeRows(0, new Float32Array(5)), RangeError, "5 values");
  assertThrows(() => writer.writeRows(9, new Float32Array(8)), RangeError, "from row 9");
  writer.writeRows(0, new Float32Array(36));
  assertThrows(() => writer.finish(), RangeError, "9 were written");
  assertThrows(() => weight(device, new Float32Array(5), 2, 3), RangeError, "from 5 values");
  assertThrows(
    () => weight(limited(device, { bindingBytes: 256 }), new Float32Array(64), 1, 64),
    RangeError,
    "one binding holds 256",
  );
  const empty = weight(device, new Float32Array(0), 0, 8, "q4");
  assertEquals(await empty.readFloats(), new Float32Array(0));
  await assertRejects(async () => {
    const made = weight(device, new Float32Array(8), 1, 8);
    made.dispose();
    await Promise.resolve();
    made.dispose();
  });
});
