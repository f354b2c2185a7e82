/**
 * The reference case of MedPLIB's tokenizer: texts with placeholders, conversations with labels, decoding.
 *
 * @module
 */
import { type LlamaTokenizer, loadLlamaTokenizer } from "@medvlm/core/text";
import { openFolder } from "../../core/files.ts";
import {
  cutEvaluationPrompt,
  encodeMedplibPrompt,
  imagePlaceholder,
  placeImage,
  type RecordTurn,
  regionPlaceholder,
  trainingText,
  withMedplibTokens,
} from "../../plugins/medplib/prompt.ts";
import type { Report } from "./harness.ts";

interface Encoded {
  text: string;
  ids: number[];
  pieces?: string[];
}

interface Conversation {
  template: string;
  prompt: string;
  "input_ids": number[];
  labels: number[];
}

interface TokenizerCase {
  "base_vocab": number;
  "total_vocab": number;
  ids: Record<string, number>;
  "colon_id": number;
  encode: Encoded[];
  conversations: (Conversation & {
    conversation: RecordTurn[];
    "after_multimodal": RecordTurn[];
    question: string[];
    gt: string[];
    "eval_prompt_length": number;
  })[];
  decode: { ids: number[]; "skip_special_tokens": string; "keep_special_tokens": string }[];
  "real_llama_vocabulary"?: {
    "sha256_of_tokenizer_model": string;
    encode: Encoded[];
    conversations: Conversation[];
  };
}

/**
 * Compares `dir/case.json` with the tokenizer in `dir/tokenizer`. The part about the real Llama vocabulary runs when a
 * `tokenizer.model` with its SHA-256 lies in `dir/real`, `dir/tokenizer` or `dir`, and is reported as not run otherwise.
 */
export async function runMedplibTokenizer(dir: string, report: Report): Promise<void> {
  const data: TokenizerCase = JSON.parse(await Deno.readTextFile(`${dir}/case.json`));
  const folder = await openFolder(`${dir}/tokenizer`);
  const tokenizer = await loadLlamaTokenizer(folder, { behaviour: "4.31-legacy" });
  report.exact("base vocabulary", tokenizer.sentencePiece.size, data.base_vocab);
  report.exact("vocabulary", tokenizer.size, data.total_vocab);
  const rebuilt = withMedplibTokens(tokenizer);
  for (const [token, id] of Object.entries(data.ids)) {
    report.exact(`id of ${token}`, [tokenizer.tokenToId(token), rebuilt.tokenToId(token)], [
      id,
      id,
    ]);
  }
  report.exact("colon", tokenizer.tokenToId(":"), data.colon_id);
  compareEncoding(tokenizer, data.encode, report, "encode");

  data.conversations.forEach((one, i) => {
    const name = `conversations[${i}]`;
    const placed = one.conversation.map(({ from, value }) => ({ from, value: placeImage(value) }));
    report.exact(`${name}.after_multimodal`, placed, one.after_multimodal);
    const made = trainingText(tokenizer, one.conversation, { template: one.template });
    report.exact(`${name}.prompt`, made.prompt, one.prompt);
    report.exact(`${name}.input_ids`, made.inputIds, one.input_ids);
    report.exact(`${name}.labels`, made.labels, one.labels);
    report.exact(`${name}.question`, made.questions, one.question);
    report.exact(`${name}.gt`, made.answers, one.gt);
    const leaking = cutEvaluationPrompt(tokenizer, made.inputIds, "last-colon");
    report.exact(`${name}.eval_prompt_length`, leaking.length, one.eval_prompt_length);
    const asked = one.prompt.slice(0, one.prompt.lastIndexOf("ASSISTANT:") + "ASSISTANT:".length);
    const clean = cutEvaluationPrompt(tokenizer, made.inputIds);
    report.exact(`${name} up to ASSISTANT:`, clean, encodeMedplibPrompt(tokenizer, asked));
  });
  data.decode.forEach(({ ids, ...expected }, i) => {
    const skipped = tokenizer.decode(ids, { skipSpecialTokens: true });
    report.exact(`decode[${i}].skip_special_tokens`, skipped, expected.skip_special_tokens);
    report.exact(
      `decode[${i}].keep_special_tokens`,
      tokenizer.decode(ids),
      expected.keep_special_tokens,
    );
  });
  if (data.real_llama_vocabulary !== undefined) {
    await compareRealVocabulary(dir, data.real_llama_vocabulary, report);
  }
}

function compareEncoding(
  tokenizer: LlamaTokenizer,
  cases: readonly Encoded[],
  report: Report,
  name: string,
): void {
  cases.forEach((one, i) => {
    const ids = encodeMedplibPrompt(tokenizer, one.text);
    report.exact(`${name}[${i}].ids`, ids, one.ids);
    if (one.pieces === undefined) return;
    report.exact(`${name}[${i}].pieces`, ids.map((id) => pieceName(tokenizer, id)), one.pieces);
  });
}

function pieceName(tokenizer: LlamaTokenizer, id: number): string {
  if (id === imagePlaceholder) return `<IMAGE ${id}>`;
  if (id === regionPlaceholder) return `<REGION ${id}>`;
  return tokenizer.idToToken(id);
}

async function compareRealVocabulary(
  dir: string,
  data: NonNullable<TokenizerCase["real_llama_vocabulary"]>,
  report: Report,
): Promise<void> {
  const sha = data.sha256_of_tokenizer_model;
  for (const folder of [`${dir}/real`, `${dir}/tokenizer`, dir]) {
    const bytes = await Deno.readFile(`${folder}/tokenizer.model`).catch(() => undefined);
    if (bytes === undefined) continue;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    if (digest.toHex() !== sha) continue;
    const plain = await loadLlamaTokenizer(await openFolder(folder), { behaviour: "4.31-legacy" });
    const tokenizer = withMedplibTokens(plain);
    compareEncoding(tokenizer, data.encode, report, "real.encode");
    data.conversations.forEach((one, i) => {
      const ids = encodeMedplibPrompt(tokenizer, one.prompt);
      report.exact(`real.conversations[${i}].input_ids`, ids, one.input_ids);
      const turns = turnsOf(one.prompt);
      const made = trainingText(tokenizer, turns, { template: one.template });
      report.exact(`real.conversations[${i}].labels`, made.labels, one.labels);
    });
    return;
  }
  const what = `real Llama vocabulary: not run, no tokenizer.model with SHA-256 ${
    sha.slice(0, 8)
  }… beside the case`;
  report.holds(what, true, "");
}

/** The turns of a rendered conversation in the v1 style. */
function turnsOf(prompt: string): RecordTurn[] {
  return prompt.split("</s>").filter((round) => round !== "").flatMap((round): RecordTurn[] => {
    const [asked, answer] = round.slice(round.indexOf("USER: ") + 6).split(" ASSISTANT: ");
    const question = asked!.replace("<im_start><image><im_end>", "<image>");
    return [{ from: "human", value: question }, { from: "gpt", value: answer! }];
  });
}
