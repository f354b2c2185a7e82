/**
 * Reference cases of MedPLIB's decoder: prefill, cached steps, and a padded batch with its losses.
 *
 * @module
 */
import { openFolder } from "@medvlm/core";
import { type CheckpointSource, openCheckpoint } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import {
  KeyValueCache,
  llama,
  llamaHeadSize,
  loadParameters,
  type Parameters,
  TraceCollector,
} from "@medvlm/core/nn";
import { gatherRows, linear, slice, type Tensor, tensor } from "@medvlm/core/tensor";
import {
  evaluationRouting,
  feedForwardOf,
  type MedplibConfig,
  medplibParameters,
  readMedplibConfig,
} from "@medvlm/medplib/parts";
import { type CaseFiles, checkpointPath, openCase } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";
import { compare, compareTrace } from "./medplib_parts.ts";

interface Decoder {
  config: MedplibConfig;
  p: Parameters;
  checkpoint: CheckpointSource;
}

async function loadDecoder(device: Device, path: string): Promise<Decoder> {
  const folder = await openFolder(path);
  const checkpoint = await openCheckpoint(folder);
  const config = await readMedplibConfig({ folder, tensors: checkpoint });
  const specs = medplibParameters(config).filter(({ name }) =>
    /^(model\.(embed_tokens|layers|norm)\b|lm_head)/.test(name)
  );
  return {
    config,
    checkpoint,
    p: await loadParameters(device, specs, checkpoint, { ignore: [/./] }),
  };
}

/** `medplib/llm-moe`: prefill, cached steps, and a padded batch with its losses. */
export async function runLlmMoe(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const { config, p, checkpoint } = await loadDecoder(
    device,
    checkpointPath(files, files.case.checkpoint),
  );
  const tolerance = files.case.tolerance as Tolerance;
  const { llama: sizes } = config;
  const embedding = p.weight("model.embed_tokens.weight"), head = p.weight("lm_head.weight");
  const ids = (await files.inputs.get("input_ids")).values as number[];
  const steps = (await files.inputs.get("step_ids")).values as number[];
  const cache = new KeyValueCache(device, sizes, ids.length + steps.length);
  const routers: Promise<ArrayLike<number>>[][] = Array.from({ length: sizes.layers }, () => []);
  const pass = (tokens: number[], before: number, prefix: string) => {
    const collected = new TraceCollector();
    const trace = (name: string, value: Tensor) => {
      const router = /^layer(\d+)\.router_logits$/.exec(name);
      if (router !== null) routers[Number(router[1])]!.push(value.read());
      else if (/\.(key|value)$/.test(name)) {
        collected.trace(prefix + name, slice(value, 0, 0, before + tokens.length));
      } else collected.trace(prefix + name, value);
    };
    const positions = tensor(device, Uint32Array.from(tokens, (_, i) => before + i));
    const length = tensor(device, Uint32Array.of(before + 1));
    const final = llama(
      p.at("model."),
      gatherRows(embedding, tensor(device, Int32Array.from(tokens))),
      sizes,
      {
        batch: 1,
        positions,
        cache: before === 0 ? { store: cache, before } : { store: cache, length },
        feedForward: feedForwardOf(config, evaluationRouting(config, device, 0)),
        trace,
      },
    );
    return { final, logits: linear(final, head), collected };
  };
  using _scope = device.scope();
  const prefill = pass(ids, 0, "prefill.");
  await compare(report, files, "prefill.logits", prefill.logits, tolerance);
  const headSize = llamaHeadSize(sizes);
  for (const name of prefill.collected.names()) {
    if (!files.expected.has(name)) continue;
    let values: ArrayLike<number> = (await prefill.collected.values(name))!;
    if (/\.(key|value)$/.test(name)) {
      values = headsFirst(values, ids.length, sizes.keyHeads, headSize);
    }
    report.close(name, values, (await files.expected.get(name)).values, tolerance);
  }
  for (let t = 0; t < steps.length; t++) {
    const { final, logits } = pass([steps[t]!], ids.length + t, "");
    await compare(report, files, `step${t}.logits`, logits, tolerance);
    await compare(report, files, `step${t}.final_hidden`, final, tolerance);
  }
  for (let n = 0; n < sizes.layers; n++) {
    const rows = (await Promise.all(routers[n]!)).flatMap((values) => Array.from(values));
    report.close(
      `layer${n}.router_logits`,
      rows,
      (await files.expected.get(`layer${n}.router_logits`)).values,
      tolerance,
    );
  }
  cache.dispose();
  await runPaddedBatch(files, report, device, { config, p, checkpoint }, tolerance);
  p.dispose();
  checkpoint[Symbol.dispose]();
}

