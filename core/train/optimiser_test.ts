import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  checkpointSource,
  joinChunks,
  readSafetensors,
  safetensorsChunks,
} from "../checkpoint/mod.ts";
import { type Device, HostDevice } from "../device/mod.ts";
import { InputError } from "../errors.ts";
import { bytesSource } from "../files.ts";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { pretending, variants } from "../kernels/variant_testing.ts";
import type { Differentiable } from "../tensor/tape.ts";
import { tensor } from "../tensor/tensor.ts";
import { weight } from "../tensor/weight.ts";
import { AdamW, type AdamWOptions } from "./optimiser.ts";

/** AdamW in double precision on one parameter. */
class Reference {
  readonly m: Float64Array;
  readonly v: Float64Array;
  readonly largest: Float64Array;
  t = 0;
  constructor(readonly values: Float64Array, readonly options: AdamWOptions, readonly decay = 0) {
    this.m = new Float64Array(values.length);
    this.v = new Float64Array(values.length);
    this.largest = new Float64Array(values.length);
  }
  step(gradient: ArrayLike<number>, rate: number, factor = 1): void {
    const { betas: [b1, b2] = [0.9, 0.999], epsilon = 1e-8, amsgrad } = this.options;
    this.t++;
    for (let i = 0; i < this.values.length; i++) {
      const g = gradient[i]! * factor;
      this.m[i] = b1 * this.m[i]! + (1 - b1) * g;
      this.v[i] = b2 * this.v[i]! + (1 - b2) * g * g;
      this.largest[i] = Math.max(this.largest[i]!, this.v[i]!);
      const spread = amsgrad ? this.largest[i]! : this.v[i]!;
      this.values[i]! *= 1 - rate * this.decay;
      this.values[i]! -= rate / (1 - b1 ** this.t) * this.m[i]! /
        (Math.sqrt(spread / (1 - b2 ** this.t)) + epsilon);
    }
  }
}

const shapes = [[1], [4], [67], [256], [3, 5], [17, 33], [1, 1], [64, 36], [8, 31], [
  9,
  4,
]] as const;

function place(device: Device, values: Float32Array<ArrayBuffer>, shape: readonly number[]) {
  return shape.length === 1
    ? tensor(device, values, shape)
    : weight(device, values, shape[0]!, shape[1]!);
}

const elements = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent);

/** Parameters of every shape in two groups, and their references. */
function setUp(device: Device, options: AdamWOptions) {
  const values = shapes.map((shape, i) => normals(elements(shape), i + 1));
  const leaves = values.map((floats, i) => place(device, floats, shapes[i]!));
  const named = leaves.map((value, i) => ({ name: `p${i}`, value }));
  const optimiser = new AdamW(device, [
    { parameters: named.slice(0, 3) },
    { parameters: named.slice(3), weightDecay: 0.1, rateScale: 0.5 },
  ], options);
  const references = values.map((floats, i) =>
    new Reference(Float64Array.from(floats), options, i < 3 ? 0 : 0.1)
  );
  return { leaves, optimiser, references };
}

const release = (leaves: readonly Differentiable[]) => leaves.forEach((leaf) => leaf.dispose());

