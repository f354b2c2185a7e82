/**
 * Reference cases of MedPLIB end to end: an image file and a prompt to ids, text, and for grounding a mask.
 *
 * @module
 */
import { type AnswerEvent, InputError, openFolder, readAll } from "@medvlm/core";
import { openCheckpoint } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import { decodeImage } from "@medvlm/core/image";
import { TraceCollector } from "@medvlm/core/nn";
import { medplib } from "@medvlm/medplib";
import {
  encodeMedplibPrompt,
  maskFromPicture,
  type MedplibModel,
  type PreparedRequest,
  prepareRequest,
  readMedplibConfig,
} from "@medvlm/medplib/parts";
import { type CaseFiles, caseJson, checkpointPath, openCase } from "./case_files.ts";
import type { Report } from "./harness.ts";
import { samConfig } from "./medplib_parts.ts";

async function loadModel(files: CaseFiles, device: Device): Promise<MedplibModel> {
  const folder = await openFolder(checkpointPath(files, files.case.checkpoint));
  using tensors = await openCheckpoint(folder);
  const config = await readMedplibConfig({ folder, tensors });
  // Heads of towers and decoder are recorded in the case, and not in every release.
  const { clip, sam } = files.config;
  const sizes = {
    ...config,
    ...samConfig(sam),
    clip: { ...config.clip, heads: clip.num_attention_heads },
  };
  return await medplib.load({ folder, tensors }, { device, config: sizes }) as MedplibModel;
}

async function image(path: string) {
  return (await decodeImage(await readAll(path), path, { orientation: "ignore" })).raster;
}

/** Names of traced values of a step by the names of the case. */
class PipelineTrace {
  readonly collected = new TraceCollector((name) =>
    !/^(prompt|step\d+)\..*(key|value|l_aux)$/.test(name)
  );

  async rows(pattern: RegExp): Promise<number[]> {
    const rows: number[] = [];
    for (const name of this.collected.names().filter((one) => pattern.test(one))) {
      rows.push(...Array.from((await this.collected.values(name))!));
    }
    return rows;
  }
}

async function run(
  files: CaseFiles,
  report: Report,
  model: MedplibModel,
  prepared: PreparedRequest,
  maxNewTokens: number,
  prefix = "",
): Promise<{ text: string; tokens: readonly number[] }> {
  const trace = new PipelineTrace();
  const { hidden, logits } = files.case.tolerance as { hidden: number; logits: number };
  const tolerance = { atol: hidden, rtol: hidden };
  let answer: Extract<AnswerEvent, { type: "done" }>["answer"] | undefined;
  let maskLogits: Float32Array | undefined;
  const options = {
    maxNewTokens,
    trace: trace.collected.trace,
    maskLogits: (values: Float32Array) => maskLogits = values,
  };
  for await (const event of model.run(prepared, options)) {
    if (event.type === "done") answer = event.answer;
  }
  if (answer === undefined) throw new Error("The model gave no answer");
  const compare = async (name: string, actual: ArrayLike<number> | undefined, atol = tolerance) => {
    if (!files.expected.has(prefix + name)) return;
    report.close(
      prefix + name,
      actual ?? [],
      (await files.expected.get(prefix + name)).values,
      atol,
    );
  };
  for (
    const name of [
      "clip_features",
      "projected",
      "inputs_embeds",
      "region_feature",
      "sam_image_embeddings",
      "seg_hidden",
      "seg_embedding",
    ]
  ) {
    await compare(name, await trace.collected.values(name));
  }
  const layers = model.config.llama.layers;
  for (let n = 0; n < layers; n++) {
    const out = n + 1 < layers ? `prompt.hidden.${n + 1}` : "prompt.hidden.last";
    await compare(`layer${n}.out`, await trace.collected.values(out));
    await compare(
      `layer${n}.router_logits`,
      await trace.rows(new RegExp(`(^|\\.)layer${n}\\.router_logits`)),
    );
  }
  await compare(
    "final_hidden",
    await trace.rows(new RegExp(`^(prompt|step\\d+)\\.hidden\\.${layers}$`)),
  );
  await compare("step_logits", await trace.rows(/(^|\.)logits$/), { atol: logits, rtol: logits });
  for (const name of ["low_res_mask", "iou_pred"]) {
    await compare(name, await trace.collected.values(name), { atol: logits, rtol: logits });
  }
  await compare("mask_logits", maskLogits, { atol: logits, rtol: logits });
  await compare("mask", answer.phrases[0]?.masks[0]?.data, { atol: 0, rtol: 0 });
  await compare("generated_ids", answer.tokens, { atol: 0, rtol: 0 });
  return { text: answer.text, tokens: answer.tokens };
}

/** `medplib/pipeline-vqa`, `medplib/pipeline-region`, `medplib/pipeline-seg`. */
export async function runPipeline(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  await using model = await loadModel(files, device);
  const { tokenizer, config } = model;
  const picture = await image(`${dir}/${files.case.image}`);
  const region = typeof files.case.region_mask === "string"
    ? [{
      kind: "mask" as const,
      mask: maskFromPicture(await image(`${dir}/${files.case.region_mask}`)),
    }]
    : [];
  const record = (await caseJson(`${dir}/${files.case.dataset_json}`))[0];
  const question = questionOf(record);
  const prepared = prepareRequest(
    { image: picture, prompt: question, regions: region },
    tokenizer,
    config,
  );
  report.exact(
    "prompt ids",
    prepared.ids,
    Array.from((await files.inputs.get("input_ids")).values),
  );
  report.exact(
    "prompt_used ids",
    encodeMedplibPrompt(tokenizer, files.case.prompt_used),
    prepared.ids,
  );
  report.close(
    "pixel_values_clip",
    prepared.clipPixels,
    (await files.inputs.get("pixel_values_clip")).values,
    { atol: 1e-5 },
  );
  if (files.inputs.has("pixel_values_sam")) {
    report.close(
      "pixel_values_sam",
      prepared.samPixels,
      (await files.inputs.get("pixel_values_sam")).values,
      { atol: 1e-5 },
    );
  }
  const limit = files.case.generation.max_new_tokens;
  const { text } = await run(files, report, model, prepared, limit);
  report.exact("expected_text", text, files.case.expected_text);
  if (files.case.released_eval !== undefined) {
    const { cells: _, ...without } = prepared;
    const released = await run(
      files,
      report,
      model,
      without,
      files.case.released_eval.ids.length,
      "released_eval.",
    );
    report.exact("released_eval.text", released.text, files.case.released_eval.text);
  }
  // The recorded, pipelined decoder must give the same tokens as the traced one.
  const streamed: number[] = [];
  for await (
    const event of model.answer({ image: picture, prompt: question, regions: region }, {
      maxNewTokens: limit,
    })
  ) {
    if (event.type === "done") streamed.push(...event.answer.tokens);
  }
  report.exact(
    "recorded decode",
    streamed,
    Array.from((await files.expected.get("generated_ids")).values),
  );
}

/** The first human turn without its placeholders, with an empty region tag where the record names a mask. */
// deno-lint-ignore no-explicit-any
function questionOf(record: any): string {
  const turn = record?.conversations?.find((one: { from: string }) => one.from === "human")?.value;
  if (typeof turn !== "string") {
    throw new InputError("BAD_RECORD", "The case's record has no human turn");
  }
  return turn.replaceAll("<image>", "").replace(/<region>.*?<\/region>/, "<region></region>")
    .trim();
}
