/**
 * Reference case of the family end to end: pictures and questions to spliced rows, hidden states, logits, ids and answers. Also for
 * the systems built on it.
 *
 * @module
 */
import { openFolder } from "@medvlm/core";
import type { Device } from "@medvlm/core/device";
import {
  answerText,
  chatPrompt,
  configOf,
  embedPrompt,
  imagePlaceholder,
  imageRowCount,
  loadMinigpt,
  type MinigptModel,
  openMinigpt,
  pictureRows,
  promptSegments,
} from "@medvlm/core/minigpt";
import { Generation, TraceCollector } from "@medvlm/core/nn";
import { linear, slice, tensor } from "@medvlm/core/tensor";
import { type CaseFiles, openCase } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";
import { PaddedRows, paddedSequence, stepLogits } from "./minigpt_decoder.ts";

/** Loads the three parts beside a case as they are. */
export async function loadCaseModel(dir: string, device: Device): Promise<MinigptModel> {
  const folder = await openFolder(dir);
  using tensors = await openMinigpt(folder);
  return await loadMinigpt({ folder, tensors }, { device });
}

/** `minigpt-v2/pipeline`. */
export async function runMinigptPipeline(
  dir: string,
  report: Report,
  device: Device,
): Promise<void> {
  using files = await openCase(dir);
  await using model = await loadCaseModel(dir, device);
  const { questions, prompts } = files.case as { questions: string[]; prompts: string[] };
  report.exact("prompts", questions.map((question) => chatPrompt(question)), prompts);
  report.exact("image tokens", imageRowCount(model.config), files.case.image_tokens);
  report.exact("placeholder", imagePlaceholder, files.case.image_placeholder);
  report.exact(
    "pad token",
    [model.tokenizer.idToToken(model.tokenizer.padId!), model.tokenizer.padId],
    [files.case.pad_token, files.case.pad_token_id],
  );
  await compareSplicing(model, files, report, prompts);
  await compareAnswers(model, files, report, prompts);
}

/** Rows of all pictures of a case, as the tower and the projection give them. */
async function casePictures(
  model: MinigptModel,
  files: CaseFiles,
  collected?: TraceCollector,
) {
  const { shape, values } = await files.inputs.get("images");
  const pixels = tensor(model.device, Float32Array.from(values), shape);
  return pictureRows(model.parameters, pixels, model.config, collected?.trace);
}

/** The tower's values and the rows before the decoder. */
async function compareSplicing(
  model: MinigptModel,
  files: CaseFiles,
  report: Report,
  prompts: readonly string[],
): Promise<void> {
  using _scope = model.device.scope();
  const { atol, rtol } = files.case.tolerance as Required<Tolerance>;
  const collected = new TraceCollector();
  await casePictures(model, files, collected);
  for (const name of collected.names().filter((one) => files.expected.has(one))) {
    const { values } = await files.expected.get(name);
    report.close(name, (await collected.values(name))!, values, { atol, rtol });
  }
  prompts.forEach((prompt, row) =>
    report.exact(
      `prompt_segment_ids ${row}`,
      promptSegments(model.tokenizer, prompt, { beginning: true }),
      files.case.prompt_segment_ids[row],
    )
  );
}

/**
 * Prompts of a case from the pictures on: spliced rows, masks, what the decoder makes of them where the case says, greedy ids and
 * their logits.
 *
 * @returns The tokens of each answer.
 */
