/**
 * Reference cases of the losses: values and gradients.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import { crossEntropy, differentiate, sumRows, type Tensor, tensor } from "@medvlm/core/tensor";
import { caseJson, type CaseTensor, CaseTensors } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";

/** The cases of a folder with its tensors. */
interface Losses extends Disposable {
  // deno-lint-ignore no-explicit-any
  readonly cases: readonly any[];
  readonly tensors: CaseTensors;
  readonly loss: Tolerance;
  readonly gradient: Tolerance;
}

/** Opens a folder whose tolerances hold for values near 1: larger ones may differ in proportion. */
async function openLosses(dir: string): Promise<Losses> {
  const { cases, tolerance } = await caseJson(`${dir}/case.json`);
  const tensors = await CaseTensors.open(`${dir}/tensors.safetensors`);
  return {
    cases,
    tensors,
    loss: { atol: tolerance.loss, rtol: tolerance.loss },
    gradient: { atol: tolerance.grad, rtol: tolerance.grad },
    [Symbol.dispose]: () => tensors[Symbol.dispose](),
  };
}

/** Float values on the device. */
function floats(device: Device, { shape, values }: CaseTensor): Tensor {
  return tensor(device, Float32Array.from(values), shape);
}

/** Differentiates the sum of what `body` makes, and reads its values and the gradients (zeros where there are none). */
async function evaluate(
  device: Device,
  leaves: readonly Tensor[],
  body: () => Tensor,
): Promise<{ values: Float32Array; gradients: readonly Float32Array[] }> {
  using _scope = device.scope();
  let values: Promise<Float32Array>;
  const { gradients } = differentiate(device, leaves, () => {
    const result = body();
    values = result.readFloats();
    return sumRows(result.reshape(-1, 1));
  });
  return {
    values: await values!,
    gradients: await Promise.all(
      gradients.map(async (one, i) => await one?.readFloats() ?? new Float32Array(leaves[i]!.size)),
    ),
  };
}

async function runCrossEntropy(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openLosses(dir);
  for (const { id, kind, reduction } of files.cases) {
    using _scope = device.scope();
    const get = (name: string) => files.tensors.get(`${id}.${name}`);
    const logits = floats(device, await get("logits"));
    const { shape, values: labels } = await get("labels");
    const onDevice = tensor(device, Int32Array.from(labels), shape);
    const weights = files.tensors.has(`${id}.weight`)
      ? floats(device, await get("weight"))
      : undefined;
    const { values, gradients } = await evaluate(
      device,
      [logits],
      () =>
        crossEntropy(logits, onDevice, {
          shift: kind === "causal_lm_shifted",
          reduction: reduction === "none" ? "sequence" : "mean",
          ...(weights && { weights }),
        }),
    );
    report.close(`${id}.loss`, values, (await get("loss")).values, files.loss);
    const gradient = (await get("grad_logits")).values;
    report.close(`${id}.grad_logits`, gradients[0]!, gradient, files.gradient);
  }
}

/** Kinds below `training`. */
export const lossKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  "cross_entropy": runCrossEntropy,
};
