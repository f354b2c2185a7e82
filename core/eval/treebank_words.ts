/**
 * Word tokens in the manner of the Penn Treebank, as NLTK 3.8 cuts them, and NLTK's `word_tokenize` on top of a sentence
 * splitter.
 *
 * @module
 */
import { type PunktParameters, splitSentences } from "./punkt.ts";
import { pythonBoundary, pythonEnd, pythonSpace, splitWhitespace } from "./python_text.ts";

type Substitution = readonly [pattern: RegExp, replacement: string];

const closing = `([\\]\\)}>"'»”’ ]*)[${pythonSpace}]*${pythonEnd}`;

/** Applied in this order; every one to the whole text. */
const substitutions: readonly Substitution[] = [
  // Opening quotes.
  [/([«“‘„]|`+)/g, " $1 "],
  [/^"/g, "``"],
  [/(``)/g, " $1 "],
  [/([ ([{<])("|'{2})/g, "$1 `` "],
  [
    new RegExp(`(')(?!re|ve|ll|m|t|s|d|n)([\\p{L}\\p{N}_])${pythonBoundary}`, "giu"),
    "$1 $2",
  ],
  // Punctuation.
  [new RegExp(`([^.])(\\.)${closing}`, "gu"), "$1 $2 $3 "],
  [/([:,])(\P{Nd})/gu, " $1 $2"],
  [new RegExp(`([:,])${pythonEnd}`, "g"), " $1 "],
  [/\.{2,}/g, " $& "],
  [/[;@#$%&]/g, " $& "],
  [new RegExp(`([^.])(\\.)([\\]\\)}>"']*)[${pythonSpace}]*${pythonEnd}`, "gu"), "$1 $2$3 "],
  [/[?!]/g, " $& "],
  [/([^'])' /gu, "$1 ' "],
  [/[*]/g, " $& "],
  [/[\][(){}<>]/g, " $& "],
  [/--/g, " -- "],
  // Closing quotes and endings; the text stands between blanks from here on.
  [/^[^]*$/, " $& "],
  [/([»”’])/g, " $1 "],
  [/''/g, " '' "],
  [/"/g, " '' "],
  [/([^' ])('[sS]|'[mM]|'[dD]|') /gu, "$1 $2 "],
  [/([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) /gu, "$1 $2 "],
  // Words that are two.
  ...["(can)(not)", "(d)('ye)", "(gim)(me)", "(gon)(na)", "(got)(ta)", "(lem)(me)", "(more)('n)"]
    .map((pair): Substitution => [
      new RegExp(`${pythonBoundary}${pair}${pythonBoundary}`, "giu"),
      " $1 $2 ",
    ]),
  [new RegExp(`${pythonBoundary}(wan)(na)(?=[${pythonSpace}])`, "giu"), " $1 $2 "],
  [new RegExp(` ('t)(is)${pythonBoundary}`, "giu"), " $1 $2 "],
  [new RegExp(` ('t)(was)${pythonBoundary}`, "giu"), " $1 $2 "],
];

/** Tokens of one sentence (`NLTKWordTokenizer().tokenize`); on several sentences only the last full stop is split off. */
export function treebankTokens(text: string): string[] {
  return splitWhitespace(
    substitutions.reduce((one, [pattern, replacement]) => one.replace(pattern, replacement), text),
  );
}

/**
 * NLTK's `word_tokenize`: the words of every sentence. The sentences depend on Punkt's parameters; see
 * {@linkcode splitSentences} for what happens without them.
 */
export function wordTokens(text: string, punkt?: PunktParameters): string[] {
  return splitSentences(text, punkt).flatMap(treebankTokens);
}
