/**
 * Reference cases of MedPLIB-ICL: token compressor, mask encoder, several images and masks per sample, retrieval.
 *
 * @module
 */
import { openFolder } from "@medvlm/core";
import { checkpointSource, openCheckpoint } from "@medvlm/core/checkpoint";
import type { Device } from "@medvlm/core/device";
import { loadParameters, type Parameters, TraceCollector } from "@medvlm/core/nn";
import { type Tensor, tensor } from "@medvlm/core/tensor";
import { loadLlamaTokenizer } from "@medvlm/core/text";
import {
  collectCandidates,
  embedBatch,
  embedPrompt,
  ignoredLabel,
  ignoredNames,
  type MedplibConfig,
  medplibParameters,
  nearestRows,
  readMedplibConfig,
  retrievalFeatures,
  type TrainingBatch,
  trainingBatch,
  type TrainingSample,
  type VisualInput,
  visualRows,
  visualStack,
} from "@medvlm/medplib/parts";
import { type CaseFiles, checkpointPath, openCase } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";
import { compare, compareTrace } from "./medplib_parts.ts";

/** The release of a case with the in-context modules that lie beside it. */
async function loadCase(files: CaseFiles, device: Device) {
  const paths = Object.keys(files.case.checkpoint);
  const path = (ending: RegExp) => checkpointPath(files, paths.find((name) => ending.test(name)));
  const folder = await openFolder(path(/release/));
  using release = await openCheckpoint(folder);
  using modules = await openCheckpoint(path(/\.(bin|pth|safetensors)$/));
  const found = await readMedplibConfig({ folder, tensors: release });
  const config: MedplibConfig = {
    ...found,
    clip: { ...found.clip, heads: files.config.clip.num_attention_heads },
    imageTokens: files.case.mm_compressed_token_count,
    maskTokens: files.case.mask_encoder_token_count,
  };
  const all = [release, modules].flatMap((source) =>
    source.names().map((name) => [name, source.get(name)!] as const)
  );
  const parameters = await loadParameters(
    device,
    medplibParameters(config),
    checkpointSource("release with in-context modules", new Map(all)),
    { ignore: ignoredNames },
  );
  const tokenizer = await loadLlamaTokenizer(folder, { behaviour: "4.31-legacy" });
  return { config, parameters, seg: tokenizer.tokenToId("<SEG>") };
}

/** Rows of one sample as the case has them, without padding. */
async function matrix(files: CaseFiles, name: string): Promise<number[][]> {
  const { shape: [rows, columns], values } = await files.inputs.get(name);
  const all = Array.from(values);
  return Array.from({ length: rows! }, (_, b) => all.slice(b * columns!, (b + 1) * columns!));
}

/** Images and masks of a sample in the order in which its text names them. */
async function inputsOf(files: CaseFiles, sample: number): Promise<VisualInput[]> {
  const planes = async (name: string) => {
    if (!files.inputs.has(name)) return [];
    const { shape: [count] } = await files.inputs.get(name);
    const all = await files.inputs.floats(name);
    const size = all.length / count!;
    return Array.from({ length: count! }, (_, i) => all.slice(i * size, (i + 1) * size));
  };
  const images = await planes(`images.${sample}`), masks = await planes(`mask_images.${sample}`);
  return files.case.image_token_types[sample].map((type: string): VisualInput =>
    type === "mask"
      ? { kind: "mask", plane: masks.shift()! }
      : { kind: "image", pixels: images.shift()! }
  );
}

async function samplesOf(files: CaseFiles, seg: number): Promise<TrainingSample[]> {
  const ids = await matrix(files, "input_ids"), labels = await matrix(files, "labels");
  const used = await matrix(files, "attention_mask");
  const side = { width: 1, height: 1 };
  return await Promise.all(ids.map(async (row, b) => {
    const keep = (_: number, i: number) => used[b]![i] !== 0;
    const own = row.filter(keep);
    return {
      ids: own,
      labels: labels[b]!.filter(keep),
      clipPixels: new Float32Array(0),
      samPixels: new Float32Array(0),
      inputs: await inputsOf(files, b),
      resized: side,
      // One for each <SEG>, so that the batch says which row predicts it.
      masks: own.filter((id) => id === seg).map(() => ({ ...side, data: new Uint8Array(1) })),
    };
  }));
}

