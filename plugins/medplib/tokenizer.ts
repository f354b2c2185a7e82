/**
 * The tokenizer files of the small presets: characters and the words of radiology prompts as a SentencePiece model, so that
 * a model can be made without any file. Released checkpoints bring their own.
 *
 * @module
 */
import { buildSentencePieceModel } from "@medvlm/core/text";
import { builtInVocabulary } from "./config.ts";
import { addedTokens } from "./prompt.ts";

const words =
  `a an and are area as assistant at between can chat curious detailed do from gives help helpful human image in
intelligence artificial is it its no not of on or please polite questions answers answer Sure there the to this to user's user
yes you what What where Where which Which with The That segment Segment describe Describe shown seen mask left Left right
lung lungs heart liver spleen kidney aorta rib nodule mass effusion pleural opacity consolidation pneumothorax atelectasis
cardiomegaly normal abnormality findings region chest ray USER ASSISTANT upper lower lobe bladder stomach`
    .split(/\s+/);

const characters = [
  ..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!'\"-()/%+=<>_",
];

/**
 * Pieces in merge order. A word is reached by way of its beginnings, so shorter ones come first; characters fill the rest of
 * the vocabulary last.
 */
function pieces(count: number): string[] {
  const single = ["\u2581", ...characters];
  const beginnings = new Set<string>();
  for (const word of words) {
    for (let end = 1; end <= word.length; end++) beginnings.add(`\u2581${word.slice(0, end)}`);
  }
  const merges = [...beginnings].sort((a, b) => a.length - b.length).slice(
    0,
    count - single.length,
  );
  const filler = Array.from(
    { length: count - single.length - merges.length },
    (_, i) => String.fromCodePoint(0xe000 + i),
  );
  return [...merges, ...single, ...filler];
}

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
    ["tokenizer.model", buildSentencePieceModel(pieces(base - 259))],
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
