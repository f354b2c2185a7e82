/**
 * Reference cases of the text metrics: tokens, stems, BLEU, ROUGE, METEOR, CIDEr.
 *
 * @module
 */
import {
  bleuCoco,
  bleuCounts,
  type BleuHf,
  bleuHf,
  bleuNltk,
  brevityPenaltyNltk,
  cider,
  ciderLitegpt,
  matchChunks,
  mean,
  meteor,
  meteorMatches,
  meteorOfTokens,
  parsePunkt,
  porterStem,
  type PunktParameters,
  quantile,
  rouge,
  rougeLCoco,
  rougeLitegpt,
  type RougeScores,
  rougeTokens,
  rougeVividmed,
  sentenceBleuVividmed,
  sentencePerLine,
  splitSentences,
  splitWhitespace,
  type SynonymSource,
  type TextPair,
  tokens13a,
  treebankTokens,
  wordTokens,
} from "../../core/eval/mod.ts";
import { InputError } from "@medvlm/core";
import { caseJson } from "./case_files.ts";
import type { Report, Tolerance } from "./harness.ts";
import { NumpyRandom } from "./numpy_random.ts";
import { type CompareGroup, compareNumbers, isError, type MetricFile } from "./metrics_values.ts";

/** Punkt's English model: beside the cases, or the copy among the tests. */
async function loadPunkt({ dir }: MetricFile): Promise<PunktParameters> {
  const places = [
    `${dir}/resources/punkt_english.json`,
    decodeURIComponent(
      new URL("../golden/metrics/resources/punkt_english.json", import.meta.url).pathname,
    ),
  ];
  for (const place of places) {
    try {
      return parsePunkt(await caseJson(place));
    } catch (error) {
      if (!(error instanceof InputError) || error.code === "BAD_PUNKT") throw error;
    }
  }
  throw new Error(`There is no resources/punkt_english.json beside ${dir}`);
}

/** Texts of a corpus: one prediction and its references each. */
function corpus(predictions: readonly string[], references: readonly string[][]): TextPair[] {
  return predictions.map((prediction, i) => ({ prediction, references: references[i] }));
}

const stems: CompareGroup = (cases, report) => {
  for (const { word, expected } of cases) report.exact(word, porterStem(word), expected);
};

const words: CompareGroup = async (cases, report, file) => {
  const punkt = await loadPunkt(file);
  for (const { id, text, expected } of cases) {
    const actual: Record<string, () => unknown> = {
      "sent_tokenize": () => splitSentences(text, punkt),
      "sent_tokenize_stripped": () => splitSentences(text, punkt).map((one) => one.trim()),
      "word_tokenize": () => wordTokens(text, punkt),
      "word_tokenize_lower": () => wordTokens(text.toLowerCase(), punkt),
      "no_split": () => treebankTokens(text),
      "tokenizer_13a": () => tokens13a(text),
      "rouge_tokens": () => rougeTokens(text),
    };
    for (const [name, tokens] of Object.entries(expected)) {
      report.exact(`${id} ${name}`, actual[name]?.(), tokens);
    }
  }
};

function bleuHfNumbers(value: BleuHf): number[] {
  return [
    value.bleu,
    ...value.precisions,
    value.brevityPenalty,
    value.lengthRatio,
    value.predictionLength,
    value.referenceLength,
  ];
}

/** Runs what the reference fails on, and says whether it failed here too. */
function fails(run: () => unknown): boolean {
  try {
    run();
    return false;
  } catch (error) {
    if (error instanceof InputError) return true;
    throw error;
  }
}

const bleuHfCases: CompareGroup = (cases, report, { tolerance }) => {
  for (const one of cases) {
    const isCorpus = one.level === "corpus";
    const pairs = isCorpus
      ? corpus(one.predictions, one.references)
      : [{ prediction: one.prediction, references: one.references }];
    if (!isCorpus) {
      report.exact(`${one.id} tokens`, tokens13a(one.prediction), one.prediction_tokens);
      report.exact(`${one.id} tokens`, one.references.map(tokens13a), one.reference_tokens);
      const pair = { prediction: one.prediction, references: [one.references[0]] };
      const wanted = one.mmmm_bleu4_lowercased, name = `${one.id} VividMed`;
      if (isError(wanted)) {
        report.holds(name, fails(() => sentenceBleuVividmed(pair)), "it has a value");
      } else report.close(name, [sentenceBleuVividmed(pair)], [wanted], tolerance);
    }
    // deno-lint-ignore no-explicit-any
    for (const [key, expected] of Object.entries<any>(one.expected)) {
      const [, order, smooth] = /^max_order=(\d+),smooth=(\w+)$/.exec(key)!;
      const options = { maxOrder: Number(order), smooth: smooth === "true" };
      if (isError(expected)) {
        report.holds(`${one.id} ${key}`, fails(() => bleuHf(pairs, options)), "it has a value");
        continue;
      }
      report.close(`${one.id} ${key}`, bleuHfNumbers(bleuHf(pairs, options)), [
        expected.bleu,
        ...expected.precisions,
        expected.brevity_penalty,
        expected.length_ratio,
        expected.translation_length,
        expected.reference_length,
      ], tolerance);
    }
  }
};

