/**
 * MedPLIB's prompts: added tokens, image and region placeholders, conversations and training labels.
 * Source: MedPLIB `datasets/LazySupervisedDataset.py`, `utils/utils.py`, `train_ds_medplib.py`, `model/eval/vqa_infer.py`.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import {
  type ChatMessage,
  type ChatTemplate,
  findChatTemplate,
  type LlamaTokenizer,
  renderChat,
  strip,
} from "@medvlm/core/text";

export type { LlamaTokenizer };

/** Stands for the image rows among token ids. */
export const imagePlaceholder: number = -200;
/** Stands for the region row among token ids. */
export const regionPlaceholder: number = -300;
/** Label of a position that does not count for the loss. */
export const ignoredLabel: number = -100;

const imageTag = "<image>";
const wrappedImage = "<im_start><image><im_end>";

/** The 267 tokens MedPLIB adds to the Llama vocabulary, in order; on the released model the ids 32000 to 32266. */
export const addedTokens: readonly string[] = [
  "<SEG>",
  ...["ref", "region", "sr", "mask"].flatMap((name) => [`<${name}>`, `</${name}>`]),
  ...Array.from({ length: 256 }, (_, i) => `<gen_${i + 1}>`),
  "<im_start>",
  "<im_end>",
];

/**
 * Adds MedPLIB's tokens to a tokenizer that lacks them (a base language model's) and pads with `<unk>`, as training does.
 * Tokens that are there already keep their ids.
 */
export function withMedplibTokens(tokenizer: LlamaTokenizer): LlamaTokenizer {
  return tokenizer.withAddedTokens(addedTokens).withPadToken("<unk>");
}

/** One turn of a dataset record. */
export interface RecordTurn {
  /** Who speaks. */
  from: "human" | "gpt";
  /** What is said, with tags. */
  value: string;
}

/**
 * Puts the image markers of a turn where the model expects them. A turn without `<image>` is returned unchanged.
 *
 * @param placement `front` removes every `<image>` and puts one in front, on its own line (single-image training and
 *   inference); `in-place` wraps each where it stands (in-context examples).
 * @returns The turn with `<im_start><image><im_end>`.
 */
export function placeImage(turn: string, placement: "front" | "in-place" = "front"): string {
  if (!turn.includes(imageTag)) return turn;
  const placed = placement === "front"
    ? strip(`${imageTag}\n${strip(turn.replaceAll(imageTag, ""))}`)
    : turn;
  return placed.replaceAll(imageTag, wrappedImage);
}

/**
 * Takes the mask file out of a turn of a dataset record: `<mask>path</mask>` vanishes (the turn must contain `<SEG>`),
 * `<region>path</region>` stays as `<region></region>`.
 *
 * @returns The turn without the path, and the path if there was one.
 * @throws {InputError} code `BAD_RECORD` when there is more than one such tag or a mask without `<SEG>`.
 */
export function takeMaskPath(
  turn: string,
  tag: "mask" | "region",
): { turn: string; path?: string } {
  const found = [...turn.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, "g"))];
  const [first] = found;
  if (first === undefined) return { turn };
  const fail = (problem: string): never => {
    throw new InputError(
      "BAD_RECORD",
      `Cannot use the turn "${turn.slice(0, 80)}" of the data: ${problem}; correct the record`,
    );
  };
  if (found.length > 1) fail(`it has ${found.length} <${tag}> tags and one is allowed`);
  if (tag === "mask" && !turn.includes("<SEG>")) fail("it has a <mask> tag but no <SEG>");
  const kept = turn.replace(first[0], () => tag === "mask" ? "" : "<region></region>");
  return first[1] === "" ? { turn: kept } : { turn: kept, path: first[1]! };
}

