/**
 * Reference cases of MedPLIB's training: loss terms, gradients and parameters after AdamW steps of stages II and IV.
 *
 * @module
 */
import { openFolder, readAll } from "@medvlm/core";
import {
  type CheckpointSource,
  checkpointSource,
  openCheckpoint,
  toFloat32,
} from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import { decodeImage } from "@medvlm/core/image";
import { loadParameters, type Parameters, TraceCollector } from "@medvlm/core/nn";
import { differentiate, type Tensor, tensor } from "@medvlm/core/tensor";
import { loadLlamaTokenizer } from "@medvlm/core/text";
import { AdamW, learningRate } from "@medvlm/core/train";
import {
  assembleBase,
  assembleExperts,
  denseConfig,
  gridPositions,
  maskFromPicture,
  type MedplibConfig,
  medplibParameters,
  names,
  presets,
  stageOf,
  StageTraining,
  takeMaskPath,
  type TrainingBatch,
  trainingBatch,
  type TrainingRecord,
  trainingSample,
} from "@medvlm/medplib/parts";
import { type CaseFiles, caseJson, openCase } from "./case_files.ts";
import type { Report } from "./harness.ts";
import { clipConfig, samConfig } from "./medplib_parts.ts";

/** Sizes of a case; the fields of the paper where it says nothing. */
function configOf({ config, case: { moe } }: CaseFiles): MedplibConfig {
  const { llm, clip, sam, vocab_size: vocabulary } = config;
  const layers = llm.num_hidden_layers as number;
  return {
    ...presets.paper,
    ...samConfig(sam),
    clip: clipConfig(clip),
    llama: {
      ...presets.paper.llama,
      vocabulary,
      hiddenSize: llm.hidden_size,
      intermediateSize: llm.intermediate_size,
      layers,
      heads: llm.num_attention_heads,
      keyHeads: llm.num_key_value_heads,
      maxPositions: llm.max_position_embeddings,
      epsilon: llm.rms_norm_eps,
    },
    moe: {
      ...presets.paper.moe,
      layers: Array.from({ length: layers }, (_, n) => n),
      experts: Array.from({ length: layers }, () => moe?.num_experts ?? 2),
      ...(moe === undefined ? {} : {
        topK: moe.top_k,
        capacityFactor: moe.capacity_factor,
        minCapacity: moe.min_capacity,
      }),
    },
    stored: "F32",
  };
}

async function picture(path: string) {
  return (await decodeImage(await readAll(path), path, { orientation: "ignore" })).raster;
}

/** The records of `data/data.json` with their pictures and masks. */
async function readRecords(dir: string): Promise<TrainingRecord[]> {
  const list = await caseJson(`${dir}/data/data.json`);
  // deno-lint-ignore no-explicit-any
  return await Promise.all(list.map(async (record: any): Promise<TrainingRecord> => {
    let region: string | undefined, mask: string | undefined;
    const turns = record.conversations.map((
      { from, value }: { from: "human" | "gpt"; value: string },
    ) => {
      const taken = takeMaskPath(value, from === "human" ? "region" : "mask");
      if (from === "human") region ??= taken.path;
      else mask ??= taken.path;
      return { from, value: taken.turn };
    });
    const load = async (path: string) => maskFromPicture(await picture(`${dir}/data/${path}`));
    return {
      image: await picture(`${dir}/data/${record.image}`),
      turns,
      ...(region === undefined ? {} : { region: await load(region) }),
      ...(mask === undefined ? {} : { masks: [await load(mask)] }),
    };
  }));
}

async function readBatch(
  files: CaseFiles,
  report: Report,
  config: MedplibConfig,
  tokenizerFolder: string,
): Promise<TrainingBatch> {
  const tokenizer = await loadLlamaTokenizer(await openFolder(tokenizerFolder), {
    behaviour: "4.31-legacy",
  });
  const samples = (await readRecords(files.dir)).map((record) =>
    trainingSample(record, tokenizer, config)
  );
  const padded = async (name: string, rows: readonly (readonly number[])[], padding: number) => {
    const { shape: [, length], values } = await files.inputs.get(name);
    const own = rows.flatMap((row) => Array.from({ length: length! }, (_, i) => row[i] ?? padding));
    report.exact(name, own, Array.from(values));
  };
  await padded("input_ids", samples.map(({ ids }) => ids), tokenizer.padId ?? 0);
  await padded("labels", samples.map(({ labels }) => labels), -100);
  const batch = trainingBatch(samples, config, {
    seg: tokenizer.tokenToId("<SEG>"),
    pad: tokenizer.padId ?? 0,
  });
  const clip = await files.inputs.get("images_clip");
  report.close("images_clip", batch.visual.pixels, clip.values, { atol: 1e-5 });
  return batch;
}

