/**
 * Reference cases of tokenizers: folders with a `tokenizer.model`, JSON files of texts and ids, and Hugging Face
 * directories.
 *
 * @module
 */
import { bytesSource, type FolderSource, openFolder } from "../../core/files.ts";
import { LlamaTokenizer, type LlamaTokenizerOptions } from "../../core/text/llama_tokenizer.ts";
import { SentencePiece } from "../../core/text/sentencepiece.ts";
import { loadLlamaTokenizer } from "../../core/text/tokenizer_files.ts";
import type { FoundCase, Report } from "./harness.ts";

interface TextCase {
  text: string;
  ids: number[];
}

interface SentencePieceFile {
  "vocab_size": number;
  "vocab_sample"?: [number, string, number, number][];
  cases: (TextCase & {
    pieces: string[];
    decoded: string;
    "ids_without_dummy_prefix": number[];
    "decoded_without_dummy_prefix": string;
  })[];
  "decode_cases": { ids: number[]; decoded: string; "decoded_without_dummy_prefix"?: string }[];
}

interface HuggingFaceFile {
  reference: string;
  legacy: boolean;
  "vocab_size": number;
  "len_tokenizer": number;
  "special_ids": { bos: number; eos: number; unk: number; pad: number | null };
  "added_tokens": Record<string, number>;
  cases: (TextCase & {
    "ids_no_special": number[];
    "tokens_no_special": string[];
    decode: string;
    "decode_skip_special": string;
    "decode_no_special_ids": string;
  })[];
  "decode_cases"?: { ids: number[]; decode: string; "decode_skip_special": string }[];
  "batch_cases"?: {
    texts: string[];
    "padding_side": "left" | "right";
    options: {
      padding?: "longest" | "max_length" | boolean;
      truncation?: boolean;
      "max_length"?: number;
      "add_special_tokens"?: boolean;
    };
    "input_ids": number[][];
    "attention_mask": number[][];
  }[];
}

/**
 * Finds every case below `dir`: one per JSON file beside a `tokenizer.model`, and one per sub-folder of Hugging Face
 * files.
 */
export async function findTokenizerCases(dir: string): Promise<FoundCase[]> {
  const found: FoundCase[] = [];
  const visit = async (folder: string, label: string) => {
    const entries = (await Array.fromAsync(Deno.readDir(folder)))
      .sort((a, b) => a.name < b.name ? -1 : 1);
    const files = new Set(entries.filter((entry) => entry.isFile).map((entry) => entry.name));
    if (files.has("tokenizer.model")) {
      for (const name of files) {
        if (!name.endsWith(".json")) continue;
        const data = JSON.parse(await Deno.readTextFile(`${folder}/${name}`));
        if (!Array.isArray(data.cases)) continue;
        const run = (report: Report) => runFile(folder, data, report);
        found.push({ name: `${label}${name}`, run });
      }
    }
    for (const entry of entries.filter((one) => one.isDirectory)) {
      const inner = `${folder}/${entry.name}`;
      const isHf = await exists(`${inner}/tokenizer_config.json`);
      const model = await exists(`${inner}/tokenizer.model`) ? inner : folder;
      if (isHf && await exists(`${model}/tokenizer.model`)) {
        const run = (report: Report) => runDirectory(inner, model, report);
        found.push({ name: `${label}${entry.name}`, run });
      } else {
        await visit(inner, `${label}${entry.name}/`);
      }
    }
  };
  await visit(dir, "tokenizers/");
  return found;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then((stat) => stat.isFile, () => false);
}

async function runFile(
  folder: string,
  data: SentencePieceFile | HuggingFaceFile,
  report: Report,
): Promise<void> {
  const bytes = await Deno.readFile(`${folder}/tokenizer.model`);
  const model = SentencePiece.parse(bytes, "tokenizer.model");
  report.exact("vocabulary size", model.size, data.vocab_size);
  if ("special_ids" in data) compareHuggingFace(tokenizerOf(model, data), data, report);
  else compareSentencePiece(model, data, report);
}

function compareSentencePiece(model: SentencePiece, data: SentencePieceFile, report: Report): void {
  const types = ["normal", "unknown", "control", "user-defined", "unused", "byte"];
  for (const [id, text, score, type] of data.vocab_sample ?? []) {
    report.exact(`piece ${id}`, model.model.pieces[id], { text, score, type: types[type - 1] });
  }
  const bare = model.withDummyPrefix(false);
  data.cases.forEach((one, i) => {
    report.exact(`cases[${i}].ids`, model.encode(one.text), one.ids);
    report.exact(`cases[${i}].pieces`, model.encodePieces(one.text), one.pieces);
    report.exact(`cases[${i}].decoded`, model.decode(one.ids), one.decoded);
    const ids = one.ids_without_dummy_prefix;
    report.exact(`cases[${i}] without prefix`, bare.encode(one.text), ids);
    report.exact(
      `cases[${i}] decoded without prefix`,
      bare.decode(ids),
      one.decoded_without_dummy_prefix,
    );
  });
  data.decode_cases.forEach((one, i) => {
    report.exact(`decode_cases[${i}]`, model.decode(one.ids), one.decoded);
    if (one.decoded_without_dummy_prefix === undefined) return;
    const expected = one.decoded_without_dummy_prefix;
    report.exact(`decode_cases[${i}] without prefix`, bare.decode(one.ids), expected);
  });
}

