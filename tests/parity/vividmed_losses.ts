/**
 * Reference cases of VividMed's losses: instances with their matching, masks, GIoU, weighted cross-entropy.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import {
  boxGiou,
  crossEntropy,
  diceFocalLoss,
  type DiceFocalOptions,
  differentiate,
  instanceCosts,
  type InstanceLabels,
  instanceLabels,
  type InstanceLossWeights,
  slice,
  type Tensor,
  tensor,
} from "@medvlm/core/tensor";
import { type CaseFiles, openCase } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";
import { compareInstances, floats, spansOf, weightsOf } from "./instance_cases.ts";

/** Compares the cost matrices of the targets that have labels. */
async function compareCosts(
  files: CaseFiles,
  report: Report,
  name: string,
  outputs: { boxes: Tensor; logits: Tensor },
  labels: InstanceLabels,
  weights: InstanceLossWeights,
): Promise<void> {
  const { queries, columns } = labels;
  const { boxes, logits } = outputs;
  const all = await instanceCosts(
    { logits, boxes: slice(boxes, 1, 1, boxes.shape[1]! - 1) },
    labels,
    {
      classCost: weights.matchByProbability ? "probability" : "focal",
      classWeight: weights.discrimination,
      gamma: weights.gamma,
      ...(weights.alpha === undefined ? {} : { alpha: weights.alpha }),
      l1Weight: weights.l1,
      giouWeight: weights.giou,
    },
  ).readFloats();
  for (let target = 0; target < labels.targets; target++) {
    if (!files.expected.has(`${name}.cost.${target}`)) continue;
    const { shape, values } = await files.expected.get(`${name}.cost.${target}`);
    const own = Float32Array.from(values, (_, i) => {
      const query = target * queries + Math.floor(i / shape[1]!);
      return all[query * columns + i % shape[1]!]!;
    });
    report.close(`${name}.cost.${target}`, own, values, files.case.tolerance);
  }
}

async function instanceCases(files: CaseFiles, report: Report, device: Device): Promise<void> {
  const { inputs, expected } = files;
  const tolerance: Tolerance = files.case.tolerance;
  for (const one of files.case.instance_cases) {
    using _scope = device.scope();
    const { name } = one;
    const outputs = {
      boxes: floats(device, await inputs.get(`${name}.boxes_reg`)),
      logits: floats(device, await inputs.get(`${name}.disc_logit`)),
    };
    const labels = instanceLabels(device, {
      // Tensors without values are not in the file.
      boxes: inputs.has(`${name}.boxes_label`)
        ? (await inputs.get(`${name}.boxes_label`)).values
        : [],
      images: [await spansOf(inputs, `${name}.index_offsets`)],
      queries: one.num_queries,
    });
    const weights = weightsOf(one.config);
    await compareCosts(files, report, name, outputs, labels, weights);
    const gradient = async (input: string) => (await expected.get(`${name}.grad.${input}`)).values;
    await compareInstances(
      name,
      report,
      device,
      outputs,
      labels,
      weights,
      {
        loss: one.loss,
        match: one.match,
        terms: one.terms,
        gradients: {
          boxes: await gradient("boxes_reg"),
          logits: await gradient("disc_logit"),
          masks: undefined,
        },
      },
      { loss: tolerance, gradient: tolerance },
    );
  }
}

async function maskCases(files: CaseFiles, report: Report, device: Device): Promise<void> {
  const { inputs, expected } = files;
  const tolerance: Tolerance = files.case.tolerance;
  for (const { name, config } of files.case.mask_cases) {
    using _scope = device.scope();
    const logits = floats(device, await inputs.get("mask.logits"));
    const targets = floats(device, await inputs.get("mask.target"));
    const options: DiceFocalOptions = {
      dice: config.dice_weight,
      focal: config.focal_weight,
      gamma: config.focal_gamma,
      ...(config.focal_alpha == null ? {} : { alpha: config.focal_alpha }),
    };
    const focal = config.focal_gamma < 1e-8 ? "ce" : `focal-${config.focal_gamma.toFixed(1)}`;
    const compare = async (prefix: string, loss: Record<"dice" | "focal" | "total", Tensor>) => {
      for (const [term, of] of [["dice", "dice"], ["focal", focal], ["total", "total"]] as const) {
        const { values } = await expected.get(`mask.${name}.${prefix}${of}`);
        const found = await loss[term].readFloats();
        report.close(`mask.${name}.${prefix}${of}`, found, values, tolerance);
      }
    };
    await compare("", diceFocalLoss(logits, targets, options));
    await compare("per_item.", diceFocalLoss(logits, targets, { ...options, perSample: true }));
    const { gradients: [gradient] } = differentiate(
      device,
      [logits],
      () => diceFocalLoss(logits, targets, options).total,
    );
    const { values } = await expected.get(`mask.${name}.grad`);
    report.close(`mask.${name}.grad`, await gradient!.readFloats(), values, tolerance);
  }
}

async function overlap(files: CaseFiles, report: Report, device: Device): Promise<void> {
  using _scope = device.scope();
  const a = floats(device, await files.inputs.get("giou.a"));
  const b = floats(device, await files.inputs.get("giou.b"));
  const { values } = await files.expected.get("giou.value");
  report.close("giou", await boxGiou(a, b).readFloats(), values, files.case.tolerance);
}

async function tokens(files: CaseFiles, report: Report, device: Device): Promise<void> {
  const { inputs, expected } = files;
  using _scope = device.scope();
  const logits = floats(device, await inputs.get("ce.logits"));
  const { shape, values } = await inputs.get("ce.labels");
  const labels = tensor(device, Int32Array.from(values), shape);
  const weights = floats(device, await inputs.get("ce.weight"));
  const { value, gradients: [gradient] } = differentiate(
    device,
    [logits],
    () => crossEntropy(logits, labels, { weights }),
  );
  const found = {
    "ce.loss": value,
    "ce.grad": gradient!,
    "ce.loss_unweighted": crossEntropy(logits, labels),
  };
  for (const [name, one] of Object.entries(found)) {
    const wanted = (await expected.get(name)).values;
    report.close(name, await one.readFloats(), wanted, files.case.tolerance);
  }
}

/** `vividmed/matching-loss`. */
export async function runMatchingLoss(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  for (const compare of [instanceCases, maskCases, overlap, tokens]) {
    await compare(files, report, device);
  }
}