/** The values of a file over those of a source. */
function overlaid(source: CheckpointSource, over: CheckpointSource): CheckpointSource {
  const tensors = new Map([...source.entries()].map((entry) => [entry.name, entry]));
  for (const entry of over.entries()) {
    const name = entry.name.replace(/^base_model\.model\./, "");
    if (tensors.has(name)) tensors.set(name, { ...entry, name });
  }
  return checkpointSource(source.name, tensors);
}

interface Run {
  readonly files: CaseFiles;
  readonly report: Report;
  readonly device: Device;
  readonly config: MedplibConfig;
  readonly parameters: Parameters;
  readonly training: StageTraining;
  readonly batch: TrainingBatch;
  readonly collected: TraceCollector;
}

/** Peft's name of a parameter of the model. */
function peftName(name: string): string {
  return name.startsWith("base_model.") ? name : `base_model.model.${name}`;
}

/** Rows of the batch that do not depend on a region that vanished, whose official stand-in is drawn at random. */
function comparableRows({ regions, source, size, length }: TrainingBatch): boolean[] {
  const rows = Array.from({ length: size * length }, () => true);
  const most = source.reduce((a, b) => Math.max(a, b), 0);
  regions.forEach(({ sample, cells }, r) => {
    if (cells.length > 0) return;
    const at = source.indexOf(most - regions.length + 1 + r);
    rows.fill(false, at, (sample + 1) * length);
  });
  return rows;
}

async function compareActivations({ files, report, batch, collected, config }: Run): Promise<void> {
  const rows = comparableRows(batch);
  const width = config.llama.hiddenSize;
  const layers = config.llama.layers;
  const own: Record<string, string> = { "inputs_embeds": "inputs_embeds" };
  for (let n = 0; n < layers; n++) {
    own[`layer${n}.out`] = n + 1 < layers ? `hidden.${n + 1}` : "hidden.last";
    own[`layer${n}.router_logits`] = `layer${n}.router_logits`;
    own[`layer${n}.l_aux`] = `layer${n}.l_aux`;
  }
  own.final_hidden = `hidden.${layers}`;
  for (const name of ["low_res_mask", "iou_pred", "mask_logits"]) own[`${name}.0`] = name;
  for (const [name, traced] of Object.entries(own)) {
    if (!files.expected.has(name)) continue;
    const expected = (await files.expected.get(name)).values;
    const actual = await collected.values(traced) ?? [];
    const whole = actual.length === rows.length * width;
    const keep = (values: ArrayLike<number>) =>
      whole ? Array.from(values).filter((_, i) => rows[Math.floor(i / width)]) : values;
    report.close(name, keep(actual), keep(expected), { atol: 5e-5, rtol: 1e-4 });
  }
}

async function compareGradients(
  { files, report, training }: Run,
  gradients: readonly (Tensor | undefined)[],
): Promise<Map<string, ArrayLike<number>>> {
  const { grad_abs: absolute } = files.case.tolerance as { grad_abs: number };
  const found = new Map<string, ArrayLike<number>>();
  for (const [i, { name, value }] of training.trained.trained.entries()) {
    const wanted = `grad.${peftName(name)}`;
    const size = "parts" in value ? value.rows * value.columns : value.size;
    const actual = await gradients[i]?.readFloats() ?? new Float32Array(size);
    const expected = files.expected.has(wanted)
      ? (await files.expected.get(wanted)).values
      : new Float32Array(size);
    found.set(name, expected);
    report.close(wanted, actual, expected, { atol: absolute, rtol: 1e-4 });
    let error = 0, power = 0;
    for (let k = 0; k < size; k++) {
      error += (actual[k]! - expected[k]!) ** 2;
      power += expected[k]! ** 2;
    }
    if (Math.sqrt(power) > 1e-3) {
      const relative = Math.sqrt(error / power);
      report.holds(`${wanted} as a whole`, relative <= 1e-4, `relative error ${relative}`);
    }
  }
  return found;
}