deviceTest("steps equal those of double precision", async (original) => {
  for (const { name, device } of variants(original)) {
    const settings: AdamWOptions[] = [
      {},
      { betas: [0.8, 0.95], epsilon: 1e-6, amsgrad: true, maxNorm: 0.75 },
      { betas: [0, 0.5] },
    ];
    for (const options of settings) {
      const before = device.memory.live;
      const { leaves, optimiser, references } = setUp(device, options);
      for (let n = 0; n < 7; n++) {
        using _scope = device.scope();
        const rate = 0.01 / (n + 1);
        const gradients = shapes.map((shape, i) =>
          (n + i) % 4 === 3 ? undefined : normals(elements(shape), 100 * n + i)
        );
        optimiser.step(
          gradients.map((gradient, i) => gradient && tensor(device, gradient, shapes[i])),
          rate,
        );
        const norm = Math.hypot(...gradients.flatMap((gradient) => [...gradient ?? []]));
        const factor = Math.min(1, (options.maxNorm ?? Infinity) / (norm + 1e-6));
        const report = await optimiser.report();
        assertCloseTo([report.norm, report.factor], [norm, factor]);
        assertEquals(report.applied, true);
        for (const [i, gradient] of gradients.entries()) {
          if (gradient) references[i]!.step(gradient, i < 3 ? rate : rate / 2, factor);
        }
      }
      for (const [i, leaf] of leaves.entries()) {
        assertCloseTo(await leaf.readFloats(), references[i]!.values, {
          atol: 1e-6,
          what: `${name} ${JSON.stringify(options)} ${shapes[i]}`,
        });
      }
      optimiser[Symbol.dispose]();
      release(leaves);
      assertEquals(device.memory.live, before);
    }
  }
});

deviceTest(
  "first moments that cancel are rounded once per step, as PyTorch rounds them",
  async (device) => {
    using _scope = device.scope();
    const count = 257, { fround } = Math;
    const value = tensor(device, normals(count, 1));
    using optimiser = new AdamW(device, [{ parameters: [{ name: "p", value }] }], {
      betas: [0.8, 0.99],
    });
    const keep = fround(0.8), add = fround(1 - 0.8);
    let moment = new Float32Array(count);
    for (let n = 0; n < 20; n++) {
      const gradient = normals(count, n).map((one, i) => one * 10 ** ((7 * n + i) % 7 - 4));
      optimiser.step([tensor(device, gradient)], 0.01);
      moment = moment.map((one, i) => fround(keep * one) + add * gradient[i]!);
    }
    const entry = (await optimiser.state()).find(({ name }) => name === "p.exp_avg")!;
    assertEquals(new Float32Array((await entry.read()).buffer), moment);
  },
);

deviceTest("a weight in several parts steps as one", async (original) => {
  // Eight rows of 36 columns take 2048 bytes packed.
  for (const columns of [36, 35]) {
    const device = pretending(original, { bindingBytes: 2048 * 2 });
    const floats = normals(45 * columns, 1);
    const value = weight(device, floats, 45, columns);
    assert(value.parts.length === 3);
    const reference = new Reference(Float64Array.from(floats), {}, 0.01);
    using optimiser = new AdamW(device, [{
      parameters: [{ name: "w", value }],
      weightDecay: 0.01,
    }]);
    for (let n = 0; n < 3; n++) {
      using _scope = device.scope();
      const gradient = normals(45 * columns, n + 2);
      optimiser.step([tensor(device, gradient, [45, columns])], 0.1);
      reference.step(gradient, 0.1);
      assertCloseTo([(await optimiser.report()).norm], [Math.hypot(...gradient)]);
    }
    assertCloseTo(await value.readFloats(), reference.values, { atol: 1e-6 });
    value.dispose();
  }
});

deviceTest(
  "a step with a value that is not finite changes nothing and is not counted",
  async (device) => {
    for (const bad of [NaN, Infinity, -Infinity, 3e38]) {
      const { leaves, optimiser, references } = setUp(device, { maxNorm: 1 });
      for (const poisoned of [false, true, false]) {
        using _scope = device.scope();
        const gradients = shapes.map((shape, i) => normals(elements(shape), 7 + i));
        if (poisoned) gradients[5]![560] = bad;
        optimiser.step(gradients.map((gradient, i) => tensor(device, gradient, shapes[i])), 0.02);
        const report = optimiser.report();
        if (!poisoned) {
          const norm = Math.hypot(...gradients.flatMap((gradient) => [...gradient]));
          for (const [i, gradient] of gradients.entries()) {
            references[i]!.step(gradient, i < 3 ? 0.02 : 0.01, 1 / (norm + 1e-6));
          }
        }
        assertEquals((await report).applied, !poisoned);
        assertEquals((await report).offender, poisoned ? "p5" : undefined);
        assertEquals((await report).norm === Infinity, poisoned);
      }
      for (const [i, leaf] of leaves.entries()) {
        assertCloseTo(await leaf.readFloats(), references[i]!.values, { atol: 1e-6 });
      }
      optimiser[Symbol.dispose]();
      release(leaves);
    }
  },
);