/** What a prompt is made of. */
export interface PromptParts {
  /** The question, with `<region></region>` where the region is meant. */
  question: string;
  /** Earlier questions and answers, oldest first. */
  history?: readonly { readonly question: string; readonly answer: string }[];
  /** Name of the conversation template: `vicuna_v1` as in the evaluation (default), `llava_v1` as in training. */
  template?: string;
  /** `front` puts the one image before the first question (default); `in-place` keeps every `<image>` of the questions. */
  placement?: "front" | "in-place";
}

/**
 * The text of a prompt up to and including the last `ASSISTANT:`. The image comes first, in the first question; any
 * `<image>` the questions contain is removed, unless they stay in place.
 *
 * @throws {InputError} code `UNKNOWN_TEMPLATE`; `EMPTY_PROMPT` when a question, or an answer of the history, is empty.
 */
export function medplibPrompt(
  { question, history = [], template = "vicuna_v1", placement = "front" }: PromptParts,
): string {
  const messages: ChatMessage[] = [];
  const ask = (text: string) => {
    const plain = strip(text.replaceAll(imageTag, ""));
    if (plain === "") throw emptyTurn("question");
    const first = messages.length === 0;
    const placed = placement === "in-place"
      ? placeImage(strip(text), placement)
      : first
      ? placeImage(imageTag + plain)
      : plain;
    messages.push({ role: "user", text: placed });
  };
  for (const turn of history) {
    ask(turn.question);
    const text = strip(turn.answer);
    if (text === "") throw emptyTurn("earlier answer");
    messages.push({ role: "assistant", text });
  }
  ask(question);
  return renderChat(findChatTemplate(template), [...messages, { role: "assistant" }]);
}

function emptyTurn(what: string): InputError {
  return new InputError("EMPTY_PROMPT", `Cannot build a prompt: the ${what} is empty; give a text`);
}

/**
 * Token ids of a prompt: it is cut at each `<image>`, every chunk is tokenised by itself with its beginning token, of
 * which only the first is kept, and -200 goes between the chunks; then -300 goes between every `<region>` directly
 * followed by `</region>`.
 *
 * @returns Ids of the tokenizer, and the placeholders.
 */
export function encodeMedplibPrompt(tokenizer: LlamaTokenizer, prompt: string): number[] {
  const open = tokenizer.tokenToId("<region>"), close = tokenizer.tokenToId("</region>");
  const ids: number[] = [];
  prompt.split(imageTag).forEach((text, i) => {
    const chunk = tokenizer.encode(text);
    if (i > 0) ids.push(imagePlaceholder);
    for (const id of i > 0 && chunk[0] === tokenizer.beginId ? chunk.slice(1) : chunk) {
      if (id === close && ids.at(-1) === open) ids.push(regionPlaceholder);
      ids.push(id);
    }
  });
  return ids;
}

/** Where an evaluation prompt ends: `assistant` at the last `ASSISTANT:`, `last-colon` at the last token `:`. */
export type PromptCut = "assistant" | "last-colon";

/**
 * The evaluation prompt of a tokenised ground-truth conversation.
 *
 * The published script cuts after the last token `:` of the whole conversation, so that an answer with a colon leaks its
 * beginning into the prompt; `last-colon` reproduces that, `assistant` does not.
 *
 * @param ids What {@link encodeMedplibPrompt} gives for the conversation.
 * @throws {InputError} code `BAD_CONVERSATION` when the ids hold no such end.
 */
export function cutEvaluationPrompt(
  tokenizer: LlamaTokenizer,
  ids: readonly number[],
  cut: PromptCut = "assistant",
): number[] {
  const end = cut === "last-colon"
    ? [tokenizer.tokenToId(":")]
    : tokenizer.encode("ASSISTANT:", { addSpecialTokens: false });
  for (let at = ids.length - end.length; at >= 0; at--) {
    if (end.every((id, i) => ids[at + i] === id)) return ids.slice(0, at + end.length);
  }
  const what = cut === "assistant" ? "ASSISTANT:" : "colon";
  throw new InputError(
    "BAD_CONVERSATION",
    `Cannot cut an evaluation prompt from ${ids.length} tokens: they hold no ${what}; give a conversation in the v1 style`,
  );
}

