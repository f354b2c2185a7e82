/**
 * The tokenizer files of the small presets: characters and the words of radiology prompts as a SentencePiece model, so that
 * a model can be made without any file. Released checkpoints bring their own.
 *
 * @module
 */
import { wordModel } from "@medvlm/core/text";
import { builtInVocabulary } from "./config.ts";
import { addedTokens } from "./prompt.ts";

const words =
  `A chat between a curious human user and an artificial intelligence assistant The gives helpful detailed polite answers to
the questions USER ASSISTANT Sure it is yes no not of on or in this that are at can do what what's please
You you What Where Which With Is Does Can Name Describe Segment Mark Outline Write Every Answer Mask
area region seen shown shows show image picture modality imaging kind x ray radiograph chest report about plate like size
left right both bilateral side sided upper middle lower zone zones lobe lung lungs heart aorta liver spleen kidney bladder
stomach rib pleura pulmonary Left Right Both Heart Lung Aorta Aortic Cardiomegaly Atelectasis Consolidation Pneumothorax
Pleural Nodule Mass Normal Pneumonia aortic enlargement cardiomegaly atelectasis consolidation pneumothorax pleural effusion
effusions nodule nodules mass opacity infiltration opacification lesion tumor diseases diagnoses findings Findings Impression
abnormal abnormality normal any every many large small moderate severe mild marked markedly moderately mildly Large Small
Moderate Mild Marked one two three four five One Two Three Four Five How there There No Two evidence cardiac silhouette within
limits contour widened enlarged visible line with blunting clear acute cardiopulmonary disease process focal airspace involves
band knob projects over Presence Other unremarkable present absent appears larger segment mark outline mask lines angle
costophrenic density round rounded does finding see On which where impression In X`
    .split(/\s+/);

const characters = [
  ..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!'\"-()/%+=<>_",
];

const json = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

/** The files of a tokenizer directory, as Hugging Face writes them for the release. */
export function builtInTokenizerFiles(maxLength: number): Map<string, Uint8Array> {
  const base = builtInVocabulary - addedTokens.length;
  const token = (content: string) => ({
    "__type": "AddedToken",
    content,
    lstrip: false,
    normalized: true,
    rstrip: false,
    "single_word": false,
  });
  return new Map<string, Uint8Array>([
    ["tokenizer.model", wordModel(words, characters, base)],
    [
      "tokenizer_config.json",
      json({
        "add_bos_token": true,
        "add_eos_token": false,
        "bos_token": token("<s>"),
        "eos_token": token("</s>"),
        "unk_token": token("<unk>"),
        "legacy": true,
        "model_max_length": maxLength,
        "padding_side": "right",
        "tokenizer_class": "LlamaTokenizer",
      }),
    ],
    [
      "special_tokens_map.json",
      json({
        "bos_token": token("<s>"),
        "eos_token": token("</s>"),
        "unk_token": token("<unk>"),
        "pad_token": "<unk>",
      }),
    ],
    ["added_tokens.json", json(Object.fromEntries(addedTokens.map((text, i) => [text, base + i])))],
  ]);
}
