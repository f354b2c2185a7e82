/**
 * The tokenizer files of the small presets: characters and the words of the family's prompts as a SentencePiece model. Released
 * checkpoints bring LLaMA's own.
 *
 * @module
 */
import { wordModel } from "../text/mod.ts";

/** Words of prompts, findings and reports; `$$` pads, as in LLaMA's vocabulary. */
const words =
  `grounding give me the location of where is from this image tell in could you for can I locate Based on respond to question
with a short answer Briefly describe Provide concise depiction Present description Summarize few words A photo An that shows
Write content Please Use Describe given chest x ray detail Take look at and findings impression detailed as possible What
are key highlight any abnormalities or concerns specific features lungs heart visible most prominent feature how it
indicative patient's health overall normal abnormal answer based observed there indications infection inflammation if so
what likely cause enlargement lymph nodes potential complications risks associated yes no left right both bilateral upper
middle lower zone lobe lung apical small large moderate mild severe opacity pneumothorax pleural effusion cardiomegaly
atelectasis consolidation edema pneumonia nodule mass enlarged cardiac silhouette within limits clear focal acute process
seen present absent radiograph modality view frontal side one two three four five which does has evidence disease bone
blunting costophrenic angle airspace contour aorta mediastinum unremarkable size many aortic widened imaging plate kind
sided lesion band pulmonary marked markedly involves abnormality explain language provide provided Can briefly nodules line
account knob illustrate happening Using take show side`
    .split(/\s+/);

/** Names inside the brackets of prompts, what stands between the numbers of boxes, endings. */
const inside = ["INST", "Img", "ImageHere", "img", "imagehere", "><", "</"]
  .concat("refer caption vqa report identify ray sided like".split(" "));

const characters = [
  ..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!'\"-()/%+=<>_[]{}$",
  "$$",
];

const json = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

/** The files of a tokenizer directory with so many pieces, as Hugging Face writes them for LLaMA-2. */
export function builtInTokenizerFiles(size: number): Map<string, Uint8Array> {
  const token = (content: string) => ({
    "__type": "AddedToken",
    content,
    lstrip: false,
    normalized: false,
    rstrip: false,
    "single_word": false,
  });
  const special = {
    "bos_token": token("<s>"),
    "eos_token": token("</s>"),
    "unk_token": token("<unk>"),
  };
  return new Map<string, Uint8Array>([
    ["tokenizer.model", wordModel(words, characters, size, inside)],
    [
      "tokenizer_config.json",
      json({
        ...special,
        "add_bos_token": true,
        "add_eos_token": false,
        "clean_up_tokenization_spaces": false,
        "legacy": false,
        "pad_token": null,
        "padding_side": "right",
        "tokenizer_class": "LlamaTokenizer",
      }),
    ],
    ["special_tokens_map.json", json(special)],
  ]);
}
