/**
 * METEOR (Banerjee and Lavie, 2005) as NLTK 3.8 computes it, which LiteGPT and VividMed call through Hugging Face
 * `evaluate`. It is not the Java METEOR 1.5 of the COCO caption evaluation (PeFoMed), whose tables are not available here:
 * the numbers of the two must not be compared.
 *
 * Words are matched exactly, then by Porter stem, then by synonym. Synonyms come from WordNet, which the user supplies (see
 * {@linkcode parseWordNet}); without it the third stage is left out, and the score can be a little lower.
 *
 * @module
 */
import { mean } from "./means.ts";
import { porterStem } from "./porter.ts";
import type { PunktParameters } from "./punkt.ts";
import { StreamingMetric } from "./streaming.ts";
import { wordTokens } from "./treebank_words.ts";
import type { TextPair } from "./bleu.ts";

/** The synonym sets that a word belongs to, each a list of lemma names. */
export type SynonymSource = (word: string) => Iterable<readonly string[]>;

/** A word of the prediction matched with one of the reference: their positions. */
export type WordMatch = readonly [prediction: number, reference: number];

interface Word {
  readonly at: number;
  readonly text: string;
}

/**
 * Pairs words that agree and takes them out of both lists. Both are scanned from their ends, and the first pair is taken:
 * the original does not look for the alignment with the fewest crossings either.
 */
function takeMatches(
  prediction: Word[],
  reference: Word[],
  agreeing: (word: string) => (other: string) => boolean,
): WordMatch[] {
  const matches: WordMatch[] = [];
  for (let i = prediction.length - 1; i >= 0; i--) {
    const agrees = agreeing(prediction[i].text);
    const j = reference.findLastIndex(({ text }) => agrees(text));
    if (j < 0) continue;
    matches.push([prediction[i].at, reference[j].at]);
    prediction.splice(i, 1);
    reference.splice(j, 1);
  }
  return matches;
}

const equal = (word: string) => (other: string) => word === other;

/**
 * The matched words of two lower-cased token lists, by position in the prediction. The synonym stage sees STEMS on both
 * sides, as in NLTK, so it finds little.
 */
export function meteorMatches(
  prediction: readonly string[],
  reference: readonly string[],
  synonyms?: SynonymSource,
): WordMatch[] {
  const indexed = (tokens: readonly string[]) => tokens.map((text, at) => ({ at, text }));
  const stemmed = ({ at, text }: Word) => ({ at, text: porterStem(text) });
  const predicted = indexed(prediction), wanted = indexed(reference);
  const matches = takeMatches(predicted, wanted, equal);
  const predictedStems = predicted.map(stemmed), wantedStems = wanted.map(stemmed);
  matches.push(...takeMatches(predictedStems, wantedStems, equal));
  if (synonyms !== undefined) {
    matches.push(...takeMatches(predictedStems, wantedStems, (word) => {
      const names = new Set([word]);
      for (const synset of synonyms(word)) {
        for (const name of synset) if (!name.includes("_")) names.add(name);
      }
      return (other) => names.has(other);
    }));
  }
  return matches.sort(([a], [b]) => a - b);
}

/** How many runs the matches form that are adjacent in both texts. */
export function matchChunks(matches: readonly WordMatch[]): number {
  return matches.filter(([at, other], i) =>
    i === 0 || at !== matches[i - 1][0] + 1 || other !== matches[i - 1][1] + 1
  ).length;
}

/** METEOR of token lists, 0 to 1: alpha 0.9, beta 3, gamma 0.5. One equal word scores 0.5, because it is one chunk of one. */
export function meteorOfTokens(
  prediction: readonly string[],
  reference: readonly string[],
  synonyms?: SynonymSource,
): number {
  const lower = (tokens: readonly string[]) => tokens.map((token) => token.toLowerCase());
  const matches = meteorMatches(lower(prediction), lower(reference), synonyms);
  if (matches.length === 0) return 0;
  const precision = matches.length / prediction.length, recall = matches.length / reference.length;
  const harmonic = precision * recall / (0.9 * precision + (1 - 0.9) * recall);
  return harmonic * (1 - 0.5 * (matchChunks(matches) / matches.length) ** 3);
}

/** What METEOR needs beside the texts; each is third-party data that the user supplies. */
export interface MeteorOptions {
  /** Punkt's English model, on which the tokens depend slightly. */
  readonly punkt?: PunktParameters;
  /** WordNet, for the synonym stage. */
  readonly synonyms?: SynonymSource;
}

/** METEOR of a text, 0 to 1: the best over its references. VividMed lower-cases the texts before; LiteGPT does not. */
export function meteor(
  { prediction, references }: TextPair,
  { punkt, synonyms }: MeteorOptions = {},
): number {
  const predicted = wordTokens(prediction, punkt);
  return Math.max(
    ...references.map((one) => meteorOfTokens(predicted, wordTokens(one, punkt), synonyms)),
  );
}

/** Mean of {@linkcode meteor} over samples. LiteGPT prints it times 100. */
export function meteorMetric(
  options: MeteorOptions = {},
): StreamingMetric<TextPair, number, number> {
  return new StreamingMetric((pair) => meteor(pair, options), mean);
}
