/**
 * The words that can be said about the patches of a chest picture, with the embeddings that a language model has of them: what
 * the layer between a vision tower and an untrained language model is taught first, so that a question's words meet their like
 * among the rows of the picture. It stands in for the millions of captions that such layers are aligned by (Liu et al., "LLaVA",
 * 2023, stage 1).
 *
 * @module
 */
import type { Parameters } from "@medvlm/core/nn";
import { gatherRows, type Tensor, tensor } from "@medvlm/core/tensor";
import type { LlamaTokenizer } from "@medvlm/core/text";
import { findingNames } from "../phantoms/chest_report.ts";
import type { ChestPhantom } from "../phantoms/mod.ts";
import { conceptEmbeddings } from "./concepts.ts";
import { namesTogether, type PatchNames } from "./patch_names.ts";
import type { Matching } from "./patch_task.ts";

const wordsOf = (name: string) => name.split(" ");

const places = ["right", "left", "upper", "middle", "lower"];

/** Words of structures and findings, and for findings where they are. */
export const patchWords: PatchNames = {
  names: [
    ...new Set([
      ...places,
      ...["lung", "heart", "aorta"],
      ...Object.values(findingNames).flatMap(wordsOf),
    ]),
  ],
  of(phantom: ChestPhantom) {
    const structures = Object.entries(phantom.structures).flatMap(([name, mask]) =>
      wordsOf(name).map((name) => ({ name, mask }))
    );
    const findings = phantom.findings.flatMap(({ label, side, zone, mask }) =>
      [...wordsOf(findingNames[label]), side, zone]
        .filter((name) => name !== undefined)
        .map((name) => ({ name, mask }))
    );
    return [...structures, ...findings];
  },
};

/**
 * How near a patch must come to a word: at a tenth of a deviation in every element, as tokens begin, a row that is the word gives
 * a logit of about 6, and one that has nothing of it -4.
 */
export const nearness = { scale: 8, bias: -4 };
const deviation = 0.1;

/** Tokens of words. @throws {RangeError} for a word that is more than one. */
export function wordTokens(tokenizer: LlamaTokenizer, words: readonly string[]): number[] {
  return words.map((word) => {
    const [id, ...more] = tokenizer.encode(word, { addSpecialTokens: false });
    if (id === undefined || more.length > 0) {
      throw new RangeError(
        `Cannot match patches with "${word}": the tokenizer spells it in pieces`,
      );
    }
    return id;
  });
}

/**
 * The words as what patches are matched with, embeddings of the language model as they are, and after them what else the rows
 * should keep, by names that are no words and whose embeddings are learned along. Each word must be one token.
 */
export function matchedWords(
  parameters: Parameters,
  tokenizer: LlamaTokenizer,
  kept: PatchNames,
  seed: number,
): Matching & { readonly words: Tensor } {
  const { device } = parameters;
  const index = tensor(device, Int32Array.from(wordTokens(tokenizer, patchWords.names)));
  const words = gatherRows(parameters.weight("model.embed_tokens.weight"), index);
  index.dispose();
  const concepts = conceptEmbeddings(device, words.shape[1]!, seed, {
    count: kept.names.length,
    deviation,
  });
  return { names: namesTogether(patchWords, kept), words, concepts, nearness };
}
