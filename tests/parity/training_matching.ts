/**
 * Reference cases of matching: linear assignment, and VividMed's loss of sets of instances with its gradients.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import type { Device } from "@medvlm/core/device";
import {
  assign,
  assignment,
  differentiate,
  type InstanceLabels,
  instanceLabels,
  type InstanceLoss,
  instanceLoss,
  type InstanceLossWeights,
  type InstanceMeasures,
  instanceMeasures,
  type InstanceOutputs,
  pairedCosts,
  readAssignments,
  slice,
  type Tensor,
  tensor,
} from "@medvlm/core/tensor";
import { caseJson, type CaseTensor, CaseTensors } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";

/** Costs of a case in double precision, from its tensor or its JSON. */
async function costsOf(
  tensors: CaseTensors,
  // deno-lint-ignore no-explicit-any
  one: any,
): Promise<{ costs: Float64Array; rows: number; columns: number }> {
  if (one.cost === undefined) {
    const { shape, values } = await tensors.get(`${one.id}.cost`);
    return { costs: Float64Array.from(values), rows: shape[0]!, columns: shape[1]! };
  }
  const costs = Float64Array.from((one.cost as (number | string)[][]).flat(), Number);
  return { costs, rows: one.cost.length, columns: one.cost[0].length };
}

async function runHungarian(dir: string, report: Report, device: Device): Promise<void> {
  const { cases, tolerance } = await caseJson(`${dir}/case.json`);
  using tensors = await CaseTensors.open(`${dir}/tensors.safetensors`);
  for (const one of cases) {
    using _scope = device.scope();
    const { costs, rows, columns } = await costsOf(tensors, one);
    const solvers = {
      device: () =>
        readAssignments(
          assign(tensor(device, pairedCosts(costs), [1, rows, columns, 2]), { paired: true }),
        ),
      host: () => Promise.resolve().then(() => assignment(costs, rows, columns).rowToColumn),
    };
    for (const [solver, solve] of Object.entries(solvers)) {
      const name = `${one.id}.${solver}`;
      if (one.error !== undefined) {
        const error = await solve().then(() => undefined, (thrown: unknown) => thrown);
        report.holds(name, error instanceof InputError, `${error}, expected an ${one.error}`);
        continue;
      }
      const found = await solve();
      const pairs = [...found].flatMap((column, row) => column < 0 ? [] : [[row, column]]);
      const matched = new Set(pairs.map(([, column]) => column)).size;
      report.exact(
        `${name} pairs`,
        [pairs.length, matched],
        Array(2).fill(Math.min(rows, columns)),
      );
      if (one.total !== undefined) {
        const total = pairs.reduce(
          (sum, [row, column]) => sum + costs[row! * columns + column!]!,
          0,
        );
        report.close(`${name} total`, [total], [one.total], { rtol: tolerance.total_relative });
      }
      const unique = one.optimal_assignment_unique === true || one.row !== undefined ||
        one.name === "random" || one.name === "float32_values";
      if (!unique) continue;
      const expected = one.col ?? (await tensors.get(`${one.id}.col`)).values;
      const rowsOf = one.row ?? (await tensors.get(`${one.id}.row`)).values;
      report.exact(
        `${name} columns`,
        pairs,
        [...expected].map((column: number, i: number) => [rowsOf[i], column]),
      );
    }
  }
}

const floats = (device: Device, { shape, values }: CaseTensor): Tensor =>
  tensor(device, Float32Array.from(values), shape);

/** Official settings by our names. */
// deno-lint-ignore no-explicit-any
function weightsOf(settings: any): InstanceLossWeights {
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
async function compareInstances(
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

async function spansOf(tensors: CaseTensors, name: string): Promise<[number, number][]> {
  const { values } = await tensors.get(name);
  return Array.from({ length: values.length / 2 }, (_, t) => [values[2 * t]!, values[2 * t + 1]!]);
}

async function runInstances(dir: string, report: Report, device: Device): Promise<void> {
  const { cases, tolerance, settings } = await caseJson(`${dir}/case.json`);
  using tensors = await CaseTensors.open(`${dir}/tensors.safetensors`);
  for (const one of cases) {
    using _scope = device.scope();
    const get = (name: string) => tensors.get(`${one.id}.${name}`);
    const masks = await get("masks_logits"), low = await get("masks_logits_low_res");
    const labels = instanceLabels(device, {
      boxes: (await get("boxes_label")).values,
      images: [await spansOf(tensors, `${one.id}.index_offsets`)],
      queries: one.queries,
      ...(tensors.has(`${one.id}.masks_label`)
        ? {
          masks: {
            values: (await get("masks_label")).values,
            shape: masks.shape.slice(2),
            matchShape: low.shape.slice(2),
          },
        }
        : {}),
    });
    await compareInstances(
      one.id,
      report,
      device,
      {
        boxes: floats(device, await get("boxes_reg")),
        logits: floats(device, await get("disc_logit")),
        masks: floats(device, masks),
        low: floats(device, low),
      },
      labels,
      weightsOf({ ...settings, ...one.settings }),
      {
        loss: (await get("loss")).values[0]!,
        match: one.match,
        terms: one.log,
        gradients: {
          boxes: (await get("grad_boxes_reg")).values,
          logits: (await get("grad_disc_logit")).values,
          masks: (await get("grad_masks_logits")).values,
        },
      },
      {
        loss: { atol: tolerance.loss, rtol: tolerance.loss },
        gradient: { atol: tolerance.grad, rtol: tolerance.grad },
      },
    );
  }
}

/** How each kind is compared. */
export const matchingKinds: Readonly<
  Record<string, (dir: string, report: Report, device: Device) => Promise<void>>
> = {
  hungarian: runHungarian,
  "instance_matching_vividmed": runInstances,
};
