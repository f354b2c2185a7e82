import { assertEquals } from "@std/assert";
import { type Device, HostDevice } from "../device/mod.ts";
import { assertCloseTo, deviceTest, normals } from "../kernels/kernel_testing.ts";
import { add, multiply } from "../tensor/elementwise.ts";
import { sumRows } from "../tensor/reduction.ts";
import { checkpoint, differentiate } from "../tensor/tape.ts";
import { type Tensor, tensor } from "../tensor/tensor.ts";
import { type Weight, weight } from "../tensor/weight.ts";
import { nameHash } from "./initialise.ts";
import { Parameters, type ParameterSpec } from "./parameters.ts";
import { samDecoderParameters, samMaskDecoder } from "./sam_decoder.ts";
import { samEncoderParameters, samImageEncoder } from "./sam_encoder.ts";

type Values = ReadonlyMap<string, Float32Array<ArrayBuffer>>;

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Values of every parameter at which all of a block is at work: norms near one, matrices that neither fade nor grow. */
function seeded(specs: readonly ParameterSpec[]): Values {
  return new Map(specs.map(({ name, shape }) => {
    const noise = normals(sizeOf(shape), nameHash(name) % 100003);
    const fan = shape.length < 2 ? 1 : sizeOf(shape.slice(1));
    const near = shape.length === 1 && name.endsWith("weight") ? 1 : 0;
    const spread = shape.length === 1 ? 0.2 : 0.8 / Math.sqrt(fan) / 0.7;
    return [name, noise.map((value) => near + spread * value)];
  }));
}

function place(device: Device, specs: readonly ParameterSpec[], values: Values): Parameters {
  return new Parameters(
    device,
    specs,
    new Map(specs.map(({ name, shape, keep }): [string, Tensor | Weight] => {
      const floats = values.get(name)!;
      if (keep === "tensor") return [name, tensor(device, floats, shape)];
      return [name, weight(device, floats, shape[0]!, sizeOf(shape.slice(1)), "f32")];
    })),
  );
}