/** Which rows are in use, what each should predict, and which become masks. */
async function compareRows(files: CaseFiles, report: Report, batch: TrainingBatch): Promise<void> {
  const { size, length } = batch;
  const rows = size * length;
  const used = Array.from(
    { length: rows },
    (_, i) => i % length < batch.lengths[Math.floor(i / length)]! ? 1 : 0,
  );
  const labels = new Array<number>(rows).fill(ignoredLabel);
  batch.targetRows.forEach((row, i) => labels[row + 1] = batch.targets[i]!);
  const segs = new Array<number>(rows).fill(0);
  for (const { row } of batch.masks) segs[row] = 1;
  const named = {
    "spliced_attention_mask": used,
    "spliced_labels": labels,
    "seg_token_mask": segs,
  };
  for (const [name, values] of Object.entries(named)) {
    report.close(name, values, (await files.expected.get(name)).values, {});
  }
}

/** Every prompt by itself, as it is embedded for an answer. */
async function comparePrompts(
  files: CaseFiles,
  report: Report,
  p: Parameters,
  config: MedplibConfig,
  samples: readonly TrainingSample[],
  tolerance: Tolerance,
): Promise<void> {
  const { shape: [, length, width], values } = await files.expected.get("inputs_embeds");
  for (const [b, { ids, inputs }] of samples.entries()) {
    const stack = visualStack(inputs!, config);
    const { rows } = visualRows(p, stack, config);
    const images = stack.spans.map((span) => ({ tensor: rows, ...span }));
    const embedded = embedPrompt(p, ids, images, undefined);
    const start = b * length! * width!;
    report.close(
      `prompt ${b}`,
      await embedded.readFloats(),
      Array.from(values).slice(start, start + embedded.size),
      tolerance,
    );
  }
}

async function compareRetrieval(
  files: CaseFiles,
  report: Report,
  p: Parameters,
  config: MedplibConfig,
  pixels: Tensor,
  tolerance: Tolerance,
): Promise<void> {
  const features = retrievalFeatures(p, pixels, config);
  await compare(report, files, "rag_image_features", features, tolerance);
  const given = async (name: string) =>
    tensor(p.device, await files.inputs.floats(name), (await files.inputs.get(name)).shape);
  const { top3, collect_candidates: collected } = files.case.rag;
  const found = await nearestRows(
    await given("rag_query"),
    await given("rag_candidates"),
    top3[0].length,
  );
  report.exact("top3", found.map((row) => row.map(({ index }) => `i${index}`)), top3);
  const candidates = collectCandidates(collected.items);
  report.exact("collect_candidates", candidates, collected.result);
}

/** `medplib/icl-modules`. */
export async function runIclModules(dir: string, report: Report, device: Device): Promise<void> {
  using files = await openCase(dir);
  const { config, parameters, seg } = await loadCase(files, device);
  const tolerance = files.case.tolerance as Tolerance;
  const samples = await samplesOf(files, seg);
  const batch = trainingBatch(samples, config, { seg, pad: 0 });
  const lengths = samples.map(({ inputs }) =>
    visualStack(inputs!, config).spans.map(({ length }) => length)
  );
  report.exact("image_token_lengths", lengths, files.case.image_token_lengths);
  await compareRows(files, report, batch);
  {
    using _scope = device.scope();
    const collected = new TraceCollector();
    embedBatch(parameters, batch, config, collected.trace);
    await compareTrace(report, files, collected, tolerance);
    await comparePrompts(files, report, parameters, config, samples, tolerance);
    const side = config.clip.imageSize;
    const pixels = tensor(device, batch.visual.pixels, [batch.visual.images, 3, side, side]);
    await compareRetrieval(files, report, parameters, config, pixels, tolerance);
  }
  parameters.dispose();
}
