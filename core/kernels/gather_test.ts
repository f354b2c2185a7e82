import { assertEquals, assertThrows } from "@std/assert";
import { gatherRows } from "../tensor/gather.ts";
import { tensor } from "../tensor/tensor.ts";
import { weight, weightBytes } from "../tensor/weight.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { limited } from "./matmul_testing.ts";

/** [R, C, n]. */
const shapes = [
  [1, 1, 1],
  [2, 3, 5],
  [7, 4, 1],
  [8, 32, 8],
  [9, 33, 20],
  [31, 64, 64],
  [50, 127, 3],
] as const;

deviceTest("rows of tensors and weights are gathered, unknown ids give zeros", async (device) => {
  for (const [rows, columns, count] of shapes) {
    const values = normals(rows * columns, rows);
    const ids = Int32Array.from({ length: count }, (_, i) => (i * 5 + rows - 2) % (rows + 2) - 1);
    const small = limited(device, { bindingBytes: weightBytes(8, columns, "f32") });
    const sources = [
      tensor(device, values, [rows, columns]),
      ...(["f32", "f16", "q8", "q4"] as const).map((dtype) =>
        weight(device, values, rows, columns, dtype)
      ),
      weight(small, values, rows, columns),
    ];
    for (const source of sources) {
      const known = await source.readFloats();
      for (const index of [ids, new Uint32Array(ids)]) {
        const y = gatherRows(source, tensor(device, index));
        assertEquals(y.shape, [count, columns]);
        const expected = new Float32Array(count * columns);
        ids.forEach((id, i) => {
          if (id >= 0 && id < rows) {
            expected.set(known.subarray(id * columns, (id + 1) * columns), i * columns);
          }
        });
        assertCloseTo(await y.readFloats(), expected, { atol: 0, rtol: 1e-6 });
      }
    }
  }
});

deviceTest("gathers replay with new ids, and refuse other shapes", async (device) => {
  const table = weight(device, normals(40, 1), 10, 4, "f16"), values = await table.readFloats();
  const index = tensor(device, Int32Array.of(0));
  let y: ReturnType<typeof gatherRows> | undefined;
  using recording = device.record(() => {
    y = gatherRows(table, index);
  });
  for (const id of [3, 9]) {
    index.write(Int32Array.of(id));
    recording.replay();
    assertCloseTo(await y!.readFloats(), values.subarray(4 * id, 4 * id + 4), { atol: 0, rtol: 0 });
  }
  assertThrows(() => gatherRows(table, tensor(device, [1, 2])), RangeError, "f32 [2]");
  assertThrows(() => gatherRows(tensor(device, [1, 2]), index), RangeError, "f32 [2] by i32 [1]");
  assertEquals(gatherRows(table, tensor(device, new Int32Array(0))).shape, [0, 4]);
});
