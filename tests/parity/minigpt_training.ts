/**
 * Reference cases of training in the MiniGPT-v2 family: a batch with its labels, losses and gradients, and steps of AdamW by the
 * official schedule and parameter groups.
 *
 * @module
 */
import type { Device } from "@medvlm/core/device";
import {
  answerLoss,
  batchPictures,
  decodeBatch,
  embedBatch,
  ignoredLabel,
  imagePlaceholder,
  type LabelledBatch,
  minigptBatch,
  minigptLoss,
  type MinigptModel,
  minigptSample,
  promptSegments,
  tableName,
  trainingPrompt,
} from "@medvlm/core/minigpt";
import { projection } from "@medvlm/core/nn";
import { type Differentiable, differentiate, tensor } from "@medvlm/core/tensor";
import {
  AdamW,
  decayGroups,
  decaysUnlessNamed,
  learningRate,
  type Schedule,
} from "@medvlm/core/train";
import { type CaseFiles, openCase } from "./case_files.ts";
import type { Report } from "./harness.ts";
import { loadCaseModel } from "./minigpt_pipeline.ts";

/** Texts of a batch and where its pictures are. */
interface Texts {
  readonly prompts: readonly string[];
  readonly answers: readonly string[];
  readonly placeholder: string;
  /** Name of the pictures among the inputs. */
  readonly images: string;
}

interface Run {
  readonly files: CaseFiles;
  readonly report: Report;
  readonly device: Device;
  readonly dir: string;
}

async function makeBatch(
  { files }: Run,
  model: MinigptModel,
  texts: Texts,
): Promise<LabelledBatch> {
  const { prompts, answers, placeholder, images } = texts;
  const pixels = await files.inputs.floats(images);
  const size = pixels.length / prompts.length;
  const samples = prompts.map((prompt, b) =>
    minigptSample(
      model.tokenizer,
      prompt,
      answers[b]!,
      pixels.subarray(b * size, (b + 1) * size),
      { placeholder, maxAnswerTokens: files.config.max_txt_len },
    )
  );
  return minigptBatch(samples, model.tokenizer, model.config);
}

/** What is trained, by the names of the parameter table. */
function trainedOf({ parameters }: MinigptModel): { name: string; value: Differentiable }[] {
  return parameters.specs.map(({ name }) => name)
    .filter((name) => name.startsWith("llama_proj.") || name.includes(".lora_"))
    .map((name) => ({ name, value: parameters.value(name) }));
}

/** Compares a batch, what the decoder makes of it, and the gradients of the first step. */
async function compareFirstStep(
  run: Run,
  model: MinigptModel,
  batch: LabelledBatch,
): Promise<void> {
  const { files, report, device } = run;
  const { parameters: p, config } = model;
  const { size, length } = batch;
  const expected = async (name: string) => (await files.expected.get(name)).values;
  const wide = { atol: 5e-5, rtol: 1e-4 };
  report.close("labels", batch.labels, await expected("labels"), {});
  const mask = batch.source.map((_, i) =>
    i % length < batch.lengths[Math.floor(i / length)]! ? 1 : 0
  );
  report.close("attention_mask", mask, await expected("attention_mask"), {});
  using _scope = device.scope();
  const pictures = batchPictures(p, batch, config);
  report.close("image_embeds", await pictures.readFloats(), await expected("image_embeds"), wide);
  const embedded = embedBatch(p, batch, pictures);
  report.close("inputs_embeds", await embedded.readFloats(), await expected("inputs_embeds"), wide);
  const hidden = decodeBatch(p, embedded, batch, config);
  const logits = await projection(p.at(""), "lm_head", hidden).readFloats();
  report.close("logits", logits, await expected("logits"), wide);
  const vocabulary = logits.length / size / length;
  const losses = Float64Array.from({ length: size * (length - 1) }, (_, i) => {
    const at = Math.floor(i / (length - 1)) * length + i % (length - 1);
    const label = batch.labels[at + 1]!;
    if (label === ignoredLabel) return 0;
    const row = logits.subarray(at * vocabulary, (at + 1) * vocabulary);
    const top = row.reduce((most, one) => Math.max(most, one), -Infinity);
    return top + Math.log(row.reduce((sum, one) => sum + Math.exp(one - top), 0)) - row[label]!;
  });
  report.close("token_losses", losses, await expected("token_losses"), wide);

  const gradients = async (
    leaves: Map<string, Differentiable>,
    body: () => ReturnType<typeof answerLoss>,
  ) => {
    const { value, gradients } = differentiate(device, [...leaves.values()], body);
    const loss = await value.readFloats();
    report.close("loss", loss, await expected("loss"), files.case.tolerance.loss);
    for (const [i, name] of [...leaves.keys()].entries()) {
      const wanted = files.expected.names().find((one) =>
        one.startsWith("grad.") && (tableName(one.slice(5)) ?? one.slice(5)) === name
      );
      if (wanted === undefined) continue;
      const truth = await expected(wanted);
      const most = Array.from(truth).reduce((top, one) => Math.max(top, Math.abs(one)), 0);
      report.close(wanted, await gradients[i]!.readFloats(), truth, { atol: 1e-5 * most });
    }
  };
  const trained = trainedOf(model);
  const listed = files.expected.names().filter((one) =>
    one.startsWith("grad.") && one.includes("llama")
  );
  report.exact(
    "trained tensors",
    trained.map(({ name }) => name).sort(),
    listed.map((one) => tableName(one.slice(5))).sort(),
  );
  await gradients(
    new Map(trained.map(({ name, value }) => [name, value])),
    () => minigptLoss(p, batch, config).total,
  );
  await gradients(
    new Map([["image_embeds", pictures]]),
    () => answerLoss(p, decodeBatch(p, embedBatch(p, batch, pictures), batch, config), batch),
  );
  await gradients(
    new Map([["inputs_embeds", embedded]]),
    // Every layer once more on the way back: the same values.
    () => answerLoss(p, decodeBatch(p, embedded, batch, config, { recompute: true }), batch),
  );
}

