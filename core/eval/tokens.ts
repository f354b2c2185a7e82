/**
 * How each metric cuts a text into tokens, except NLTK's tokeniser, which has a file of its own.
 *
 * @module
 */
import { porterStem } from "./porter.ts";
import { splitWhitespace } from "./python_text.ts";
import { treebankTokens } from "./treebank_words.ts";

/**
 * Tokens of the mteval-13a scheme, as BLEU of Hugging Face `evaluate` uses it: punctuation is split off, hyphens only after
 * digits, apostrophes never; case is kept.
 */
export function tokens13a(text: string): string[] {
  let line = text.replaceAll("<skipped>", "").replaceAll("-\n", "").replaceAll("\n", " ");
  if (line.includes("&")) {
    line = line.replaceAll("&quot;", '"').replaceAll("&amp;", "&").replaceAll("&lt;", "<")
      .replaceAll("&gt;", ">");
  }
  return splitWhitespace(
    ` ${line} `
      .replace(/([{-~[-` -&(-+:-@/])/g, " $1 ")
      .replace(/([^0-9])([.,])/g, "$1 $2 ")
      .replace(/([.,])([^0-9])/g, " $1 $2")
      .replace(/([0-9])(-)/g, "$1 $2 "),
  );
}

/**
 * Tokens of google-research ROUGE: lower-cased runs of a-z and 0-9; everything else separates, also letters with accents.
 * With `stem`, tokens longer than three characters are Porter-stemmed.
 */
export function rougeTokens(text: string, stem = false): string[] {
  const tokens = text.toLowerCase().split(/[^a-z0-9]+/).filter((token) => token !== "");
  return stem ? tokens.map((token) => token.length > 3 ? porterStem(token) : token) : tokens;
}

/** What the COCO caption evaluation drops after tokenising. */
const cocoDropped = new Set([
  ..."'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;".split(" "),
  // A Treebank tokeniser keeps these as they are.
  ..."( ) { }".split(" "),
]);

/**
 * A stand-in for the tokeniser of the COCO caption evaluation (PeFoMed's reports), which is the Java program of Stanford
 * CoreNLP 3.4.1 and not available here: Treebank tokens, lower-cased, without the punctuation that it drops. The two differ
 * on unusual punctuation; where the Java tokens are at hand, use them.
 */
export function cocoTokensApproximate(text: string): string[] {
  return treebankTokens(text.replaceAll("\n", " ")).map((token) => token.toLowerCase())
    .filter((token) => !cocoDropped.has(token));
}