export async function compareGeneration(
  model: MinigptModel,
  files: CaseFiles,
  report: Report,
  prompts: readonly string[],
): Promise<number[][]> {
  const { device, config, parameters: p, tokenizer } = model;
  const { atol, rtol } = files.case.tolerance as Required<Tolerance>;
  const { shape: [, length], values: mask } = await files.expected.get("attention_mask");
  const padded = new PaddedRows(mask, length!);
  const sequences = await files.expected.get("greedy.sequences");
  const steps = sequences.shape[1]! - 1, { vocabulary, layers } = config.llama;
  const scores = (await files.expected.get("greedy.scores")).values;
  const { max_new_tokens: maxNewTokens } = files.case.generation;
  using _scope = device.scope();
  const pictures = await casePictures(model, files);
  const rows = imageRowCount(config);
  const answers: number[][] = [];
  for (const [b, prompt] of prompts.entries()) {
    const segments = promptSegments(tokenizer, prompt, { beginning: true });
    const context = embedPrompt(p, segments, slice(pictures, 0, b * rows, rows));
    report.exact(
      `attention_mask ${b}`,
      padded.of(b),
      Array.from({ length: context.shape[0]! }, (_, i) => length! - context.shape[0]! + i),
    );
    const against = async (name: string, actual: ArrayLike<number>) => {
      if (!files.expected.has(name)) return;
      const { shape, values } = await files.expected.get(name);
      report.close(`${name} ${b}`, actual, padded.pick(values, b, shape.at(-1)!), { atol, rtol });
    };
    await against("context_embeds", await context.readFloats());
    const positions = Float32Array.from({ length: context.shape[0]! }, (_, i) => i);
    if (files.expected.has("position_ids")) {
      const { values } = await files.expected.get("position_ids");
      report.exact(`position_ids ${b}`, [...positions], padded.pick(values, b, 1));
    }
    const collected = new TraceCollector((name) => /^prompt\.hidden\.|logits$/.test(name));
    const how = { maxNewTokens, temperature: 0, topP: 1, seed: 0, stopToken: tokenizer.endId };
    const found: number[] = [];
    {
      using generation = new Generation(model.setup, context, { ...how, trace: collected.trace });
      for await (const token of generation.tokens()) found.push(token);
    }
    for (let n = 0; n <= layers; n++) {
      await against(`hidden_states.${n}`, (await collected.values(`prompt.hidden.${n}`))!);
    }
    if (files.expected.has("prefill_logits")) {
      const values = Float32Array.from((await collected.values(`prompt.hidden.${layers}`))!);
      const hidden = tensor(device, values, [context.shape[0]!, config.llama.hiddenSize]);
      const logits = linear(hidden, p.weight("lm_head.weight"));
      await against("prefill_logits", await logits.readFloats());
    }
    const wanted = Array.from(sequences.values).slice(b * (steps + 1), (b + 1) * (steps + 1));
    const pad = files.case.generation.pad_token_id_in_output ?? 0;
    report.exact(`greedy.sequences ${b}`, paddedSequence(found, steps + 1, pad), wanted);
    const logits = await stepLogits(collected, found.length);
    report.close(
      `greedy.scores ${b}`,
      logits.flatMap((one) => Array.from(one)),
      scores.slice(b * steps * vocabulary, (b * steps + found.length) * vocabulary),
      { atol, rtol },
    );
    answers.push(found);
  }
  return answers;
}

async function compareAnswers(
  model: MinigptModel,
  files: CaseFiles,
  report: Report,
  prompts: readonly string[],
): Promise<void> {
  const answers = await compareGeneration(model, files, report, prompts);
  const texts = answers.map((tokens) => answerText(model.tokenizer, tokens));
  report.exact("expected_answers", texts, files.case.expected_answers);
  report.exact(
    "new_tokens_until_eos",
    answers.map((tokens) => tokens.length),
    files.case.new_tokens_until_eos,
  );
  // What a user calls gives the same: pictures' rows, the recorded decoder, streamed text.
  using _scope = model.device.scope();
  const pictures = await casePictures(model, files);
  const rows = imageRowCount(model.config);
  for (const [b, prompt] of prompts.entries()) {
    const { max_new_tokens: maxNewTokens } = files.case.generation;
    const picture = slice(pictures, 0, b * rows, rows);
    for await (const event of model.run(prompt, picture, { maxNewTokens })) {
      if (event.type !== "done") continue;
      report.exact(`answer ${b}`, [event.answer.tokens, event.answer.text], [answers[b], texts[b]]);
    }
  }
}

/** The configuration that the files of a case say. */
export async function caseConfig(dir: string) {
  const folder = await openFolder(dir);
  using tensors = await openMinigpt(folder);
  return await configOf({ folder, tensors });
}
