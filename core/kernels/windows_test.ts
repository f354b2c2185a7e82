import { assertEquals, assertThrows } from "@std/assert";
import { tensor } from "../tensor/tensor.ts";
import { windowPartition, windowUnpartition } from "../tensor/windows.ts";
import { deviceTest, normals } from "./kernel_testing.ts";

// batch, height, width, channels, size
const shapes = [
  [1, 1, 1, 1, 1],
  [1, 1, 1, 3, 4],
  [1, 4, 4, 1, 2],
  [2, 3, 5, 7, 2],
  [3, 5, 3, 4, 3],
  [1, 7, 9, 8, 4],
  [2, 16, 16, 12, 14],
  [1, 14, 14, 5, 14],
  [1, 13, 29, 16, 7],
  [2, 28, 3, 1, 14],
] as const;

deviceTest("windows hold their part of the raster and zeros outside", async (device) => {
  for (const [batch, height, width, channels, size] of shapes) {
    using scope = device.scope();
    const values = normals(batch * height * width * channels, height);
    const x = tensor(device, values, [batch, height, width, channels]);
    const windows = scope.keep(windowPartition(x, size));
    const back = scope.keep(windowUnpartition(windows, size, { batch, height, width }));
    const [cut, joined] = [windows.readFloats(), back.readFloats()];
    const down = Math.ceil(height / size), across = Math.ceil(width / size);
    assertEquals(windows.shape, [batch * down * across, size, size, channels]);
    const expected: number[] = [];
    for (let b = 0; b < batch; b++) {
      for (let window = 0; window < down * across; window++) {
        for (let token = 0; token < size * size; token++) {
          const y = Math.floor(window / across) * size + Math.floor(token / size);
          const x = (window % across) * size + token % size;
          for (let c = 0; c < channels; c++) {
            expected.push(
              y < height && x < width ? values[((b * height + y) * width + x) * channels + c]! : 0,
            );
          }
        }
      }
    }
    assertEquals(await cut, Float32Array.from(expected), `windows of ${shapes}`);
    assertEquals(await joined, values);
    windows.dispose();
    back.dispose();
  }
});

deviceTest("windows allocate once and can be replayed", async (device) => {
  const x = tensor(device, normals(2 * 5 * 5 * 4, 1), [2, 5, 5, 4]);
  const there = () =>
    windowUnpartition(windowPartition(x, 3), 3, { batch: 2, height: 5, width: 5 });
  const step = () => {
    using _scope = device.scope();
    there();
  };
  step();
  const { created } = device.memory;
  step();
  assertEquals(device.memory.created, created);
  let output!: ReturnType<typeof there>;
  using recording = device.record(() => {
    output = there();
  });
  const values = normals(200, 9);
  x.write(values);
  recording.replay();
  assertEquals(await output.readFloats(), values);
});

deviceTest("windows name what does not fit", (device) => {
  const x = tensor(device, new Float32Array(12), [1, 3, 4, 1]);
  assertThrows(() => windowPartition(x.reshape(3, 4), 2), RangeError, "[3, 4]");
  assertThrows(() => windowPartition(x, 0), RangeError, "windows of 0");
  assertThrows(
    () => windowUnpartition(x, 2, { batch: 1, height: 3, width: 4 }),
    RangeError,
    "[4, 2, 2, channels]",
  );
  return Promise.resolve();
});
