/**
 * Reference cases of the MiniGPT-v2 family without a device: tokenizer, preprocessing, names and shapes at full size.
 *
 * @module
 */
import { openFolder, readAll } from "@medvlm/core";
import { decodeImage } from "@medvlm/core/image";
import {
  chatPrompt,
  loadMinigptTokenizer,
  minigptParameters,
  minigptPixels,
  names,
  paper,
  squarePicture,
  tableName,
} from "@medvlm/core/minigpt";
import { caseJson } from "./case_files.ts";
import type { Report } from "./harness.ts";
import { readReferenceTensors } from "./reference_tensors.ts";

interface Encoded {
  text: string;
  ids: number[];
  "ids_with_special": number[];
}

interface Decoded {
  ids: number[];
  text: string;
  "text_skip_special": string;
}

/** `minigpt-v2/tokenizer`. */
export async function runMinigptTokenizer(dir: string, report: Report): Promise<void> {
  const data = await caseJson(`${dir}/case.json`), config = await caseJson(`${dir}/config.json`);
  const tokenizer = await loadMinigptTokenizer(await openFolder(dir));
  report.exact("vocabulary", tokenizer.size, config.vocab_size);
  const { beginId, endId, unknownId, padId } = tokenizer;
  report.exact("special ids", [beginId, endId, unknownId, padId], [
    config.bos,
    config.eos,
    config.unk,
    config.pad_token_id,
  ]);
  (data.encode as Encoded[]).forEach((one, i) => {
    const plain = tokenizer.encode(one.text, { addSpecialTokens: false });
    report.exact(`encode[${i}].ids`, plain, one.ids);
    report.exact(
      `encode[${i}].ids_with_special`,
      tokenizer.encode(one.text),
      one.ids_with_special,
    );
  });
  (data.decode as Decoded[]).forEach((one, i) => {
    report.exact(`decode[${i}].text`, tokenizer.decode(one.ids), one.text);
    report.exact(
      `decode[${i}].text_skip_special`,
      tokenizer.decode(one.ids, { skipSpecialTokens: true }),
      one.text_skip_special,
    );
  });
  const padded = data.batch_right_padded;
  const batch = tokenizer.encodeBatch(padded.texts, {
    padding: "longest",
    truncation: true,
    maxLength: padded.max_length,
    addSpecialTokens: false,
    paddingSide: "right",
  });
  report.exact("batch.input_ids", batch.inputIds, padded.input_ids);
  report.exact("batch.attention_mask", batch.attentionMask, padded.attention_mask);
  const question = /<\/Img> (.*) \[\/INST\]$/.exec(data.conversation_prompt)?.[1] ?? "";
  report.exact("conversation_prompt", chatPrompt(question), data.conversation_prompt);
}

/** `minigpt-v2/preprocess`. */
export async function runMinigptPreprocess(dir: string, report: Report): Promise<void> {
  const data = await caseJson(`${dir}/case.json`);
  const { image_size: side } = await caseJson(`${dir}/config.json`);
  const inputs = await readReferenceTensors(`${dir}/inputs.safetensors`);
  const expected = await readReferenceTensors(`${dir}/expected.safetensors`);
  for (const { file } of data.images as { file: string }[]) {
    const name = file.replace(/\.\w+$/, "");
    const bytes = await readAll(`${dir}/${file}`);
    const { raster } = await decodeImage(bytes, file, { orientation: "ignore" });
    const { shape: [height, width], data: rgb } = inputs.get(`${name}.rgb_u8`);
    const converted = {
      width: width!,
      height: height!,
      channels: 3,
      bitDepth: 8,
      data: rgb as Uint8Array<ArrayBuffer>,
    } as const;
    for (const [origin, image] of [["file", raster], ["rgb_u8", converted]] as const) {
      const own = squarePicture(image, side).data;
      report.close(
        `${name}.resized_u8 from ${origin}`,
        own,
        expected.get(`${name}.resized_u8`).data,
        {},
      );
      const planes = minigptPixels(image, side).data;
      const { atol } = data.tolerance.tensor;
      report.close(`${name}.tensor from ${origin}`, planes, expected.get(`${name}.tensor`).data, {
        atol,
      });
    }
  }
}

/** `minigpt-v2/manifest`: names and shapes at full size are those of the parameter table, none more, none less. */
export async function runManifest(dir: string, report: Report): Promise<void> {
  const data = await caseJson(`${dir}/case.json`), sizes = await caseJson(`${dir}/config.json`);
  const { vision, llama, adapters } = paper;
  report.exact("vit", {
    "embed_dim": vision.hiddenSize,
    "depth": vision.layers,
    "num_heads": vision.heads,
    "mlp_hidden": vision.intermediateSize,
    "patch_size": vision.patchSize,
    "image_size": vision.imageSize,
  }, sizes.vit);
  report.exact("llama", {
    "hidden_size": llama.hiddenSize,
    "intermediate_size": llama.intermediateSize,
    "num_hidden_layers": llama.layers,
    "num_attention_heads": llama.heads,
    "vocab_size": llama.vocabulary,
  }, sizes.llama);
  report.exact("lora", [adapters.rank, adapters.alpha], [sizes.lora_r, sizes.lora_alpha]);

  const table = minigptParameters(paper);
  const shapes = new Map(table.map(({ name, shape }) => [name, shape.join()]));
  const compare = (
    what: string,
    listed: Record<string, number[]>,
    rename: (name: string) => string,
  ) => {
    for (const [name, shape] of Object.entries(listed)) {
      report.exact(`${what}: ${name}`, shapes.get(rename(name)), shape.join());
    }
    return new Set(Object.keys(listed).map(rename));
  };
  const language = Object.entries(data).find(([, part]) =>
    typeof part === "object" &&
    "model.norm.weight" in ((part as { tensors?: object }).tensors ?? {})
  )![1] as { tensors: Record<string, number[]>; parameters: number };
  const vit = data["eva_vit_g.pth"], trained = data.checkpoint;
  const listed = [
    ...compare("vision", vit.tensors, (name) => names.vision + name),
    ...compare("language", language.tensors, (name) => name),
    ...compare(
      "trained",
      trained.tensors_under_model,
      // Buffers of the decoder are the same in the LLaMA directory.
      (name) => tableName(name) ?? name.slice(names.adapted.length),
    ),
    // Official checkpoints lack what never leaves its initial value.
    "ln_vision.weight",
    "ln_vision.bias",
  ];
  report.exact("whole table", table.map(({ name }) => name).sort(), [...new Set(listed)].sort());
  const count = (chosen: (name: string) => boolean) =>
    table.filter(({ name }) => chosen(name))
      .reduce((sum, { shape }) => sum + shape.reduce((product, one) => product * one, 1), 0);
  report.exact(
    "vision parameters",
    count((name) => name.startsWith(names.vision)),
    vit.parameters_used,
  );
  report.exact(
    "language parameters",
    count((name) => /^(model|lm_head)\./.test(name) && !name.endsWith("inv_freq")),
    language.parameters,
  );
  report.exact(
    "trained parameters",
    count((name) => /^llama_(proj|model)\./.test(name)),
    trained.trainable_parameters,
  );
}