/** A model as a function of parameters and inputs to one number. */
interface Subject {
  readonly specs: readonly ParameterSpec[];
  /** Shapes of the inputs, by name. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly run: (p: Parameters, inputs: Readonly<Record<string, Tensor>>) => Tensor;
}

/** Sum of all outputs, each weighted by a number of its own. */
function mixed(...outputs: readonly Tensor[]): Tensor {
  return outputs.map((y, n) => {
    const weighting = tensor(y.device, normals(y.size, 900 + n));
    return sumRows(multiply(y.reshape(-1), weighting).reshape(-1, 1));
  }).reduce(add);
}

/** Value and all gradients, by name. */
async function gradientsOf(
  device: Device,
  { specs, inputs, run }: Subject,
  values: Values,
): Promise<{ value: number; gradients: Map<string, Float32Array> }> {
  const before = device.memory.live;
  const p = place(device, specs, values);
  const placed = Object.fromEntries(
    Object.entries(inputs).map(([name, shape]) => [name, tensor(device, values.get(name)!, shape)]),
  );
  const names = [...specs.map(({ name }) => name), ...Object.keys(inputs)];
  const leaves = names.map((name) => placed[name] ?? p.value(name));
  const { value, gradients } = differentiate(device, leaves, () => run(p, placed));
  const read = new Map<string, Float32Array>();
  for (const [i, name] of names.entries()) {
    if (gradients[i] === undefined) throw new Error(`no gradient of ${name}`);
    read.set(name, await gradients[i].readFloats());
    gradients[i].dispose();
  }
  const [number] = await value.readFloats();
  value.dispose();
  for (const input of Object.values(placed)) input.dispose();
  p.dispose();
  assertEquals(device.memory.live, before);
  return { value: number!, gradients: read };
}

/** The value alone, on the device whose sums are double precision. */
async function valueAt(device: HostDevice, { specs, inputs, run }: Subject, values: Values) {
  using _scope = device.scope();
  const p = place(device, specs, values);
  const placed = Object.fromEntries(
    Object.entries(inputs).map(([name, shape]) => [name, tensor(device, values.get(name)!, shape)]),
  );
  return (await run(p, placed).readFloats())[0]!;
}

/** Compares the slope along a random direction of every parameter with the difference of two values. */
async function checkSlopes(device: Device, subject: Subject): Promise<void> {
  const { specs, inputs } = subject;
  const values = new Map([
    ...seeded(specs),
    ...Object.entries(inputs).map(([name, shape]) =>
      [name, normals(sizeOf(shape), nameHash(name) % 1009)] as const
    ),
  ]);
  const { gradients } = await gradientsOf(device, subject, values);
  await using host = new HostDevice();
  const step = 2 ** -10;
  const slopes: number[] = [], expected: number[] = [];
  for (const [name, gradient] of gradients) {
    const original = values.get(name)!;
    const direction = normals(original.length, 31).map((value) => Math.sign(value) || 1);
    const at = (distance: number) =>
      valueAt(
        host,
        subject,
        new Map(values).set(name, original.map((value, i) => value + distance * direction[i]!)),
      );
    expected.push((await at(step) - await at(-step)) / (2 * step));
    slopes.push(gradient.reduce((sum, value, i) => sum + value * direction[i]!, 0));
  }
  for (const turning of [false, true]) {
    // Moved together, the weights right before a ReLU turn some of its units on the way, however small the step.
    const chosen = [...gradients.keys()].map((name) => /Adapter\.spatial/.test(name) === turning);
    assertCloseTo(
      slopes.filter((_, i) => chosen[i]),
      expected.filter((_, i) => chosen[i]),
      turning ? { rtol: 0.1, nmse: 1e-2 } : { atol: 2e-2, rtol: 1e-2, nmse: 1e-5, what: "slope" },
    );
  }
}

const encoder = {
  imageSize: 24,
  patchSize: 4,
  width: 8,
  depth: 2,
  heads: 2,
  mlpRatio: 2,
  // Six cells a side: the windows are padded.
  window: 4,
  globalBlocks: [1],
  outputWidth: 5,
  adapter: true,
};

deviceTest("SAM's image encoder with adapters has the slopes of its values", async (device) => {
  await checkSlopes(device, {
    specs: samEncoderParameters(encoder, "", "F32"),
    inputs: { pixels: [2, 3, 24, 24] },
    run: (p, { pixels }) => mixed(samImageEncoder(p.at(""), pixels!, encoder)),
  });
});

const decoder = {
  width: 16,
  depth: 2,
  heads: 2,
  mlpWidth: 12,
  maskTokens: 3,
  iouLayers: 2,
  iouWidth: 7,
};

const decoding: Subject = {
  specs: samDecoderParameters(decoder, "", "F32"),
  inputs: { image: [2, 16, 3, 2], positions: [6, 16], prompts: [2, 2, 16] },
  run(p, { image, positions, prompts }) {
    const { masks, iou } = samMaskDecoder(p.at(""), image!, positions!, prompts!, decoder);
    return mixed(masks, iou);
  },
};

deviceTest("SAM's mask decoder has the slopes of its values", async (device) => {
  await checkSlopes(device, decoding);
});

deviceTest("gradients of a recomputed encoder are those of a kept one", async (device) => {
  const specs = samEncoderParameters(encoder, "", "F32");
  const inputs = { pixels: [1, 3, 24, 24] };
  const values = new Map([...seeded(specs), ["pixels", normals(3 * 576, 3)] as const]);
  const encode = (p: Parameters, pixels: Tensor) => samImageEncoder(p.at(""), pixels, encoder);
  const kept = await gradientsOf(
    device,
    { specs, inputs, run: (p, { pixels }) => mixed(encode(p, pixels!)) },
    values,
  );
  const again = await gradientsOf(
    device,
    {
      specs,
      inputs,
      run: (p, { pixels }) => mixed(...checkpoint([pixels!], (input) => [encode(p, input)])),
    },
    values,
  );
  assertEquals([...again.gradients.keys()], [...kept.gradients.keys()]);
  for (const [name, gradient] of kept.gradients) {
    // The first of the two passes may use fused activations, which round once less.
    assertCloseTo(again.gradients.get(name)!, gradient, { atol: 1e-4, rtol: 1e-4, what: name });
  }
});
