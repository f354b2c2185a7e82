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
  instanceLabels,
  pairedCosts,
  readAssignments,
  tensor,
} from "@medvlm/core/tensor";
import { caseJson, CaseTensors } from "./case_files.ts";
import type { Report } from "./harness.ts";
import { compareInstances, floats, spansOf, weightsOf } from "./instance_cases.ts";

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