/** [T, heads * size] to [heads, T, size]. */
function headsFirst(
  values: ArrayLike<number>,
  tokens: number,
  heads: number,
  size: number,
): Float32Array {
  const out = new Float32Array(values.length);
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      for (let d = 0; d < size; d++) {
        out[(h * tokens + t) * size + d] = values[(t * heads + h) * size + d]!;
      }
    }
  }
  return out;
}

async function runPaddedBatch(
  files: CaseFiles,
  report: Report,
  device: Device,
  { config, p }: Decoder,
  tolerance: Tolerance,
): Promise<void> {
  const { shape: [batch, tokens], values: ids } = await files.inputs.get("batch_ids");
  const mask = (await files.inputs.get("batch_mask")).values;
  const labels = (await files.inputs.get("batch_labels")).values;
  const lengths = Uint32Array.from(
    { length: batch! },
    (_, b) =>
      Array.from(mask).slice(b * tokens!, (b + 1) * tokens!).reduce((sum, one) => sum + one, 0),
  );
  const collected = new TraceCollector();
  using _scope = device.scope();
  const rows = gatherRows(
    p.weight("model.embed_tokens.weight"),
    tensor(device, Int32Array.from(ids)),
  );
  const final = llama(p.at("model."), rows, config.llama, {
    batch: batch!,
    positions: tensor(
      device,
      Uint32Array.from({ length: batch! * tokens! }, (_, i) => i % tokens!),
    ),
    keyLengths: tensor(device, lengths),
    feedForward: feedForwardOf(config, evaluationRouting(config, device, 0)),
    trace: (name, value) => collected.trace(`batch.${name}`, value),
  });
  const logits = await linear(final, p.weight("lm_head.weight")).readFloats();
  report.close(
    "batch.logits",
    logits,
    (await files.expected.get("batch.logits")).values,
    tolerance,
  );
  await compareTrace(report, files, collected, tolerance);
  // Losses in double precision on the host: shifted cross entropy over labels that count, and the router's own.
  const vocabulary = config.llama.vocabulary;
  let loss = 0, counted = 0;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i + 1];
    if ((i + 1) % tokens! === 0 || label === undefined || label < 0) continue;
    const row = logits.subarray(i * vocabulary, (i + 1) * vocabulary);
    const top = row.reduce((most, one) => Math.max(most, one), -Infinity);
    const sum = row.reduce((total, one) => total + Math.exp(one - top), 0);
    loss += top + Math.log(sum) - row[label]!;
    counted++;
  }
  let auxiliary = 0;
  for (let n = 0; n < config.llama.layers; n++) {
    auxiliary += (await collected.values(`batch.layer${n}.l_aux`))?.[0] ?? 0;
  }
  const expectedLoss = (await files.expected.floats("batch.loss"))[0]!;
  const expectedAuxiliary = (await files.expected.floats("batch.moe_loss"))[0]!;
  const weight = Number(/router_aux_loss_coef ([\d.]+)/.exec(files.case.procedure)?.[1] ?? 1);
  const total = loss / counted + weight * auxiliary;
  report.close("batch.loss", [total], [expectedLoss], tolerance);
  report.close("batch.moe_loss", [weight * auxiliary], [expectedAuxiliary], tolerance);
}
