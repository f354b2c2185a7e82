/**
 * Loading a tokenizer from a Hugging Face directory: `tokenizer.model`, `tokenizer_config.json`,
 * `special_tokens_map.json` and `added_tokens.json`, in the layouts before and since transformers 4.34.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { FolderSource } from "../files.ts";
import { type AddedToken, contentOf, type SpecialTokens } from "./added_token.ts";
import { type LlamaBehaviour, LlamaTokenizer } from "./llama_tokenizer.ts";
import { SentencePiece } from "./sentencepiece.ts";

/**
 * How to load a tokenizer: a fixed behaviour, or a transformers release that takes `legacy` from the directory (legacy
 * when the directory does not say).
 */
export type LoadTokenizerOptions =
  | { behaviour: LlamaBehaviour }
  | { release: "4.31" | "4.34" };

const MAX_MODEL = 64 * 2 ** 20;
const MAX_JSON = 32 * 2 ** 20;

type Json = Record<string, unknown>;

/**
 * Loads a Llama tokenizer.
 *
 * `tokenizer.model` is required, the other files are not. Added tokens come from `added_tokens_decoder` in
 * `tokenizer_config.json` when that is present, else from `added_tokens.json`. Values in `special_tokens_map.json`
 * take precedence over those in `tokenizer_config.json`.
 *
 * @throws {InputError} naming the file: `NOT_FOUND` without `tokenizer.model`, `BAD_TOKENIZER_FILE` for content of the
 *   wrong form, `BAD_ADDED_TOKENS` when the files contradict each other, `UNSUPPORTED_TOKENIZER` for a setting that is
 *   not supported, and what `parseSentencePieceModel` throws.
 */
export async function loadLlamaTokenizer(
  folder: FolderSource,
  options: LoadTokenizerOptions,
): Promise<LlamaTokenizer> {
  const model = SentencePiece.parse(
    await readFile(folder, "tokenizer.model", MAX_MODEL),
    `${folder.name}/tokenizer.model`,
  );
  const config = await readJson(folder, "tokenizer_config.json");
  const map = await readJson(folder, "special_tokens_map.json");
  const listed = await readJson(folder, "added_tokens.json");
  if (config.value.clean_up_tokenization_spaces === true) {
    throw new InputError(
      "UNSUPPORTED_TOKENIZER",
      `Cannot load "${config.file}": clean_up_tokenization_spaces is true, only false is supported`,
    );
  }
  const decoder = config.value.added_tokens_decoder;
  const added = decoder === undefined
    ? addedFromList(listed)
    : addedFromDecoder(object(decoder, config.file, "added_tokens_decoder"), config.file);
  const legacy = flag(config, "legacy", true) ? "legacy" : "nonlegacy";
  return new LlamaTokenizer(model, {
    behaviour: "behaviour" in options ? options.behaviour : `${options.release}-${legacy}`,
    special: specialTokens(config, map),
    added,
    addBos: flag(config, "add_bos_token", true),
    addEos: flag(config, "add_eos_token", false),
    addPrefixSpace: flag(config, "add_prefix_space", true),
    paddingSide: side(config),
    modelMaxLength: maxLength(config),
  });
}

interface JsonFile {
  file: string;
  value: Json;
}

async function readFile(folder: FolderSource, name: string, limit: number): Promise<Uint8Array> {
  if (!(await folder.has(name))) {
    throw new InputError(
      "NOT_FOUND",
      `Cannot load a tokenizer from "${folder.name}": it has no ${name}; copy it from the checkpoint`,
    );
  }
  using source = await folder.open(name);
  if (source.size > limit) {
    throw new InputError(
      "TOO_LARGE",
      `Cannot read "${source.name}": ${source.size} bytes are more than the ${limit} allowed`,
    );
  }
  return await source.read(0, source.size);
}