/** Makes the tokenizer that a file describes by its release, its added tokens and its special ids. */
function tokenizerOf(model: SentencePiece, data: HuggingFaceFile): LlamaTokenizer {
  const version = /transformers (\d+)\.(\d+)/.exec(data.reference);
  if (version === null) throw new Error(`No transformers release in "${data.reference}"`);
  const recent = Number(version[1]) > 4 || Number(version[2]) >= 34;
  const outside = Object.entries(data.added_tokens).filter(([, id]) => id >= model.size);
  const object = (id: number) => ({ content: model.idToPiece(id) });
  const { bos, eos, unk, pad } = data.special_ids;
  const options: LlamaTokenizerOptions = {
    behaviour: `${recent ? "4.34" : "4.31"}-${data.legacy ? "legacy" : "nonlegacy"}`,
    special: {
      bos: object(bos),
      eos: object(eos),
      unk: object(unk),
      // The later releases of these files register every added token as an additional special token.
      ...(recent ? { additional: outside.map(([text]) => text) } : {}),
    },
    added: new Map(outside.map(([text, id]) => [id, text])),
  };
  const tokenizer = new LlamaTokenizer(model, options);
  return pad === null ? tokenizer : tokenizer.withPadToken(tokenizer.idToToken(pad));
}

function compareHuggingFace(
  tokenizer: LlamaTokenizer,
  data: HuggingFaceFile,
  report: Report,
): void {
  report.exact("number of tokens", tokenizer.size, data.len_tokenizer);
  const byId = (entries: Iterable<[string, number]>) => [...entries].sort((a, b) => a[1] - b[1]);
  report.exact(
    "added tokens",
    byId(tokenizer.addedTokens),
    byId(Object.entries(data.added_tokens)),
  );
  const { beginId: bos, endId: eos, unknownId: unk, padId = null } = tokenizer;
  const { special_ids: expected } = data;
  report.exact("special ids", [bos, eos, unk, padId], [
    expected.bos,
    expected.eos,
    expected.unk,
    expected.pad,
  ]);
  data.cases.forEach((one, i) => {
    const plain = tokenizer.encode(one.text, { addSpecialTokens: false });
    report.exact(`cases[${i}].ids`, tokenizer.encode(one.text), one.ids);
    report.exact(`cases[${i}].ids_no_special`, plain, one.ids_no_special);
    report.exact(
      `cases[${i}].tokens_no_special`,
      tokenizer.tokenize(one.text),
      one.tokens_no_special,
    );
    compareDecoding(tokenizer, one.ids, one.decode, one.decode_skip_special, `cases[${i}]`, report);
    const text = tokenizer.decode(one.ids_no_special);
    report.exact(`cases[${i}].decode_no_special_ids`, text, one.decode_no_special_ids);
  });
  data.decode_cases?.forEach((one, i) => {
    const name = `decode_cases[${i}]`;
    compareDecoding(tokenizer, one.ids, one.decode, one.decode_skip_special, name, report);
  });
  data.batch_cases?.forEach((one, i) => {
    const { padding = false, truncation = false, max_length: limit, add_special_tokens: special } =
      one.options;
    const batch = tokenizer.encodeBatch(one.texts, {
      padding: padding === true ? "longest" : padding,
      truncation,
      paddingSide: one.padding_side,
      ...(limit === undefined ? {} : { maxLength: limit }),
      ...(special === undefined ? {} : { addSpecialTokens: special }),
    });
    report.exact(`batch_cases[${i}].input_ids`, batch.inputIds, one.input_ids);
    report.exact(`batch_cases[${i}].attention_mask`, batch.attentionMask, one.attention_mask);
  });
}

function compareDecoding(
  tokenizer: LlamaTokenizer,
  ids: number[],
  whole: string,
  skipped: string,
  name: string,
  report: Report,
): void {
  report.exact(`${name}.decode`, tokenizer.decode(ids), whole);
  const stream = tokenizer.streamDecoder({ skipSpecialTokens: true });
  const parts = ids.map((id) => stream.push(id));
  report.exact(`${name}.decode_skip_special`, parts.join("") + stream.flush(), skipped);
}

/**
 * Loads a Hugging Face directory and, where a file of cases beside it has the same added tokens, runs those cases with
 * the loaded tokenizer.
 */
async function runDirectory(folder: string, modelFolder: string, report: Report): Promise<void> {
  const model = await Deno.readFile(`${modelFolder}/tokenizer.model`);
  const source = withFile(await openFolder(folder), "tokenizer.model", model);
  const kind = /[^/]*$/.exec(folder)![0].replace(/^hf-/, "");
  let compared = 0;
  for await (const entry of Deno.readDir(modelFolder)) {
    if (!entry.isFile || !entry.name.endsWith(`-${kind}.json`)) continue;
    const data: HuggingFaceFile = JSON.parse(
      await Deno.readTextFile(`${modelFolder}/${entry.name}`),
    );
    const recent = !/transformers 4\.(30|31|32|33)\b/.test(data.reference);
    const tokenizer = await loadLlamaTokenizer(source, {
      behaviour: `${recent ? "4.34" : "4.31"}-${data.legacy ? "legacy" : "nonlegacy"}`,
    });
    compareHuggingFace(tokenizer, data, report);
    compared++;
  }
  const loaded = await loadLlamaTokenizer(source, { release: "4.34" });
  report.holds("loads", loaded.size >= loaded.sentencePiece.size, `${compared} files compared`);
}

/** A folder with one more file. */
function withFile(
  folder: FolderSource,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): FolderSource {
  return {
    name: folder.name,
    list: async () => [...new Set([...await folder.list(), name])].sort(),
    has: async (one) => one === name || await folder.has(one),
    open: async (one) =>
      one === name ? bytesSource(`${folder.name}/${one}`, bytes) : await folder.open(one),
  };
}
