/**
 * Reference cases of the losses: values and gradients.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import {
  boxGiou,
  boxLoss,
  crossEntropy,
  diceFocalLoss,
  diceLoss,
  differentiate,
  iouLoss,
  pixelLoss,
  reduceMean,
  sumRows,
  type Tensor,
  tensor,
} from "@medvlm/core/tensor";
import { caseJson, type CaseTensor, CaseTensors, openCase } from "./case_files.ts";
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

/** MedPLIB's mask losses over all masks [N, H, W] of a sample. */
const medplibLosses: Readonly<
  Record<string, (logits: Tensor, targets: Tensor, predicted: Tensor) => Tensor>
> = {
  bce: (logits, targets) => overMasks(pixelLoss(logits, targets, { form: "bce", mean: 2 })),
  dice: (logits, targets) => overMasks(diceLoss(logits, targets, { form: "smooth" })),
  focal: (logits, targets) =>
    overMasks(
      pixelLoss(logits, targets, { form: "probabilityFocal", gamma: 2, alpha: 0.25, mean: 2 }),
    ),
  iou: iouLoss,
};

const overMasks = (losses: Tensor) => reduceMean(losses.reshape(1, -1), 1);

async function runMedplibMasks(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openLosses(dir);
  for (const { id } of files.cases) {
    using _scope = device.scope();
    const get = (name: string) => files.tensors.get(`${id}.${name}`);
    const logits = floats(device, await get("logits"));
    const targets = floats(device, await get("target"));
    const predicted = floats(device, await get("pred_iou"));
    for (const [name, loss] of Object.entries(medplibLosses)) {
      const { values, gradients } = await evaluate(
        device,
        [logits, predicted],
        () => loss(logits, targets, predicted),
      );
      report.close(`${id}.${name}`, values, (await get(name)).values, files.loss);
      for (const [i, input] of ["logits", "pred_iou"].entries()) {
        const of = `${name}.grad_${input}`;
        if (!files.tensors.has(`${id}.${of}`)) continue;
        report.close(`${id}.${of}`, gradients[i]!, (await get(of)).values, files.gradient);
      }
    }
  }
}

/** `medplib/mask-losses`: the same losses, one mask each. */
export async function runMaskLosses(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const tolerance = files.case.tolerance as Tolerance;
  for (const index of (files.case.cases as unknown[]).keys()) {
    using _scope = device.scope();
    const input = async (name: string) =>
      floats(device, await files.inputs.get(`${index}.${name}`));
    const logits = await input("logits"), targets = await input("target");
    const predicted = await input("pred_iou");
    for (const [name, loss] of Object.entries(medplibLosses)) {
      const { values, gradients } = await evaluate(
        device,
        [logits, predicted],
        () => loss(logits, targets, predicted),
      );
      const compare = async (of: string, actual: Float32Array) => {
        if (!files.expected.has(`${index}.${of}`)) return;
        const { values: expected } = await files.expected.get(`${index}.${of}`);
        report.close(`${index}.${of}`, actual, expected, tolerance);
      };
      await compare(name, values);
      await compare(`grad.${name}`, gradients[0]!);
      await compare(`grad_pred_iou.${name}`, gradients[1]!);
    }
  }
}

async function runVividmedMasks(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openLosses(dir);
  for (const one of files.cases) {
    using _scope = device.scope();
    const get = (name: string) => files.tensors.get(`${one.id}.${name}`);
    const logits = floats(device, await get("logits"));
    const targets = one.target === "none" ? undefined : floats(device, await get("target"));
    for (const perSample of [false, true]) {
      const losses = () =>
        diceFocalLoss(logits, targets, {
          dice: one.dice_weight,
          focal: one.focal_weight,
          gamma: one.gamma,
          ...(one.alpha === null ? {} : { alpha: one.alpha }),
          perSample,
        });
      const compare = async (name: string, values: Float32Array) => {
        const of = perSample ? `per_sample.${name}` : name;
        report.close(`${one.id}.${of}`, values, (await get(of)).values, files.loss);
      };
      const { dice, focal } = losses();
      await compare("dice", await dice.readFloats());
      await compare("focal_or_ce", await focal.readFloats());
      const { values, gradients } = await evaluate(device, [logits], () => losses().total);
      await compare("total", values);
      if (perSample) continue;
      const { values: expected } = await get("grad_logits");
      report.close(`${one.id}.grad_logits`, gradients[0]!, expected, files.gradient);
    }
  }
}

async function runElementwise(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openLosses(dir);
  for (const { id, kind, gamma, alpha } of files.cases) {
    using _scope = device.scope();
    const get = (name: string) => files.tensors.get(`${id}.${name}`);
    const logits = floats(device, await get("logits"));
    const targets = floats(device, await get("target"));
    const { values, gradients } = await evaluate(
      device,
      [logits],
      () =>
        kind === "bce_with_logits" ? pixelLoss(logits, targets, { form: "bce" }) : pixelLoss(
          logits,
          targets,
          { form: "focal", gamma, ...(alpha === null ? {} : { alpha }) },
        ),
    );
    report.close(`${id}.loss_none`, values, (await get("loss_none")).values, files.loss);
    const { values: expected } = await get("grad_of_sum");
    report.close(`${id}.grad_of_sum`, gradients[0]!, expected, files.gradient);
  }
}

async function runBoxes(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openLosses(dir);
  for (const { id } of files.cases) {
    using _scope = device.scope();
    const get = (name: string) => files.tensors.get(`${id}.${name}`);
    const predicted = floats(device, await get("pred_center_size"));
    const targets = floats(device, await get("target_center_size"));
    const giou = boxGiou(predicted, targets);
    report.close(
      `${id}.giou_each`,
      await giou.readFloats(),
      (await get("giou_each")).values,
      files.loss,
    );
    const losses = {
      "l1": { l1: 1, giou: 0 },
      "giou_loss": { l1: 0, giou: 1 },
      // VividMed's weights.
      "box_loss": {},
    };
    for (const [name, weights] of Object.entries(losses)) {
      if (!files.tensors.has(`${id}.${name}`)) continue;
      const { values, gradients } = await evaluate(
        device,
        [predicted],
        () => reduceMean(boxLoss(predicted, targets, weights).reshape(1, -1), 1),
      );
      report.close(`${id}.${name}`, values, (await get(name)).values, files.loss);
      const { values: gradient } = await get(`${name}.grad`);
      report.close(`${id}.${name}.grad`, gradients[0]!, gradient, files.gradient);
    }
    if (!files.tensors.has(`${id}.box_loss_per_pair`)) continue;
    const all = await boxLoss(predicted, targets, { pairs: "all" }).readFloats();
    const { values: expected } = await get("box_loss_per_pair");
    report.close(`${id}.box_loss_per_pair`, all, expected, files.loss);
  }
}

/** Kinds below `training`. */
export const lossKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  "cross_entropy": runCrossEntropy,
  "mask_losses_medplib": runMedplibMasks,
  "mask_losses_vividmed": runVividmedMasks,
  "focal_bce": runElementwise,
  "box_losses": runBoxes,
};
