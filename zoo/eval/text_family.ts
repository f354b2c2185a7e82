/**
 * Scores of texts: answers to questions, reports and captions.
 *
 * @module
 */
import {
  bleuCocoOfCounts,
  type BleuCounts,
  bleuCounts,
  bootstrapEach,
  type BootstrapOptions,
  ciderMetric,
  closedMatch,
  cocoTokensApproximate,
  matchChoice,
  mean,
  meteor,
  normaliseMedplib,
  rouge,
  rougeLCoco,
  type TextPair,
  tokenOverlap,
  type TokenPair,
} from "@medvlm/core/eval";
import { type Estimate, estimate, Means, type Values } from "./estimates.ts";
import {
  defined,
  type Family,
  groupsOf,
  mergedGroups,
  type TaskScores,
  textsOf,
} from "./family.ts";
import { ReportLabels, type ReportLabelSource } from "./report_labels.ts";
import type { Prediction } from "./prediction.ts";
import { answerVariants, LitegptCorpus, openVariants, reportVariants } from "./text_variants.ts";

/** BLEU-1 to BLEU-4 of the caption evaluation. */
function bleuEstimates(
  counts: readonly BleuCounts[],
  options: BootstrapOptions,
): Record<string, Estimate> {
  if (counts.length === 0) return {};
  const intervals = bootstrapEach(counts, bleuCocoOfCounts, options);
  return Object.fromEntries(intervals.map(({ estimate: value, low, high }, order) => [
    `bleu_${order + 1}`,
    { n: counts.length, value, low, high },
  ]));
}

/** Text and references as tokens of the caption evaluation. */
function tokenised(prediction: Prediction, references: readonly string[]): TokenPair {
  return {
    prediction: cocoTokensApproximate(prediction.answer),
    references: references.map(cocoTokensApproximate),
  };
}

function joined({ prediction, references }: TokenPair): TextPair {
  return { prediction: prediction.join(" "), references: references.map((one) => one.join(" ")) };
}

const rougeOf = (pair: TextPair) => rougeLCoco(pair.prediction, pair.references);

/** Questions that only yes or no answers, where a dataset does not say which are closed. */
function isClosed({ reference }: Prediction): boolean {
  if (reference.answerType !== undefined) return reference.answerType === "closed";
  return ["yes", "no"].includes(normaliseMedplib(reference.answer ?? ""));
}

/** Answers to questions: multiple choice, closed and open ones each in their own way. */
export class AnswerFamily implements Family {
  readonly #means = new Means();
  readonly #bleu: BleuCounts[] = [];
  #count = 0;
  #without = 0;

  /** Takes a prediction. */
  add(prediction: Prediction, extra: Values = {}): number | undefined {
    const references = textsOf(prediction);
    if (references.length === 0) {
      this.#without++;
      return undefined;
    }
    this.#count++;
    const { answer, category, modality, reference: { choices } } = prediction;
    const accuracy = Math.max(...references.map((reference) => closedMatch(answer, reference)));
    const variants = answerVariants(answer, references);
    const values: Record<string, number> = { ...extra, accuracy, ...variants };
    const kind = isClosed(prediction) ? "closed" : "open";
    const byKind = {
      [`${kind}_accuracy`]: accuracy,
      [`${kind}_accuracy_pefomed`]: variants.accuracy_pefomed,
    };
    let rank = accuracy;
    if (choices !== undefined && choices.length > 0) {
      rank = Number(references.includes(choices[matchChoice(answer, choices)]));
      values.choice_accuracy = rank;
    } else {
      Object.assign(values, byKind);
      if (kind === "open") rank = this.#addOpen(prediction, references, values);
    }
    this.#means.add([{ values, category, modality }]);
    return rank;
  }

  #addOpen(
    prediction: Prediction,
    references: readonly string[],
    values: Record<string, number>,
  ): number {
    const { answer } = prediction;
    const words = references.map((one) => tokenOverlap(answer, one))
      .reduce((a, b) => b.f1 > a.f1 ? b : a);
    const pair = tokenised(prediction, references);
    this.#bleu.push(bleuCounts(pair));
    Object.assign(values, {
      "open_precision": words.precision,
      "open_recall": words.recall,
      "open_f1": words.f1,
      "open_rouge_l": rougeOf(joined(pair)),
      ...openVariants(answer, references),
    });
    return words.f1;
  }

  /** The scores so far. */
  scores(options: BootstrapOptions): TaskScores {
    const bleu = Object.entries(bleuEstimates(this.#bleu, options));
    return {
      n: this.#count,
      withoutReference: this.#without,
      metrics: defined({
        ...this.#means.estimates(options),
        ...Object.fromEntries(bleu.map(([name, one]) => [`open_${name}`, one])),
        "modality_mean_accuracy": this.#means.groupMean("modality", "accuracy", options),
        "modality_mean_choice_accuracy": this.#means.groupMean(
          "modality",
          "choice_accuracy",
          options,
        ),
      }),
      groups: groupsOf(this.#means, options),
    };
  }
}

/** Reports and captions. */
export class ReportFamily implements Family {
  readonly #means = new Means();
  readonly #bleu: BleuCounts[] = [];
  readonly #cider = ciderMetric();
  readonly #litegpt = new LitegptCorpus();
  readonly #labels: ReportLabels | undefined;
  #without = 0;

  /**
   * Scores of reports.
   *
   * @param labels What classifiers said about the texts, where the user gives it.
   */
  constructor(labels?: ReportLabelSource) {
    this.#labels = labels && new ReportLabels(labels);
  }

  /** Takes a prediction. */
  add(prediction: Prediction, extra: Values = {}): number | undefined {
    const references = textsOf(prediction);
    if (references.length === 0) {
      this.#without++;
      return undefined;
    }
    const { answer, category, modality } = prediction;
    const pair = tokenised(prediction, references);
    this.#bleu.push(bleuCounts(pair));
    this.#cider.add(joined(pair));
    this.#litegpt.add(answer, references[0]);
    const rougeL = rougeOf(joined(pair));
    const best = references.map((one) => rouge(answer, one))
      .reduce((a, b) => b.rouge1.f1 > a.rouge1.f1 ? b : a);
    const values = {
      ...extra,
      "rouge_1": best.rouge1.f1,
      "rouge_2": best.rouge2.f1,
      "rouge_l": rougeL,
      meteor: meteor({ prediction: answer, references }),
      ...reportVariants(answer, references),
      ...this.#labels?.add(answer, references[0]),
    };
    this.#means.add([{ values, category, modality }]);
    return rougeL;
  }

  /** The scores so far. */
  scores(options: BootstrapOptions): TaskScores {
    const { perSample } = this.#cider.result();
    const labels = this.#labels?.estimates(options);
    const groups = groupsOf(this.#means, options);
    return {
      n: this.#bleu.length,
      withoutReference: this.#without,
      metrics: defined({
        ...bleuEstimates(this.#bleu, options),
        ...this.#means.estimates(options),
        // Word frequencies stay those of the whole corpus; to count them anew per resample takes minutes.
        cider: perSample.length > 0 ? estimate(perSample, mean, options) : undefined,
        ...this.#litegpt.estimates(options),
        ...labels?.metrics,
      }),
      groups: labels === undefined || Object.keys(labels.classes).length === 0
        ? groups
        : { ...groups, class: mergedGroups(groups.class, labels.classes) },
    };
  }
}