// deno-lint-ignore no-explicit-any
function scheduleOf(schedule: any): Schedule {
  return {
    kind: "epochs",
    decline: /once per epoch/.test(schedule.kind) ? "cosinePerEpoch" : "cosine",
    epochs: schedule.max_epoch,
    stepsPerEpoch: schedule.iters_per_epoch,
    rate: schedule.init_lr,
    minRate: schedule.min_lr,
    warmupSteps: schedule.warmup_steps,
    warmupRate: schedule.warmup_lr,
  };
}

/** The value below which nine tenths lie, between neighbours in proportion. */
function ninetieth(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = 0.9 * (sorted.length - 1), low = Math.floor(at);
  return sorted[low]! + (at - low) * ((sorted[low + 1] ?? sorted[low]!) - sorted[low]!);
}

/** Steps of AdamW on one batch: rates, losses, the trained tensors behind them. */
async function compareSteps(run: Run, name: string, texts: Texts): Promise<void> {
  const { files, report, device, dir } = run;
  const { schedule, lr, losses } = files.case.runs[name];
  const { optimizer, tolerance } = files.case;
  await using model = await loadCaseModel(dir, device);
  const batch = await makeBatch(run, model, texts);
  const groups = decayGroups(trainedOf(model), decaysUnlessNamed, optimizer.weight_decay);
  using adamw = new AdamW(device, groups, { betas: optimizer.betas, epsilon: optimizer.eps });
  const own: Promise<Float32Array>[] = [];
  const rates: number[] = [];
  for (let step = 0; step < losses.length; step++) {
    using _scope = device.scope();
    const { value, gradients } = differentiate(
      device,
      adamw.leaves,
      () => minigptLoss(model.parameters, batch, model.config).total,
    );
    own.push(value.readFloats());
    rates.push(learningRate(scheduleOf(schedule), step));
    adamw.step(gradients, rates.at(-1)!);
  }
  report.close(`${name}.lr`, rates, lr, { rtol: 1e-6 });
  const found = (await Promise.all(own)).map((one) => one[0]!);
  report.close(`${name}.losses`, found, losses, { atol: tolerance.losses[name] });
  for (const wanted of files.expected.names().filter((one) => one.startsWith(`${name}.final.`))) {
    const value = model.parameters.value(tableName(wanted.slice(`${name}.final.`.length))!);
    const truth = (await files.expected.get(wanted)).values;
    const values = await value.readFloats();
    const off = ninetieth(Array.from(values, (one, i) => Math.abs(one - truth[i]!)));
    const limit = tolerance.final[name];
    report.holds(
      wanted,
      values.length === truth.length && off <= limit,
      `90 % are within ${off}, not ${limit}`,
    );
  }
}

