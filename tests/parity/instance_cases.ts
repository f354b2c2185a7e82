/**
 * What reference cases of VividMed's instance loss share: one comparison of loss, matching, terms and gradients.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import {
  differentiate,
  type InstanceLabels,
  type InstanceLoss,
  instanceLoss,
  type InstanceLossWeights,
  type InstanceMeasures,
  instanceMeasures,
  type InstanceOutputs,
  slice,
  type Tensor,
  tensor,
} from "@medvlm/core/tensor";
import type { CaseTensor, CaseTensors } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";

/** Float values on the device. */
export const floats = (device: Device, { shape, values }: CaseTensor): Tensor =>
  tensor(device, Float32Array.from(values), shape);

/** Official settings by our names. */
// deno-lint-ignore no-explicit-any
export function weightsOf(settings: any): InstanceLossWeights {
  const alpha = settings.disc_focal_alpha ?? undefined;
  return {
    discrimination: settings.disc_weight,
    gamma: settings.disc_focal_gamma,
    ...(alpha === undefined ? {} : { alpha }),
    l1: settings.box_l1_weight,
    giou: settings.box_giou_weight,
    matchByProbability: settings.match_ce ?? true,
    emptyMasks: settings.use_neg_mask ?? false,
    ...(settings.mask_dice === undefined ? {} : {
      mask: {
        dice: settings.mask_dice,
        focal: settings.mask_focal,
        gamma: settings.mask_gamma,
        ...(settings.mask_alpha == null ? {} : { alpha: settings.mask_alpha }),
      },
    }),
  };
}

/** The names of the official log and where they are here. */
function terms(
  gamma: number,
  loss: InstanceLoss,
  measures: InstanceMeasures,
): Record<string, Tensor | undefined> {
  const focal = `focal-${gamma.toFixed(1)}`;
  return {
    [`instance-disc-${focal}`]: loss.discrimination,
    [`instance-disc-pos-${focal}`]: measures.matched,
    [`instance-disc-neg-${focal}`]: measures.leftOver,
    "instance-box-l1": loss.l1,
    "instance-box-giou": loss.giou,
    "instance-mask-pos-dice": loss.dice,
    [`instance-mask-pos-${focal}`]: loss.focal,
    "instance-mask-neg-dice": measures.emptyDice,
    [`instance-mask-neg-${focal}`]: measures.emptyFocal,
  };
}

/** Differentiates one case; the official outputs have the whole target in front of its instances, which is dropped. */
export async function compareInstances(
  name: string,
  report: Report,
  device: Device,
  outputs: { boxes: Tensor; logits: Tensor; masks?: Tensor; low?: Tensor },
  labels: InstanceLabels,
  weights: InstanceLossWeights,
  expected: {
    loss: number;
    match: readonly (readonly number[])[];
    terms: Record<string, number>;
    gradients: Record<"boxes" | "logits" | "masks", ArrayLike<number> | undefined>;
  },
  tolerance: { loss: Tolerance; gradient: Tolerance },
): Promise<void> {
  const rest = (x: Tensor) => slice(x, 1, 1, x.shape[1]! - 1);
  const leaves = [outputs.boxes, outputs.logits, ...(outputs.masks ? [outputs.masks] : [])];
  let read: Promise<[Int32Array, Record<string, number>]> | undefined;
  using _scope = device.scope();
  const { value, gradients } = differentiate(device, leaves, () => {
    const instances: InstanceOutputs = {
      boxes: rest(outputs.boxes),
      logits: outputs.logits,
      ...(outputs.masks === undefined ? {} : { masks: rest(outputs.masks) }),
      ...(outputs.low === undefined ? {} : { matchMasks: rest(outputs.low) }),
    };
    const result = instanceLoss(instances, labels, weights);
    const measures = instanceMeasures(instances, labels, weights, result.match);
    const chosen = result.match.chosen.read() as Promise<Int32Array>;
    const values = Object.entries(terms(weights.gamma, result, measures))
      .filter(([, term]) => term !== undefined)
      .map(async ([term, tensor]) => [term, (await tensor!.readFloats())[0]!] as const);
    read = Promise.all([chosen, Promise.all(values).then(Object.fromEntries)]);
    return result.loss;
  });
  const loss = await value.readFloats();
  const [chosen, found] = await read!;
  report.close(`${name}.loss`, loss, [expected.loss], tolerance.loss);
  report.exact(`${name}.match`, [...chosen], expected.match.flat());
  for (const [term, wanted] of Object.entries(expected.terms)) {
    report.close(`${name}.${term}`, [found[term] ?? NaN], [wanted], tolerance.loss);
  }
  for (const [i, input] of (["boxes", "logits", "masks"] as const).entries()) {
    const wanted = expected.gradients[input];
    if (wanted === undefined) continue;
    const gradient = await gradients[i]?.readFloats() ?? new Float32Array(wanted.length);
    report.close(`${name}.grad.${input}`, gradient, wanted, tolerance.gradient);
  }
}

/** First label and the one after the last of every target. */
export async function spansOf(tensors: CaseTensors, name: string): Promise<[number, number][]> {
  const { values } = await tensors.get(name);
  return Array.from({ length: values.length / 2 }, (_, t) => [values[2 * t]!, values[2 * t + 1]!]);
}
