import { assertEquals, assertRejects } from "@std/assert";
import { DeviceError, InputError } from "../errors.ts";
import { deviceTest, normals } from "../kernels/kernel_testing.ts";
import { linear } from "../tensor/linear.ts";
import { binary, multiply, scale, unary } from "../tensor/elementwise.ts";
import { sumRows } from "../tensor/reduction.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { weight } from "../tensor/weight.ts";
import type { Device } from "../device/mod.ts";
import { Trainer, type TrainerOptions, type TrainingTask } from "./trainer.ts";

/** Two layers that learn a fixed function of 5 inputs. */
function regression(device: Device, poison = -1) {
  const hidden = weight(device, normals(7 * 5, 1), 7, 5);
  const bias = tensor(device, new Float32Array(7));
  const out = weight(device, normals(3 * 7, 2), 3, 7);
  const task: TrainingTask<{ x: Float32Array<ArrayBuffer>; y: Float32Array<ArrayBuffer> }> = {
    parameters: [{
      parameters: [
        { name: "hidden", value: hidden },
        { name: "bias", value: bias },
        { name: "out", value: out },
      ],
    }],
    batches: (step) =>
      Promise.resolve([0, 1].map((part) => {
        const x = normals(4 * 5, 100 + 2 * step + part);
        const y = Float32Array.from({ length: 12 }, (_, i) => {
          const row = Math.floor(i / 3), k = i % 3;
          return Math.tanh(x[5 * row + k]! - 0.5 * x[5 * row + k + 1]!);
        });
        if (step === poison) x[3] = NaN;
        return { x, y };
      })),
    loss({ x, y }) {
      const inner = unary("silu", linear(tensor(device, x, [4, 5]), hidden, { bias }));
      const difference = binary("subtract", linear(inner, out), tensor(device, y, [4, 3]));
      const total: Tensor = scale(sumRows(multiply(difference, difference).reshape(-1, 1)), 1 / 12);
      return { total, terms: { "twice": scale(total, 2) } };
    },
    tokens: () => 4,
  };
  const values = async () => [
    ...await hidden.readFloats(),
    ...await bias.readFloats(),
    ...await out.readFloats(),
  ];
  const dispose = () => [hidden, bias, out].forEach((one) => one.dispose());
  return { task, values, dispose };
}

const options: TrainerOptions = {
  steps: 60,
  rate: (step) => 0.03 * (1 - step / 60),
  optimiser: { maxNorm: 1 },
  identity: "regression",
};

deviceTest("training lowers the loss and reports every step in order", async (device) => {
  const { task, dispose } = regression(device);
  using trainer = new Trainer(device, task, options);
  const records = await Array.fromAsync(trainer.run());
  assertEquals(records.map(({ step }) => step), Array.from({ length: 60 }, (_, n) => n));
  const mean = (from: number) =>
    records.slice(from, from + 10).reduce((sum, { loss }) => sum + loss, 0) / 10;
  assertEquals(mean(50) < mean(0) / 4, true);
  for (const { loss, terms, tokens, gradientNorm } of records) {
    assertEquals(Math.abs(terms.twice! - 2 * loss) < 1e-5, true);
    assertEquals(tokens, 8);
    assertEquals(gradientNorm > 0, true);
  }
  dispose();
});

deviceTest("a run that was stopped goes on bit by bit", async (device) => {
  const folder = await Deno.makeTempDir();
  try {
    const whole = regression(device);
    using straight = new Trainer(device, whole.task, options);
    for await (const _ of straight.run());
    const expected = await whole.values();

    const path = `${folder}/checkpoint.safetensors`;
    const first = regression(device);
    using stopped = new Trainer(device, first.task, options);
    for await (const _ of stopped.run(23));
    await stopped.save(path);
    for await (const _ of stopped.run(31));

    const second = regression(device);
    using resumed = new Trainer(device, second.task, options);
    await resumed.resume(path);
    assertEquals(resumed.step, 23);
    for await (const _ of resumed.run());
    assertEquals(await second.values(), expected);

    using other = new Trainer(device, second.task, { ...options, identity: "another" });
    await assertRejects(() => other.resume(path), InputError, "other settings");
    for (const one of [whole, first, second]) one.dispose();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

deviceTest(
  "a gradient that is not finite stops the run, names the parameter and changes nothing",
  async (device) => {
    const poisoned = regression(device, 5);
    using trainer = new Trainer(device, poisoned.task, options);
    await assertRejects(
      () => Array.fromAsync(trainer.run(6)),
      DeviceError,
      'at step 5 the loss is NaN and the gradient of "hidden" is not finite',
    );
    const clean = regression(device);
    using reference = new Trainer(device, clean.task, options);
    await Array.fromAsync(reference.run(5));
    assertEquals(await poisoned.values(), await clean.values());
    for (const one of [poisoned, clean]) one.dispose();
  },
);