const bleuNltkCases: CompareGroup = (cases, report) => {
  // Scores down to 1e-155 are compared relatively.
  const tolerance: Tolerance = { rtol: 1e-9 };
  for (const { id, level, expected, ...one } of cases) {
    if (level === "corpus") {
      const pairs = one.hypotheses_tokens.map((prediction: string[], i: number) => ({
        prediction,
        references: one.references_tokens[i],
      }));
      compareNumbers(
        report,
        id,
        {
          "corpus_bleu_4": bleuNltk(pairs),
          "corpus_bleu_1": bleuNltk(pairs, [1]),
          "corpus_bleu_2": bleuNltk(pairs, [0.5, 0.5]),
        },
        expected,
        tolerance,
      );
      continue;
    }
    const pair = { prediction: one.hypothesis_tokens, references: one.references_tokens };
    const counts = bleuCounts(pair);
    const { modified_precisions: precisions, ...scores } = expected;
    compareNumbers(
      report,
      id,
      {
        "bleu_score": bleuNltk([pair]),
        "bleu_score_1": bleuNltk([pair], [1, 0, 0, 0]),
        "bleu_score_2": bleuNltk([pair], [0, 1, 0, 0]),
        "bleu_score_3": bleuNltk([pair], [0, 0, 1, 0]),
        "bleu_2_uniform": bleuNltk([pair], [0.5, 0.5]),
        "brevity_penalty": brevityPenaltyNltk(counts.closestReference, counts.predictionLength),
      },
      scores,
      tolerance,
    );
    report.exact(
      `${id} precisions`,
      counts.matches.map((matches, i) => [matches, Math.max(1, counts.possible[i])]),
      precisions,
    );
  }
};

const cocoCases: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, gts, res, expected } of cases) {
    const pairs: TextPair[] = Object.keys(gts).map((key) => ({
      prediction: res[key][0],
      references: gts[key],
    }));
    const tokens = pairs.map(({ prediction, references }) => ({
      prediction: splitWhitespace(prediction),
      references: references.map(splitWhitespace),
    }));
    const bleu = bleuCoco(tokens);
    const rougeL = pairs.map((one) => rougeLCoco(one.prediction, one.references));
    const ciders = cider(pairs);
    report.close(`${id} Bleu`, bleu, expected.Bleu, tolerance);
    compareNumbers(report, id, { ROUGE_L: mean(rougeL), CIDEr: ciders.cider }, {
      ROUGE_L: expected.ROUGE_L,
      CIDEr: expected.CIDEr,
    }, tolerance);
    if ("agg_metrics" in expected) {
      report.close(`${id} sum`, [ciders.cider + bleu[3]], [expected.agg_metrics], tolerance);
    }
    if (!("CIDEr_per_sample" in expected)) continue;
    report.close(`${id} CIDEr`, ciders.perSample, expected.CIDEr_per_sample, tolerance);
    report.close(`${id} ROUGE_L`, rougeL, expected.ROUGE_L_per_sample, tolerance);
    const perSample = tokens.map((one) => bleuCoco([one]));
    expected.Bleu_per_sample.forEach((values: number[], order: number) =>
      report.close(`${id} Bleu_${order + 1}`, perSample.map((one) => one[order]), values, tolerance)
    );
  }
};

const ciderLitegptCases: CompareGroup = (cases, report, { tolerance }) => {
  for (const { id, predictions, labels, expected } of cases) {
    const { cider: value, perSample } = ciderLitegpt(
      predictions.map((prediction: string, i: number) => ({ prediction, reference: labels[i] })),
    );
    report.close(`${id} cider`, [value], [expected.cider], tolerance);
    if ("cider_per_sample" in expected) {
      report.close(`${id} samples`, perSample, expected.cider_per_sample, tolerance);
    }
  }
};

const variants = ["rouge1", "rouge2", "rougeL", "rougeLsum"] as const;

function f1s(scores: RougeScores): Record<string, number> {
  return Object.fromEntries(variants.map((variant) => [variant, scores[variant].f1]));
}

/** The 2.5, 50 and 97.5 percentiles of 1000 means of resampled scores, as rouge_score's aggregator takes them. */
function bootstrapMeans(scores: readonly number[], random: NumpyRandom): number[] {
  const means = Array.from(
    { length: 1000 },
    () => mean(random.choices(scores.length, scores.length).map((i) => scores[i])),
  ).sort((a, b) => a - b);
  return [0.025, 0.5, 0.975].map((share) => quantile(means, share));
}