/** AdamW on one vector with given gradients, which alone shows its epsilon. */
async function compareProbe({ files, report, device }: Run): Promise<void> {
  if (!files.inputs.has("adamw_probe.param")) return;
  const { shape: [steps, size], values } = await files.inputs.get("adamw_probe.grads");
  const rates = /rates ([\d.e\-, ]+)/.exec(files.case.expected["adamw_probe.*"])![1]!
    .split(",").map(Number).filter((rate) => rate > 0);
  const { optimizer } = files.case;
  for (const [kind, weightDecay] of [["decay", optimizer.weight_decay], ["no_decay", 0]] as const) {
    using _scope = device.scope();
    const value = tensor(device, await files.inputs.floats("adamw_probe.param"));
    using adamw = new AdamW(
      device,
      [{ parameters: [{ name: "probe", value }], weightDecay }],
      { betas: optimizer.betas, epsilon: optimizer.eps },
    );
    for (let step = 0; step < steps!; step++) {
      const gradient = Float32Array.from(values.slice(step * size!, (step + 1) * size!));
      adamw.step([tensor(device, gradient)], rates[step]!);
      const name = `adamw_probe.${kind}.step${step + 1}`;
      const truth = (await files.expected.get(name)).values;
      report.close(name, await value.readFloats(), truth, { atol: 1e-6 });
    }
  }
}

/** Loss of one more batch, without gradients. */
async function compareLoss(
  run: Run,
  model: MinigptModel,
  name: string,
  texts: Texts,
): Promise<LabelledBatch> {
  const { files, report, device } = run;
  using _scope = device.scope();
  const batch = await makeBatch(run, model, texts);
  const loss = await minigptLoss(model.parameters, batch, model.config).total.readFloats();
  report.close(name, loss, (await files.expected.get(name)).values, files.case.tolerance.loss);
  return batch;
}

/** Prompts of a case are the ones we make, cut at the same places into the same tokens. */
function compareTexts(
  { report }: Run,
  { tokenizer }: MinigptModel,
  { prompts, placeholder }: Texts,
  segments: unknown[],
  name = "prompt_segment_ids",
): void {
  prompts.forEach((prompt, b) =>
    report.exact(`${name} ${b}`, promptSegments(tokenizer, prompt, { placeholder }), segments[b])
  );
}

/** `pfmvg/refer-train`. */
export async function runReferTrain(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const run = { files, report, device, dir };
  const { batch } = files.case;
  const prompts = (batch.instruction_input as string[]).map(trainingPrompt);
  report.exact("prompts", prompts, batch.prompts);
  const texts = {
    prompts,
    answers: batch.answers,
    placeholder: imagePlaceholder,
    images: "images",
  };
  {
    await using model = await loadCaseModel(dir, device);
    compareTexts(run, model, texts, batch.prompt_segment_ids);
    await compareFirstStep(run, model, await makeBatch(run, model, texts));
    const lower = { ...texts, prompts: batch.lowercase_prompts, placeholder: "<imagehere>" };
    compareTexts(
      run,
      model,
      lower,
      batch.lowercase_prompt_segment_ids,
      "lowercase_prompt_segment_ids",
    );
    await compareLoss(run, model, "loss_lowercase_prompts", lower);
  }
  for (const name of Object.keys(files.case.runs)) await compareSteps(run, name, texts);
  await compareProbe(run);
}

/** `pefomed/train`. */
export async function runPefomedTrain(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const run = { files, report, device, dir };
  const textsOf = (batch: { "text_input": string[]; answer: string[] }, images: string): Texts => ({
    prompts: batch.text_input.map(trainingPrompt),
    answers: batch.answer,
    placeholder: imagePlaceholder.toLowerCase(),
    images,
  });
  const texts = textsOf(files.case.batch, "images");
  {
    await using model = await loadCaseModel(dir, device);
    compareTexts(run, model, texts, files.case.batch.prompt_segment_ids);
    await compareFirstStep(run, model, await makeBatch(run, model, texts));
    const { report_batch: reports } = files.case;
    const others = textsOf(reports, "report.images");
    compareTexts(run, model, others, reports.prompt_segment_ids, "report.prompt_segment_ids");
    const batch = await compareLoss(run, model, "report.loss", others);
    report.close(
      "report.labels",
      batch.labels,
      (await files.expected.get("report.labels")).values,
      {},
    );
  }
  for (const name of Object.keys(files.case.runs)) await compareSteps(run, name, texts);
}