/** A conversation ready for training. */
export interface TrainingText {
  /** The whole conversation as text. */
  prompt: string;
  /** Its token ids with the placeholders [N]. */
  inputIds: number[];
  /** Target of each position [N]: the token id, or -100 where it does not count. */
  labels: number[];
  /** The human turns without the image marker. */
  questions: string[];
  /** The answers as they stand in the conversation. */
  answers: string[];
}

/** How a conversation becomes training data. */
export interface TrainingTextOptions {
  /** Name of the conversation template. Default `llava_v1`, as the training scripts. */
  template?: string;
  /** See {@link placeImage}. Default `front`. */
  placement?: "front" | "in-place";
  /** Whether the record has an image. Without, the ids are cut to the tokenizer's longest sequence. Default true. */
  hasImage?: boolean;
}

/**
 * Builds token ids and labels of a conversation as the official `preprocess_v1` does: the answers and the `</s>` that
 * closes each are targets, everything else is -100. When the count of the rounds does not match the whole, because the
 * text itself contains `</s>`, `<unk>` or a second ` ASSISTANT: `, the whole sample is -100.
 *
 * @param turns Turns of a record, human first; a leading turn of the assistant is dropped.
 * @throws {InputError} code `BAD_CONVERSATION` when the turns do not alternate, `UNKNOWN_TEMPLATE`.
 */
export function trainingText(
  tokenizer: LlamaTokenizer,
  turns: readonly RecordTurn[],
  { template = "llava_v1", placement = "front", hasImage = true }: TrainingTextOptions = {},
): TrainingText {
  const placed = (turns[0]?.from === "gpt" ? turns.slice(1) : turns).map(({ from, value }) => ({
    from,
    value: hasImage ? placeImage(value, placement) : value,
  }));
  const chat = findChatTemplate(template);
  const prompt = renderChat(
    chat,
    placed.map(({ from, value }) => ({
      role: from === "human" ? "user" : "assistant",
      text: value,
    })),
  );
  const encode = (text: string) =>
    hasImage ? encodeMedplibPrompt(tokenizer, text) : tokenizer.encode(text);
  const limit = tokenizer.options.modelMaxLength ?? Infinity;
  const whole = encode(prompt);
  const inputIds = hasImage ? whole : whole.slice(0, limit);
  return {
    prompt,
    inputIds,
    labels: labelsOf(prompt, inputIds, chat, encode, tokenizer.padId, limit),
    questions: placed.filter(({ from }) => from === "human")
      .map(({ value }) => value.replaceAll(`${wrappedImage}\n`, "")),
    answers: placed.filter(({ from }) => from === "gpt").map(({ value }) => value),
  };
}

function labelsOf(
  prompt: string,
  ids: readonly number[],
  { roles, separators }: ChatTemplate,
  encode: (text: string) => number[],
  padId: number | undefined,
  limit: number,
): number[] {
  const labels = ids.slice();
  const ignore = (from: number, to: number) =>
    labels.fill(ignoredLabel, Math.max(0, from), Math.max(0, to));
  const cue = `${separators[0]}${roles[1]}: `;
  // The first position is the beginning token; in later rounds its place is taken by the </s> before them.
  let length = 1;
  ignore(0, 1);
  for (const round of prompt.split(separators[1])) {
    const parts = round.split(cue);
    if (round === "" || parts.length !== 2) break;
    // Neither the beginning token nor the lone space symbol after the colon belongs to the instruction.
    const instruction = encode(parts[0] + cue).length - 2;
    ignore(length, length + instruction);
    length += encode(round).length;
  }
  ignore(length, labels.length);
  const counted = ids.filter((id) => id !== padId).length;
  if (length < limit && length !== counted) labels.fill(ignoredLabel);
  return labels;
}