/** Largest sum of what AdamW can move a parameter whose gradient is rounding noise. */
function noise(history: readonly { lr: number }[]): number {
  return 2 * history.reduce((sum, { lr }) => sum + lr, 0);
}

async function compareFinals(
  { files, report, training }: Run,
  gradients: ReadonlyMap<string, ArrayLike<number>>,
): Promise<void> {
  const { final_abs_where_grad_above_1e_5: tolerance } = files.case.tolerance;
  for (const { name, value } of training.trained.trained) {
    const wanted = `final.${peftName(name)}`;
    if (!files.expected.has(wanted)) continue;
    const expected = (await files.expected.get(wanted)).values;
    const actual = await value.readFloats();
    const gradient = gradients.get(name)!;
    const sure = Array.from(expected, (_, i) => Math.abs(gradient[i]!) > 1e-5);
    const those = (values: ArrayLike<number>, wantsSure: boolean) =>
      Array.from(values).filter((_, i) => sure[i] === wantsSure);
    report.close(wanted, those(actual, true), those(expected, true), { atol: tolerance });
    report.close(`${wanted} without gradient`, those(actual, false), those(expected, false), {
      atol: noise(files.case.history),
    });
  }
}

async function runSteps(run: Run): Promise<void> {
  const { files, report, device, training, batch } = run;
  const { optimizer, history, tolerance } = files.case;
  report.exact(
    "trained parameters",
    training.trained.trained.map(({ name }) => peftName(name)).sort(),
    [...files.case.freeze.trainable].sort(),
  );
  using optimiser = new AdamW(device, [{ parameters: training.trained.trained }], {
    betas: optimizer.betas,
    epsilon: optimizer.eps,
    maxNorm: optimizer.grad_clip,
  });
  const schedule = {
    kind: "warmupDecay",
    warmup: "linear",
    rate: optimizer.lr,
    warmupSteps: optimizer.warmup_num_steps,
    steps: optimizer.total_num_steps,
  } as const;
  let gradientsOfFirst = new Map<string, ArrayLike<number>>();
  for (const [step, expected] of history.entries()) {
    const scope = device.scope();
    const terms: Record<string, Promise<Float32Array>> = {};
    const { value, gradients } = differentiate(device, optimiser.leaves, () => {
      const { total, terms: parts = {} } = training.loss(batch, step, 0);
      for (const [name, part] of Object.entries(parts)) terms[name] = part.readFloats();
      return total;
    });
    const loss = value.readFloats();
    const rate = learningRate(schedule, step);
    optimiser.step(gradients, rate);
    const verdict = optimiser.report();
    const reading = step === 0 ? compareGradients(run, gradients) : undefined;
    for (const one of gradients) if (one !== undefined) scope.keep(one);
    scope[Symbol.dispose]();
    const close = (name: string, actual: number, wanted: number) =>
      report.close(`step ${step} ${name}`, [actual], [wanted], {
        atol: tolerance.loss,
        rtol: name === "grad_norm" ? 1e-4 : 0,
      });
    report.close(`step ${step} lr`, [rate], [expected.lr], { rtol: 1e-6 });
    close("loss", (await loss)[0]!, expected.loss);
    close("grad_norm", (await verdict).norm, expected.grad_norm);
    const named: Record<string, string> = { "ce": "ce_loss" };
    for (const part of ["bce", "dice", "iou", "focal"]) named[part] = `unscale_mask_${part}_loss`;
    for (const [name, values] of Object.entries(terms)) {
      const wanted = expected[named[name]!];
      if (wanted !== undefined) close(named[name]!, (await values)[0]!, wanted);
    }
    if (reading !== undefined) gradientsOfFirst = await reading;
    for (const one of gradients) one?.dispose();
  }
  await compareActivations(run);
  await compareFinals(run, gradientsOfFirst);
}

