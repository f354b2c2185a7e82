/**
 * What the tests of matrix products share: devices with other capabilities, and products in float64.
 *
 * @module
 */
import type { Capabilities, Device } from "../device/mod.ts";

/** The same device pretending to other capabilities, so that every variant of a kernel runs on any adapter. */
export function limited(device: Device, capabilities: Partial<Capabilities>): Device {
  return new Proxy(device, {
    get(target, property) {
      if (property === "capabilities") return { ...target.capabilities, ...capabilities };
      const value = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** The device as it is, as a software adapter without subgroups, and as a GPU. */
export function variants(device: Device): [string, Device][] {
  if (device.kind === "wasm") return [["host", device]];
  return [
    ["own", device],
    ["plain lanes", limited(device, { software: true, subgroups: false })],
    ["gpu", limited(device, { software: false })],
  ];
}

/** x [m, k] times w [n, k] transposed. */
export function productT(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  m: number,
  n: number,
  k: number,
): Float64Array {
  const y = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += x[i * k + l]! * w[j * k + l]!;
      y[i * n + j] = sum;
    }
  }
  return y;
}

/** Rows and columns swapped. */
export function transposed(
  values: Float32Array,
  rows: number,
  columns: number,
): Float32Array<ArrayBuffer> {
  const result = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = values[i * columns + j]!;
  }
  return result;
}
