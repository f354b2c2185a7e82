import { assertEquals, assertThrows } from "@std/assert";
import { appendRows } from "../tensor/append.ts";
import { rope, ropeAppend } from "../tensor/rope.ts";
import { tensor } from "../tensor/tensor.ts";
import { assertCloseTo, deviceTest, normals } from "./kernel_testing.ts";
import { pretending } from "./variant_testing.ts";

function reference(
  x: Float32Array,
  positions: ArrayLike<number>,
  headSize: number,
  theta = 10000,
): Float64Array {
  const output = Float64Array.from(x);
  const half = headSize / 2, width = x.length / positions.length;
  for (let at = 0; at < x.length; at++) {
    const i = at % width % headSize;
    if (i >= half) continue;
    const angle = positions[Math.floor(at / width)]! * theta ** (-2 * i / headSize);
    output[at] = x[at]! * Math.cos(angle) - x[at + half]! * Math.sin(angle);
    output[at + half] = x[at + half]! * Math.cos(angle) + x[at]! * Math.sin(angle);
  }
  return output;
}

const positionSets = [[0], [1], [4095], [0, 1, 2, 3, 4], [17, 5, 2047, 2048, 4096, 65535, 1000003]];

deviceTest("rotary positions are exact far out", async (device) => {
  for (
    const [heads, headSize, theta] of [
      [1, 2, 10000],
      [3, 6, 10000],
      [2, 64, 500000],
      [4, 128, 10000],
      [1, 80, 10000],
      [1, 128, 1],
    ] as const
  ) {
    for (const positions of positionSets) {
      using scope = device.scope();
      const width = heads * headSize;
      const x = normals(positions.length * width, headSize);
      const output = await scope.keep(rope(
        tensor(device, x, [positions.length, width]),
        tensor(device, Int32Array.from(positions)),
        { headSize, theta },
      )).readFloats();
      assertCloseTo(output, reference(x, positions, headSize, theta), {
        atol: 1e-6,
        rtol: 1e-6,
        what: `rope ${headSize} at ${positions}`,
      });
    }
  }
});

deviceTest("rotary positions read a fused projection in place", async (device) => {
  const x = normals(3 * 24, 5), positions = [3, 1, 9];
  const fused = tensor(device, x, [3, 24]);
  const output = rope({ tensor: fused, offset: 8 }, tensor(device, Uint32Array.from(positions)), {
    headSize: 4,
    heads: 2,
  });
  const slice = Float32Array.from(
    { length: 24 },
    (_, i) => x[Math.floor(i / 8) * 24 + 8 + i % 8]!,
  );
  assertCloseTo(await output.readFloats(), reference(slice, positions, 4));
});

deviceTest("keys and values land in their rows of the caches", async (device) => {
  for (
    const [tokens, keyWidth, valueWidth, headSize] of [
      [1, 8, 8, 8],
      [5, 24, 24, 6],
      [3, 128, 128, 64],
      [7, 16, 5, 4],
      [2, 4, 33, 4],
    ] as const
  ) {
    using _scope = device.scope();
    const capacity = 11;
    const k = normals(tokens * keyWidth, 1), v = normals(tokens * valueWidth, 2);
    // The last one lies behind the capacity unless it is the only one.
    const positions = Uint32Array.from(
      { length: tokens },
      (_, t) => t > 0 && t === tokens - 1 ? 11 : 10 - 2 * t,
    );
    const oldKeys = normals(capacity * keyWidth, 3), oldValues = normals(capacity * valueWidth, 4);
    const keys = tensor(device, oldKeys, [capacity, keyWidth]);
    const values = tensor(device, oldValues, [capacity, valueWidth]);
    ropeAppend(
      tensor(device, k, [tokens, keyWidth]),
      tensor(device, v, [tokens, valueWidth]),
      keys,
      values,
      tensor(device, positions),
      { headSize },
    );
    const rotated = reference(k, positions, headSize);
    const expectedKeys = Float64Array.from(oldKeys), expectedValues = Float64Array.from(oldValues);
    positions.forEach((row, t) => {
      if (row >= capacity) return;
      expectedKeys.set(rotated.subarray(t * keyWidth, (t + 1) * keyWidth), row * keyWidth);
      expectedValues.set(v.subarray(t * valueWidth, (t + 1) * valueWidth), row * valueWidth);
    });
    const [actualKeys, actualValues] = [keys.readFloats(), values.readFloats()];
    assertCloseTo(await actualKeys, expectedKeys, { what: "keys" });
    assertCloseTo(await actualValues, expectedValues, { what: "values" });
  }
});

