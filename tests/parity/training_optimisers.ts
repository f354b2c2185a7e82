/**
 * Reference cases of optimisers, clipping and schedules.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import { type Differentiable, type Tensor, tensor, weight } from "@medvlm/core/tensor";
import { AdamW, GradientNorm, learningRate, type Schedule } from "@medvlm/core/train";
import { caseJson, CaseTensors } from "./case_files.ts";
import type { Report } from "./harness.ts";

/** Parameters of a case from `<id>.p0` on, or gradients from `<id>.g0` on. */
function numbered(tensors: CaseTensors, prefix: string, suffix: string): string[] {
  const names: string[] = [];
  while (tensors.has(`${prefix}${names.length}${suffix}`)) {
    names.push(`${prefix}${names.length}`);
  }
  return names;
}

/** A matrix of linear layers where `packed` says so and there are two axes, else a tensor. */
function place(
  device: Device,
  values: Float32Array<ArrayBuffer>,
  shape: readonly number[],
  packed: boolean,
): Differentiable {
  return packed && shape.length > 1
    ? weight(device, values, shape[0]!, values.length / shape[0]!)
    : tensor(device, values, shape);
}

async function runAdamW(dir: string, report: Report, device: Device): Promise<void> {
  const { cases, tolerance } = await caseJson(`${dir}/case.json`);
  using tensors = await CaseTensors.open(`${dir}/tensors.safetensors`);
  const close = { atol: tolerance.absolute, rtol: tolerance.relative };
  for (const one of cases) {
    const { id, options, lr_per_step: rates } = one;
    const names = numbered(tensors, `${id}.p`, ".init");
    for (const packed of [false, true]) {
      using _scope = device.scope();
      const at = (name: string) => packed ? `${name} (matrix)` : name;
      const values = await Promise.all(names.map(async (name) => {
        const { shape, values } = await tensors.get(`${name}.init`);
        return place(device, Float32Array.from(values), shape, packed);
      }));
      using optimiser = new AdamW(
        device,
        names.map((name, i) => ({
          parameters: [{ name, value: values[i]! }],
          weightDecay: one.weight_decay_per_param[i],
        })),
        { betas: options.betas, epsilon: options.eps, amsgrad: options.amsgrad === true },
      );
      const gradients = await Promise.all(names.map((name) => tensors.floats(`${name}.grads`)));
      const paths: Promise<Float32Array>[][] = [];
      for (const [step, rate] of rates.entries()) {
        using _step = device.scope();
        const given = gradients.map((all) => {
          const size = all.length / rates.length;
          const gradient = all.slice(step * size, (step + 1) * size);
          // A gradient of NaN stands for none.
          return gradient.every(Number.isNaN) ? undefined : tensor(device, gradient);
        });
        optimiser.step(given, rate);
        // Read late: every wait for the device costs time.
        paths.push(values.map((value) => value.readFloats()));
      }
      const state = new Map((await optimiser.state()).map((entry) => [entry.name, entry]));
      const steps: number[] = [];
      for (const [i, name] of names.entries()) {
        const path = await Promise.all(paths.map((reached) => reached[i]!));
        const actual = path.flatMap((floats) => [...floats]);
        const expected = await tensors.floats(`${name}.trajectory`);
        report.close(at(`${name}.trajectory`), actual, expected, close);
        for (const moment of ["exp_avg", "exp_avg_sq"]) {
          const actual = new Float32Array((await state.get(`${name}.${moment}`)!.read()).buffer);
          const expected = await tensors.floats(`${name}.${moment}`);
          report.close(at(`${name}.${moment}`), actual, expected, close);
        }
        const count = (await state.get(`${name}.step`)!.read()).buffer;
        steps.push(Number(new BigInt64Array(count)[0]));
      }
      report.exact(at(`${id}.steps`), steps, one.state_step);
    }
  }
}

async function runClipping(dir: string, report: Report, device: Device): Promise<void> {
  const { cases, tolerance } = await caseJson(`${dir}/case.json`);
  using tensors = await CaseTensors.open(`${dir}/tensors.safetensors`);
  const close = { rtol: tolerance.relative };
  for (const { id, max_norm: limit, total_norm: total } of cases) {
    using _scope = device.scope();
    const names = numbered(tensors, `${id}.g`, "");
    const gradients: Tensor[] = [];
    for (const name of names) gradients.push(tensor(device, await tensors.floats(name)));
    using norm = new GradientNorm(device, gradients.map(({ size }) => size));
    norm.measure(gradients, limit);
    norm.apply(gradients);
    report.close(`${id}.total_norm`, [(await norm.verdict()).norm], [total], close);
    for (const [i, name] of names.entries()) {
      const clipped = await gradients[i]!.readFloats();
      for (const kind of ["clipped", "clipped_deepspeed"]) {
        report.close(`${name}.${kind}`, clipped, await tensors.floats(`${name}.${kind}`), close);
      }
    }
  }
}

/** The schedule of a case, by the names of its reference. */
// deno-lint-ignore no-explicit-any
function scheduleOf({ kind, flavour, deepspeed, options: o }: any): Schedule {
  switch (kind) {
    case "linear_warmup_cosine_lr":
    case "linear_warmup_step_lr":
      return {
        kind: "epochs",
        decline: kind === "linear_warmup_step_lr"
          ? "powerPerEpoch"
          : flavour === "pefomed"
          ? "cosinePerEpoch"
          : "cosine",
        epochs: o.max_epoch,
        stepsPerEpoch: o.iters_per_epoch,
        rate: o.init_lr,
        minRate: o.min_lr,
        warmupSteps: o.warmup_steps,
        warmupRate: o.warmup_start_lr,
        decay: o.decay_rate,
      };
    case "hf_cosine_with_warmup":
    case "hf_linear_with_warmup":
      return {
        kind: "warmup",
        decline: kind === "hf_cosine_with_warmup" ? "cosine" : "linear",
        rate: o.base_lr,
        warmupSteps: o.num_warmup_steps,
        steps: o.num_training_steps,
      };
    case "deepspeed_WarmupDecayLR":
      return {
        kind: "warmupDecay",
        warmup: o.warmup_type === "log" ? "logarithmic" : "linear",
        rate: o.warmup_max_lr,
        minRate: o.warmup_min_lr,
        warmupSteps: o.warmup_num_steps,
        steps: o.total_num_steps,
        first: /^0\.(\d|1[0-3])\./.test(deepspeed) ? "rate" : "minRate",
      };
    case "vividmed_timm_cosine_every_k_steps":
      return {
        kind: "periodicCosine",
        rate: o.base_lr,
        minRate: o.lr_min,
        warmupSteps: o.warmup_t,
        warmupRate: o.warmup_lr_init,
        steps: o.t_initial,
        every: o.frequency,
      };
    default:
      throw new Error(`No schedule for ${kind}`);
  }
}

async function runSchedules(dir: string, report: Report): Promise<void> {
  const { cases, tolerance } = await caseJson(`${dir}/case.json`);
  for (const one of cases) {
    const schedule = scheduleOf(one);
    const expected: number[] = one.lr_of_each_step;
    const actual = expected.map((_, step) => learningRate(schedule, step));
    report.close(one.id, actual, expected, { atol: tolerance });
  }
}

/** How each kind is compared. */
export const optimiserKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  adamw: runAdamW,
  "grad_clip": runClipping,
  schedules: runSchedules,
};
