/**
 * Reference cases of the mixture-of-experts layer: routing, weights, balance loss and output of every variant.
 *
 * @module
 */
import { openCheckpoint } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import { loadParameters, moeFeedForward, type ParameterSpec } from "@medvlm/core/nn";
import {
  differentiate,
  multiply,
  reduceMean,
  type Tensor,
  tensor,
  weightedSum,
} from "@medvlm/core/tensor";
import { type CaseFiles, openCase } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";

interface Variant {
  k: 1 | 2;
  E: number;
  cf: number;
  "eval_cf": number;
  "min_capacity": number;
  train: boolean;
  capacity: number;
}

const prefix = "model.layers.0.mlp.deepspeed_moe.";

function layerSpecs(experts: number, hidden: number, inner: number): ParameterSpec[] {
  const matrix = (name: string, rows: number, columns: number): ParameterSpec => ({
    name: `${prefix}${name}.weight`,
    shape: [rows, columns],
    keep: "float",
    stored: "F32",
    init: { kind: "zeros" },
  });
  return [
    matrix("gate.wg", experts, hidden),
    ...Array.from({ length: experts }, (_, e) => [
      matrix(`experts.deepspeed_experts.${e}.gate_proj`, inner, hidden),
      matrix(`experts.deepspeed_experts.${e}.up_proj`, inner, hidden),
      matrix(`experts.deepspeed_experts.${e}.down_proj`, hidden, inner),
    ]).flat(),
  ];
}

/** `medplib/moe-layer`. */
export async function runMoeLayer(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  for (const [index, variant] of (files.case.variants as Variant[]).entries()) {
    await runVariant(files, report, device, index, variant);
  }
}

async function runVariant(
  files: CaseFiles,
  report: Report,
  device: Device,
  index: number,
  variant: Variant,
): Promise<void> {
  const { hidden_size: hidden, intermediate_size: inner } = files.config;
  const { k, E: experts } = variant;
  const tolerance = files.case.tolerance as Tolerance;
  const path = Object.keys(files.case.checkpoint).find((name) => name.includes(`e${experts}.`));
  using checkpoint = await openCheckpoint(`${files.dir}/${path}`);
  const p = await loadParameters(device, layerSpecs(experts, hidden, inner), checkpoint);
  using _scope = device.scope();
  const input = async (name: string, ...shape: number[]): Promise<Tensor | undefined> =>
    files.inputs.has(`${index}.${name}`)
      ? tensor(device, await files.inputs.floats(`${index}.${name}`), shape)
      : undefined;
  const values = await files.inputs.floats(`${index}.x`);
  const tokens = values.length / hidden;
  const uniform = await input("rts_uniform", tokens, experts);
  const gumbel = await input("gumbel", tokens, experts);
  const layer = p.at(prefix);
  const x = tensor(device, values, [tokens, hidden]);
  const weights = {
    router: layer.weight("gate.wg.weight"),
    experts: Array.from(
      { length: experts },
      (_, e) => layer.at(`experts.deepspeed_experts.${e}.`),
    ),
  };
  const options = {
    k,
    capacityFactor: variant.train ? variant.cf : variant.eval_cf,
    minCapacity: variant.min_capacity,
    ...(uniform === undefined ? {} : { uniform }),
    ...(gumbel === undefined ? {} : { gumbel }),
  };
  const { y, routing, logits } = moeFeedForward(x, weights, options);
  report.exact(`${index}.capacity`, routing.capacity, variant.capacity);
  const expected = async (name: string) => (await files.expected.get(`${index}.${name}`)).values;
  report.close(`${index}.logits`, await logits.readFloats(), await expected("logits"), tolerance);
  report.close(
    `${index}.gates`,
    await routing.gates.readFloats(),
    await expected("gates"),
    tolerance,
  );
  const chosen = await routing.expert.read(),
    slots = await routing.slot.read(),
    combined = await routing.weight.readFloats();
  const table = (fill: number) => new Float64Array(tokens * experts).fill(fill);
  const dispatched = table(0), slot = table(-1), weight = table(0);
  chosen.forEach((expert, i) => {
    const at = Math.floor(i / k) * experts + expert;
    if (slots[i]! < 0) return;
    dispatched[at] = 1;
    slot[at] = slots[i]!;
    weight[at] = combined[i]!;
  });
  report.close(`${index}.dispatched`, dispatched, await expected("dispatched"), {});
  report.close(`${index}.slot`, slot, await expected("slot"), {});
  report.close(`${index}.gate_weight`, weight, await expected("gate_weight"), tolerance);
  report.close(
    `${index}.exp_counts`,
    await routing.expertCounts.read(),
    await expected("exp_counts"),
    {},
  );
  report.close(
    `${index}.l_aux`,
    await routing.auxLoss.readFloats(),
    await expected("l_aux"),
    tolerance,
  );
  report.close(`${index}.y`, await y.readFloats(), await expected("y"), tolerance);

  // The same layer in differentiable steps, under the loss 10 mean(y cos(0.11 i)) + 0.3 l_aux.
  const leaves = {
    "grad.x": x,
    ...Object.fromEntries(
      layerSpecs(experts, hidden, inner).map(({ name }) => {
        const own = name.slice(prefix.length);
        return [`grad.deepspeed_moe.${own}`, layer.weight(own)];
      }),
    ),
  };
  const factors = Float32Array.from(values, (_, i) => Math.cos(0.11 * i));
  let again: Promise<Float32Array>;
  const { gradients } = differentiate(device, Object.values(leaves), () => {
    const result = moeFeedForward(x, weights, options);
    again = result.y.readFloats();
    const weighted = multiply(result.y, tensor(device, factors, [tokens, hidden]));
    return weightedSum([
      { value: reduceMean(weighted.reshape(1, -1), 1), weight: 10 },
      { value: result.routing.auxLoss, weight: 0.3 },
    ]);
  });
  report.close(`${index}.y in steps`, await again!, await expected("y"), tolerance);
  for (const [i, name] of Object.keys(leaves).entries()) {
    const gradient = await gradients[i]!.readFloats();
    report.close(`${index}.${name}`, gradient, await expected(name), tolerance);
  }
  p.dispose();
}