deviceTest("caches that exceed a binding are written in pieces", async (device) => {
  // 64 rows of 16 columns per piece.
  const small = pretending(device, { bindingBytes: 4096 });
  const positions = Uint32Array.of(0, 63, 64, 127, 128, 199);
  const k = normals(6 * 16, 1), v = normals(6 * 16, 2);
  const cache = () => tensor(small, new Float32Array(200 * 16), [200, 16]);
  const keys = cache(), values = cache(), appended = cache();
  const rows = tensor(small, v, [6, 16]);
  ropeAppend(tensor(small, k, [6, 16]), rows, keys, values, tensor(small, positions), {
    headSize: 8,
  });
  appendRows(appended, rows, tensor(small, Uint32Array.of(61)));
  const read = [keys.readFloats(), values.readFloats(), appended.readFloats()];
  const [actualKeys, actualValues, actualRows] = await Promise.all(read);
  const expectedKeys = new Float64Array(200 * 16), expectedValues = new Float64Array(200 * 16);
  const rotated = reference(k, positions, 8);
  positions.forEach((row, t) => {
    expectedKeys.set(rotated.subarray(16 * t, 16 * t + 16), 16 * row);
    expectedValues.set(v.subarray(16 * t, 16 * t + 16), 16 * row);
  });
  assertCloseTo(actualKeys!, expectedKeys);
  assertCloseTo(actualValues!, expectedValues);
  const expectedRows = new Float64Array(200 * 16);
  expectedRows.set(v, 61 * 16);
  assertCloseTo(actualRows!, expectedRows);
});

deviceTest("appended rows follow a start on the device", async (device) => {
  for (const [capacity, columns, count] of [[1, 1, 1], [7, 3, 2], [70, 64, 5], [9, 130, 4]]) {
    const rows = tensor(device, normals(count! * columns!, 1), [count!, columns!]);
    const target = tensor(device, new Float32Array(capacity! * columns!), [capacity!, columns!]);
    const start = tensor(device, Uint32Array.of(0));
    using recording = device.record(() => appendRows(target, rows, start));
    const expected = new Float32Array(capacity! * columns!);
    const source = await rows.readFloats();
    const { created } = device.memory;
    for (const first of [capacity! - 1, 0]) {
      start.write(Uint32Array.of(first));
      recording.replay();
      const fitting = Math.min(count!, capacity! - first) * columns!;
      expected.set(source.subarray(0, fitting), first * columns!);
      assertEquals(await target.readFloats(), expected);
    }
    assertEquals(device.memory.created, created);
  }
});

deviceTest("rotary positions name what does not fit", (device) => {
  const x = tensor(device, new Float32Array(12), [2, 6]);
  const positions = tensor(device, Uint32Array.of(1, 2));
  assertThrows(() => rope(x, positions, { headSize: 4 }), RangeError, "6 columns");
  assertThrows(() => rope(x, positions, { headSize: 3 }), RangeError, "even");
  assertThrows(() => rope(x, tensor(device, [1, 2]), { headSize: 6 }), RangeError, "integer");
  assertThrows(
    () => rope(x, tensor(device, Uint32Array.of(1)), { headSize: 6 }),
    RangeError,
    "[2, 6]",
  );
  assertThrows(
    () =>
      ropeAppend(x, x, x, tensor(device, new Float32Array(6), [1, 6]), positions, { headSize: 6 }),
    RangeError,
    "same capacity",
  );
  assertThrows(() => appendRows(x, positions.reshape(1, 2), positions), RangeError, "append");
  return Promise.resolve();
});
