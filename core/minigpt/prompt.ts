/**
 * Prompts of the family and their tokens. Text around the picture is tokenized piece by piece, so that each piece gets a space
 * of its own in front; a conversation at inference begins with two `<s>`, a training row with one (official `prepare_texts`,
 * `get_context_emb`, `prompt_wrap`).
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { FolderSource } from "../files.ts";
import type { Turn } from "../plugin.ts";
import { type LlamaTokenizer, loadLlamaTokenizer } from "../text/mod.ts";

/** Stands for the rows of the picture. */
export const imagePlaceholder = "<ImageHere>";

/** The picture in a prompt, in MiniGPT-v2's own spelling. */
export const imageTag: string = `<Img>${imagePlaceholder}</Img>`;

/** Label of positions whose prediction does not count. */
export const ignoredLabel: number = -100;

/** What ends an answer in training. */
export const endOfAnswer = "</s>";

const userRole = "<s>[INST] ", assistantRole = " [/INST]";

/**
 * The prompt of a conversation at inference: `<s>[INST] <Img><ImageHere></Img> QUESTION [/INST]`, with earlier turns before the
 * question. The picture goes with the first question.
 */
export function chatPrompt(question: string, history: readonly Turn[] = []): string {
  const turns = [...history, { question, answer: "" }];
  return turns.map(({ question, answer }, n) =>
    `${userRole}${n === 0 ? `${imageTag} ` : ""}${question}${assistantRole}${answer}`
  ).join("");
}

/**
 * The prompt of a training row: `[INST] INSTRUCTION [/INST]`.
 *
 * @param instruction With its image tag, as the datasets write it: `<Img><ImageHere></Img> [refer] where is {} ? `.
 */
export function trainingPrompt(instruction: string): string {
  return `[INST] ${instruction}${assistantRole}`;
}

/** How a prompt is cut. */
export interface SegmentOptions {
  /** Whether the first piece gets a beginning token, as at inference. Default false. */
  readonly beginning?: boolean;
  /** Where the picture goes; `<imagehere>` in prompts that were lower-cased. Default {@linkcode imagePlaceholder}. */
  readonly placeholder?: string;
}

/**
 * Token ids of the pieces of text around the picture, each tokenized on its own: one more than there are placeholders.
 *
 * @throws {InputError} code `BAD_PROMPT` when the prompt has no place for the picture, or several.
 */
export function promptSegments(
  tokenizer: LlamaTokenizer,
  prompt: string,
  { beginning = false, placeholder = imagePlaceholder }: SegmentOptions = {},
): [before: number[], behind: number[]] {
  const pieces = prompt.split(placeholder);
  if (pieces.length !== 2) {
    throw new InputError(
      "BAD_PROMPT",
      `Cannot use a prompt with ${
        pieces.length - 1
      } places for the picture: expected "${placeholder}" once; leave it out of the question`,
    );
  }
  const [before, behind] = pieces as [string, string];
  return [
    tokenizer.encode(before, { addSpecialTokens: beginning }),
    tokenizer.encode(behind, { addSpecialTokens: false }),
  ];
}

/** The piece that pads batches; an ordinary piece of LLaMA's vocabulary. */
const padding = "$$";

/**
 * The tokenizer of a LLaMA directory as the official code uses it: transformers 4.30, padded with `$$`, or with the unknown token
 * where the vocabulary has no such piece.
 *
 * @throws {InputError} as `loadLlamaTokenizer` does.
 */
export async function loadMinigptTokenizer(folder: FolderSource): Promise<LlamaTokenizer> {
  const tokenizer = await loadLlamaTokenizer(folder, { behaviour: "4.31-legacy" });
  const known = tokenizer.has(padding);
  return tokenizer.withPadToken(known ? padding : tokenizer.idToToken(tokenizer.unknownId));
}

/**
 * The text of an answer as the official evaluation reads it: without special tokens, cut at `</s>`, what follows the last
 * `[/INST]`, trimmed.
 */
export function answerText(tokenizer: LlamaTokenizer, tokens: readonly number[]): string {
  const kept = tokens[0] === 0 ? tokens.slice(1) : tokens;
  const text = tokenizer.decode(kept, { skipSpecialTokens: true });
  return text.split("</s>")[0]!.replaceAll("<s>", "").split("[/INST]").at(-1)!.trim();
}