async function prepare(
  files: CaseFiles,
  report: Report,
  device: Device,
  stageName: string,
  tokenizerFolder: string,
  source: (config: MedplibConfig) => Promise<CheckpointSource>,
  initial: CheckpointSource,
): Promise<Run & Disposable> {
  const stage = stageOf(stageName);
  const whole = configOf(files);
  const config = stage.experts ? whole : denseConfig(whole);
  const batch = await readBatch(files, report, config, tokenizerFolder);
  const parameters = await loadParameters(
    device,
    medplibParameters(config),
    overlaid(await source(config), initial),
    { ignore: [/./] },
  );
  const positions = await gridPositions(parameters.at(names.sam), config);
  const collected = new TraceCollector();
  // The case trains without dropout.
  const adapters = { ...stage.adapters!, dropout: files.case.lora.dropout };
  const training = new StageTraining(parameters, config, { ...stage, adapters }, positions, {
    seed: 0,
    draws: (step) => (layer, tokens, experts) =>
      tensor(device, draws.get(`rts.step${step}.layer${layer}`)!, [tokens, experts]),
    trace: (step) => step === 0 ? collected.trace : undefined,
  });
  const draws = new Map<string, Float32Array<ArrayBuffer>>();
  for (const name of files.inputs.names().filter((one) => one.startsWith("rts."))) {
    draws.set(name, await files.inputs.floats(name));
  }
  for (const { name, value } of training.trained.trained) {
    const given = initial.get(name);
    if (given !== undefined) value.write(toFloat32(await given.read(), given.dtype));
  }
  return {
    files,
    report,
    device,
    config,
    parameters,
    training,
    batch,
    collected,
    [Symbol.dispose]() {
      training[Symbol.dispose]();
      positions.dispose();
      parameters.dispose();
    },
  };
}

/** `medplib/train-stage2`. */
export async function runTrainStage2(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const at = `${dir}/checkpoint`;
  using language = await openCheckpoint(`${at}/llava-tiny`);
  using projector = await openCheckpoint(`${at}/mm_projector.bin`);
  using clip = await openCheckpoint(`${at}/clip-vit-tiny`);
  using sam = await openCheckpoint(`${at}/sam-med2d_tiny.pth`);
  using initial = await openCheckpoint(`${at}/stage2-init.safetensors`);
  using run = await prepare(
    files,
    report,
    device,
    "recognition",
    `${at}/tokenizer`,
    (config) => assembleBase({ language, projector, clip, sam }, config, 0),
    initial,
  );
  // The rows that a larger vocabulary adds are random in the official run; the case fixes them.
  for (const name of ["model.embed_tokens.weight", "lm_head.weight"]) {
    const rows = initial.get(`base_model.model.${name}.new_rows`) ??
      initial.get(`${name}.new_rows`);
    if (rows === undefined) continue;
    const value = run.parameters.weight(name);
    const all = await value.readFloats();
    const added = toFloat32(await rows.read(), rows.dtype);
    all.set(added, all.length - added.length);
    value.write(all);
  }
  await runSteps(run);
}

/** `medplib/train-stage4`. */
export async function runTrainStage4(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const at = `${dir}/checkpoint`;
  using recognition = await openCheckpoint(`${at}/stage2-hf`);
  using grounding = await openCheckpoint(`${at}/stage3-hf`);
  using clip = await openCheckpoint(`${at}/clip-vit-tiny`);
  using sam = await openCheckpoint(`${at}/sam-med2d_tiny.pth`);
  using initial = await openCheckpoint(`${at}/stage4-init.safetensors`);
  using run = await prepare(
    files,
    report,
    device,
    "experts",
    `${at}/stage2-hf`,
    (config) => Promise.resolve(assembleExperts({ recognition, grounding, clip, sam }, config, 0)),
    initial,
  );
  await runSteps(run);
  run.training.finish();
  for (const name of files.expected.names().filter((one) => one.startsWith("merged."))) {
    const value = run.parameters.value(name.slice("merged.".length));
    report.close(name, await value.readFloats(), (await files.expected.get(name)).values, {
      atol: 2e-5,
    });
  }
}
