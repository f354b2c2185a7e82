/**
 * Scores of texts in the variants of the published scripts, which differ from the standard ones; their names end in the
 * system's name. docs/metrics.md says how.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import {
  type BleuCounts,
  bleuCounts,
  bleuHfOfCounts,
  bootstrapEach,
  type BootstrapOptions,
  ciderLitegpt,
  closedMatch,
  exactMatchMedplib,
  exactMatchVividmed,
  mean,
  normaliseMedplib,
  normalisePefomed,
  rougeLitegpt,
  rougeVividmed,
  sentenceBleuMedplib,
  sentenceBleuVividmed,
  tokenOverlapMedplib,
  tokens13a,
} from "@medvlm/core/eval";
import { type Estimate, estimate, type Values } from "./estimates.ts";

/** MedPLIB's script normalises the texts once before its measures do it again. */
const once = (text: string) => normaliseMedplib(text.toLowerCase());

/** Values of any answer to a question. */
export function answerVariants(answer: string, references: readonly string[]): Values {
  const best = (measure: (reference: string) => number) => Math.max(...references.map(measure));
  return {
    "accuracy_pefomed": best((one) => closedMatch(answer, one, normalisePefomed)),
    "exact_match_vividmed": best((one) => exactMatchVividmed(answer, one)),
    "bleu_1_vividmed": best((one) =>
      sentenceBleuVividmed({ prediction: answer, references: [one] }, 1)
    ),
    "rouge_1_vividmed": best((one) => rougeVividmed(answer, one).rouge1.f1),
  };
}

/** Values of an answer to an open question, against the reference with the most shared words. */
export function openVariants(answer: string, references: readonly string[]): Values {
  const predicted = once(answer);
  const scores = references.map((one) => {
    const wanted = once(one);
    return { words: tokenOverlapMedplib(predicted, wanted), wanted };
  });
  const { words, wanted } = scores.reduce((a, b) => b.words.f1 > a.words.f1 ? b : a);
  const bleu = sentenceBleuMedplib(predicted, wanted);
  return {
    "open_precision_medplib": words.precision,
    "open_recall_medplib": words.recall,
    "open_f1_medplib": words.f1,
    "open_exact_match_medplib": exactMatchMedplib(predicted, wanted),
    "open_bleu_medplib": bleu.bleu,
    "open_bleu_1_medplib": bleu.bleu1,
    "open_bleu_2_medplib": bleu.bleu2,
    "open_bleu_3_medplib": bleu.bleu3,
  };
}

/** Values of a report or caption. */
export function reportVariants(answer: string, references: readonly string[]): Values {
  const [first] = references;
  const litegpt = rougeLitegpt(answer, first), vividmed = rougeVividmed(answer, first);
  return {
    "rouge_1_litegpt": litegpt.rouge1.f1,
    "rouge_2_litegpt": litegpt.rouge2.f1,
    "rouge_l_litegpt": litegpt.rougeL.f1,
    "rouge_lsum_litegpt": litegpt.rougeLsum.f1,
    "rouge_l_vividmed": vividmed.rougeL.f1,
    "bleu_4_vividmed": sentenceBleuVividmed({ prediction: answer, references: [first] }, 4),
  };
}

const orders = [1, 2, 3, 4] as const;

/** BLEU and CIDEr of LiteGPT, which are numbers of a whole corpus. */
export class LitegptCorpus {
  readonly #counts: BleuCounts[] = [];
  readonly #texts: { readonly prediction: string; readonly reference: string }[] = [];

  /** Takes a text and its first reference. */
  add(prediction: string, reference: string): void {
    this.#counts.push(
      bleuCounts({ prediction: tokens13a(prediction), references: [tokens13a(reference)] }),
    );
    this.#texts.push({ prediction, reference });
  }

  /** The scores so far. */
  estimates(options: BootstrapOptions): Record<string, Estimate> {
    const n = this.#counts.length;
    if (n === 0) return {};
    const bleu = bootstrapEach(this.#counts, bleuOfAll, options);
    return {
      ...Object.fromEntries(bleu.map(({ estimate: value, low, high }, index) => [
        `bleu_${orders[index]}_litegpt`,
        { n, value, low, high },
      ])),
      // Word frequencies stay those of the whole corpus, as for the standard variant.
      "cider_litegpt": estimate(ciderLitegpt(this.#texts).perSample, mean, options),
    };
  }
}

/** BLEU-1 to BLEU-4; not a number where there are only blank texts, on which the script fails. */
function bleuOfAll(counts: readonly BleuCounts[]): number[] {
  try {
    return orders.map((maxOrder) => bleuHfOfCounts(counts, { maxOrder }).bleu);
  } catch (error) {
    if (error instanceof InputError && error.code === "NO_TOKENS") return orders.map(() => NaN);
    throw error;
  }
}