function rougeCorpus(
  // deno-lint-ignore no-explicit-any
  { id, predictions, references, expected }: any,
  report: Report,
  punkt: PunktParameters,
  tolerance: Tolerance,
): void {
  const scores = predictions.map((prediction: string, i: number) =>
    f1s(rougeLitegpt(prediction, references[i], punkt))
  );
  const means = Object.fromEntries(
    variants.map((variant) => [
      variant,
      mean(scores.map((one: Record<string, number>) => one[variant])),
    ]),
  );
  compareNumbers(report, `${id} mean`, means, expected.mean_fmeasure, tolerance);
  // The aggregator draws for one variant after the other from one generator.
  const random = new NumpyRandom(0);
  for (const variant of variants) {
    const [low, mid, high] = bootstrapMeans(
      scores.map((one: Record<string, number>) => one[variant]),
      random,
    );
    const { bootstrap_mid_fmeasure_numpy_seed_0: official, bootstrap_low_high_fmeasure: range } =
      expected;
    report.close(
      `${id} ${variant} bootstrap`,
      [low, mid, high],
      [range[variant][0], official[variant], range[variant][1]],
      tolerance,
    );
  }
}

const rougeCases: CompareGroup = async (cases, report, file) => {
  const punkt = await loadPunkt(file), { tolerance } = file;
  for (const one of cases) {
    if (one.level === "corpus") {
      rougeCorpus(one, report, punkt, tolerance);
      continue;
    }
    const { id, prediction, reference, expected, litegpt, mmmm } = one;
    for (const stem of [false, true]) {
      const scores = rouge(prediction, reference, { stem });
      const wanted = expected[`use_stemmer=${stem}`];
      for (const variant of variants) {
        const { precision, recall, f1 } = scores[variant];
        const name = `${id} ${variant} ${stem ? "stemmed" : "plain"}`;
        compareNumbers(
          report,
          name,
          { precision, recall, fmeasure: f1 },
          wanted[variant],
          tolerance,
        );
      }
    }
    report.exact(
      `${id} lines`,
      [sentencePerLine(prediction, punkt), sentencePerLine(reference, punkt)],
      [litegpt.prediction_newline_joined, litegpt.reference_newline_joined],
    );
    const joined = f1s(rougeLitegpt(prediction, reference, punkt));
    compareNumbers(report, `${id} LiteGPT`, joined, litegpt.fmeasure_use_stemmer, tolerance);
    const lower = f1s(rougeVividmed(prediction, reference));
    compareNumbers(report, `${id} VividMed`, lower, mmmm, tolerance);
    report.exact(`${id} tokens`, rougeTokens(prediction), one.prediction_tokens);
    report.exact(`${id} stems`, rougeTokens(prediction, true), one.prediction_tokens_stemmed);
  }
};

const meteorCases: CompareGroup = async (cases, report, file) => {
  const punkt = await loadPunkt(file), { tolerance, json } = file;
  const table: Record<string, string[][]> = json.synonym_table ?? {};
  const sources: Record<string, SynonymSource | undefined> = {
    "no_synonyms": undefined,
    "with_synonym_table": (word) => Object.hasOwn(table, word) ? table[word] : [],
  };
  for (const one of cases) {
    const { id, expected } = one;
    for (const [stage, synonyms] of Object.entries(sources)) {
      const wanted = expected[stage];
      if (wanted === undefined) continue;
      if (one.level === "corpus") {
        const scores = corpus(one.predictions, one.references)
          .map((pair) => meteor(pair, { punkt, synonyms }));
        report.close(`${id} ${stage} samples`, scores, wanted.per_sample, tolerance);
        report.close(`${id} ${stage} mean`, [mean(scores)], [wanted.mean], tolerance);
        continue;
      }
      const prediction = wordTokens(one.prediction, punkt);
      const references: string[][] = one.references.map((text: string) => wordTokens(text, punkt));
      report.exact(`${id} tokens`, [prediction, references], [
        one.prediction_tokens,
        one.reference_tokens,
      ]);
      const scores = references.map((reference) => meteorOfTokens(prediction, reference, synonyms));
      report.close(`${id} ${stage}`, scores, wanted.per_reference, tolerance);
      report.close(
        `${id} ${stage} best`,
        [meteor({ prediction: one.prediction, references: one.references }, { punkt, synonyms })],
        [wanted.score],
        tolerance,
      );
      const lower = (tokens: string[]) => tokens.map((token) => token.toLowerCase());
      const matches = meteorMatches(lower(prediction), lower(references[0]), synonyms);
      report.exact(`${id} ${stage} matches`, [matches, matchChunks(matches)], [
        wanted.matches_first_reference,
        wanted.chunks_first_reference,
      ]);
    }
    if (one.mmmm_lowercased !== undefined) {
      const pair = {
        prediction: one.prediction.toLowerCase(),
        references: [one.references[0].toLowerCase()],
      };
      const score = meteor(pair, { punkt });
      report.close(`${id} VividMed`, [score], [one.mmmm_lowercased.score], tolerance);
    }
  }
};

/** Groups of the text metrics, by file and list. */
export const textGroups: Readonly<Record<string, CompareGroup>> = {
  "porter_stemmer/cases": stems,
  "word_tokenize_nltk/cases": words,
  "bleu_hf/cases": bleuHfCases,
  "bleu_nltk/cases": bleuNltkCases,
  "coco_bleu_rouge_cider/cases": cocoCases,
  "cider_litegpt/cases": ciderLitegptCases,
  "rouge_google/cases": rougeCases,
  "meteor_nltk/cases": meteorCases,
};