async function readJson(folder: FolderSource, name: string): Promise<JsonFile> {
  const file = `${folder.name}/${name}`;
  if (!(await folder.has(name))) return { file, value: {} };
  const bytes = await readFile(folder, name, MAX_JSON);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new InputError("BAD_TOKENIZER_FILE", `Cannot read "${file}": it is not valid JSON`, {
      cause: error,
    });
  }
  return { file, value: object(value, file, "the file") };
}

function bad(file: string, what: string, expected: string): never {
  throw new InputError(
    "BAD_TOKENIZER_FILE",
    `Cannot read "${file}": ${what} is not ${expected}; restore the file from the checkpoint`,
  );
}

function object(value: unknown, file: string, what: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  return bad(file, what, "an object");
}

function flag({ file, value }: JsonFile, key: string, fallback: boolean): boolean {
  const found = value[key] ?? fallback;
  return typeof found === "boolean" ? found : bad(file, key, "true or false");
}

function side({ file, value }: JsonFile): "left" | "right" {
  const found = value.padding_side ?? "right";
  return found === "left" || found === "right" ? found : bad(file, "padding_side", "left or right");
}

function maxLength({ file, value }: JsonFile): number {
  const found = value.model_max_length ?? Infinity;
  if (typeof found !== "number" || !(found >= 1)) return bad(file, "model_max_length", "a length");
  // transformers writes about 1e30 for "no limit".
  return found >= 1e9 ? Infinity : found;
}

/** A token as its files describe it: a string, or an object with `content` and flags. */
function token(value: unknown, file: string, what: string): string | AddedToken {
  if (typeof value === "string") return value;
  const fields = object(value, file, what);
  if (typeof fields.content !== "string") return bad(file, `${what}.content`, "a string");
  const source = { file, value: fields };
  return {
    content: fields.content,
    lstrip: flag(source, "lstrip", false),
    rstrip: flag(source, "rstrip", false),
    singleWord: flag(source, "single_word", false),
  };
}

function specialTokens(config: JsonFile, map: JsonFile): SpecialTokens {
  const one = (key: string, fallback?: string): string | AddedToken | undefined => {
    if (map.value[key] !== undefined && map.value[key] !== null) {
      return token(map.value[key], map.file, key);
    }
    const value = config.value[key] === undefined ? fallback : config.value[key] ?? undefined;
    // The tokenizer class turns plain strings of the configuration into tokens that strip nothing.
    return value === undefined ? undefined : asToken(token(value, config.file, key));
  };
  const additionalOf = ({ file, value }: JsonFile) => {
    const list = value.additional_special_tokens ?? [];
    if (!Array.isArray(list)) return bad(file, "additional_special_tokens", "a list");
    return list.map((entry) => token(entry, file, "additional_special_tokens"));
  };
  const additional = additionalOf(map);
  for (const entry of additionalOf(config)) {
    if (!additional.some((known) => contentOf(known) === contentOf(entry))) additional.push(entry);
  }
  const pad = one("pad_token");
  return {
    bos: one("bos_token", "<s>") ?? { content: "<s>" },
    eos: one("eos_token", "</s>") ?? { content: "</s>" },
    unk: one("unk_token", "<unk>") ?? { content: "<unk>" },
    ...(pad === undefined ? {} : { pad }),
    additional,
  };
}

function asToken(value: string | AddedToken): AddedToken {
  return typeof value === "string" ? { content: value } : value;
}

function addedFromList({ file, value }: JsonFile): Map<number, string> {
  const added = new Map<number, string>();
  for (const [text, id] of Object.entries(value)) {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0) {
      return bad(file, `the id of "${text}"`, "an id");
    }
    if (added.has(id)) return bad(file, `the id ${id} of "${text}"`, "unique");
    added.set(id, text);
  }
  return added;
}

function addedFromDecoder(entries: Json, file: string): Map<number, AddedToken> {
  const added = new Map<number, AddedToken>();
  for (const [key, value] of Object.entries(entries)) {
    if (!/^\d{1,9}$/.test(key)) return bad(file, `added_tokens_decoder key "${key}"`, "an id");
    added.set(Number(key), asToken(token(value, file, `added_tokens_decoder.${key}`)));
  }
  return added;
}
