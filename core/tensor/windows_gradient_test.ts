import { deviceTest } from "../kernels/kernel_testing.ts";
import { checkGradients } from "./gradient_testing.ts";
import { windowPartition, windowUnpartition } from "./windows.ts";

/** For every element of the windows the element of the raster, -1 in the padding. */
function sources(
  [batch, height, width, channels]: readonly [number, number, number, number],
  size: number,
): number[] {
  const down = Math.ceil(height / size), across = Math.ceil(width / size);
  return Array.from({ length: batch * down * across * size * size * channels }, (_, index) => {
    const c = index % channels, token = Math.floor(index / channels);
    const window = Math.floor(token / size / size), b = Math.floor(window / down / across);
    const y = Math.floor(window / across) % down * size + Math.floor(token / size) % size;
    const x = window % across * size + token % size;
    return y < height && x < width ? ((b * height + y) * width + x) * channels + c : -1;
  });
}

const cases = [
  [[1, 1, 1, 1], 1],
  [[1, 1, 1, 3], 4],
  [[2, 3, 5, 7], 2],
  [[1, 7, 9, 4], 4],
  [[2, 14, 13, 1], 7],
] as const;

deviceTest("cutting into windows and joining them are each other's gradient", async (device) => {
  for (const [shape, size] of cases) {
    const [batch, height, width, channels] = shape;
    const from = sources(shape, size);
    await checkGradients(device, {
      what: `partition ${shape} by ${size}`,
      inputs: { x: { shape } },
      operation: ({ x }) => windowPartition(x, size),
      reference: ({ x }) => from.map((at) => at < 0 ? 0 : x[at]!),
    });
    await checkGradients(device, {
      what: `unpartition ${shape} by ${size}`,
      inputs: { x: { shape: [from.length / size / size / channels, size, size, channels] } },
      operation: ({ x }) => windowUnpartition(x, size, { batch, height, width }),
      reference({ x }) {
        const raster = new Float64Array(batch * height * width * channels);
        from.forEach((at, i) => {
          if (at >= 0) raster[at] = x[i]!;
        });
        return raster;
      },
    });
  }
});
