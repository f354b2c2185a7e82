/**
 * What kernel tests share: the devices at hand, seeded numbers and the float64 comparison.
 *
 * @module
 */
import { type Device, HostDevice, openDevice } from "../device/mod.ts";

let opened: Promise<Device[]> | undefined;

/** The typed-array device and, where there is an adapter, the WebGPU device. Opened once per test process. */
export function testDevices(): Promise<Device[]> {
  return opened ??= (async () => {
    const best = await openDevice();
    if (best.kind === "webgpu") return [new HostDevice(), best];
    console.warn("No WebGPU adapter: kernels are tested on the typed-array device alone");
    return [best];
  })();
}

/** Runs a test body on every device at hand, one step each. */
export function deviceTest(name: string, body: (device: Device) => Promise<void>): void {
  Deno.test({
    name,
    // The devices are shared by all tests of a file.
    sanitizeResources: false,
    sanitizeOps: false,
    fn: async (context) => {
      for (const device of await testDevices()) {
        await context.step(device.kind, async () => {
          await body(device);
          await device.finish();
        });
      }
    },
  });
}

/** Seeded numbers, roughly normal, so that cases repeat exactly. */
export function normals(count: number, seed: number): Float32Array<ArrayBuffer> {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => uniform() + uniform() + uniform() + uniform() + uniform() + uniform() - 3,
  );
}

/**
 * Throws unless every value is within `atol + rtol * |expected|` of the float64 reference and the normalised mean squared
 * error is at most `nmse`.
 */
export function assertCloseTo(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { atol = 1e-5, rtol = 1e-5, nmse = 1e-10, what = "value" }: {
    atol?: number;
    rtol?: number;
    nmse?: number;
    what?: string;
  } = {},
): void {
  if (actual.length !== expected.length) {
    throw new Error(`${what}: ${actual.length} values, expected ${expected.length}`);
  }
  let error = 0, power = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= atol + rtol * Math.abs(expected[i]!))) {
      throw new Error(`${what}[${i}] is ${actual[i]}, expected ${expected[i]}`);
    }
    error += difference ** 2;
    power += expected[i]! ** 2;
  }
  if (power > 0 && error / power > nmse) {
    throw new Error(`${what}: normalised error ${error / power} is over ${nmse}`);
  }
}