deviceTest("a state stored and loaded again continues bit by bit", async (device) => {
  const options = { maxNorm: 0.5, amsgrad: true };
  const gradientsOf = (n: number) =>
    shapes.map((shape, i) =>
      (n + i) % 5 === 0 ? undefined : tensor(device, normals(elements(shape), 31 * n + i), shape)
    );
  const run = async (interrupted: boolean) => {
    let { leaves, optimiser } = setUp(device, options);
    for (let n = 0; n < 6; n++) {
      if (interrupted && n === 3) {
        const file = await joinChunks(safetensorsChunks(await optimiser.state()));
        const values = await Promise.all(leaves.map((leaf) => leaf.readFloats()));
        optimiser[Symbol.dispose]();
        release(leaves);
        leaves = values.map((floats, i) => place(device, floats, shapes[i]!));
        const parameters = leaves.map((value, i) => ({ name: `p${i}`, value }));
        optimiser = new AdamW(device, [
          { parameters: parameters.slice(0, 3) },
          { parameters: parameters.slice(3), weightDecay: 0.1, rateScale: 0.5 },
        ], options);
        const { tensors } = await readSafetensors(bytesSource("state", file));
        await optimiser.load(checkpointSource("state", tensors));
      }
      using _scope = device.scope();
      optimiser.step(gradientsOf(n), 0.01);
    }
    const values = await Promise.all(leaves.map((leaf) => leaf.readFloats()));
    const state = await joinChunks(safetensorsChunks(await optimiser.state()));
    optimiser[Symbol.dispose]();
    release(leaves);
    return { values, state };
  };
  assertEquals(await run(true), await run(false));
});

deviceTest("state and gradients that do not fit are refused", async (device) => {
  const value = tensor(device, normals(6, 1), [2, 3]);
  using optimiser = new AdamW(device, [{ parameters: [{ name: "p", value }] }]);
  const other = tensor(device, normals(5, 1));
  assertThrows(() => optimiser.step([other], 0.1), RangeError, "5 values for parameter 0");
  assertThrows(() => optimiser.step([], 0.1), RangeError, "0 gradients, expected 1");
  assertThrows(() => optimiser.step([undefined], NaN), RangeError, "rate");
  const entries = new Map((await optimiser.state()).map((entry) => [entry.name, entry]));
  assertEquals([...entries.keys()], ["p.step", "p.exp_avg", "p.exp_avg_sq"]);
  entries.delete("p.exp_avg");
  await assertRejects(
    () => optimiser.load(checkpointSource("broken", entries)),
    InputError,
    "missing: p.exp_avg [2,3]",
  );
  value.dispose();
  other.dispose();
});

Deno.test("what cannot be trained is refused", async () => {
  await using device = new HostDevice();
  const value = weight(device, normals(64, 1), 2, 32, "q8");
  const p = tensor(device, [1]);
  const one = (parameters: { name: string; value: Differentiable }[], options = {}) => () =>
    new AdamW(device, [{ parameters }], options);
  assertThrows(one([{ name: "w", value }]), InputError, 'Cannot train "w": it is kept as q8');
  assertThrows(one([{ name: "p", value: p }, { name: "p", value: p }]), RangeError, "twice");
  assertThrows(one([], { betas: [1, 0.9] }), RangeError, "beta");
  assertThrows(one([], { maxNorm: 0 }), RangeError, "norm of 0");
  using nothing = new AdamW(device, []);
  nothing.step([], 1);
  assertEquals(await nothing.report(), { norm: 0, factor: 1, applied: true });
  assertEquals(await nothing.state(), []);
});
