/**
 * Synonyms from the files of WordNet 3.0, which the user supplies (`index.noun`, `data.noun`, `noun.exc`, ... in the folder
 * `dict` of a WordNet installation, or of NLTK's corpus). Look-ups follow NLTK's reader.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { SynonymSource } from "./meteor.ts";

/** The text of WordNet's files by name; `*.exc` files may be missing. */
export type WordNetFiles = Readonly<Record<string, string>>;

const partsOfSpeech = ["noun", "verb", "adj", "adv"] as const;

/** Endings to replace when a word is not listed itself. */
const endings: Readonly<
  Record<typeof partsOfSpeech[number], readonly (readonly [string, string])[]>
> = {
  noun: [
    ["s", ""],
    ["ses", "s"],
    ["ves", "f"],
    ["xes", "x"],
    ["zes", "z"],
    ["ches", "ch"],
    ["shes", "sh"],
    ["men", "man"],
    ["ies", "y"],
  ],
  verb: [
    ["s", ""],
    ["ies", "y"],
    ["es", "e"],
    ["es", ""],
    ["ed", "e"],
    ["ed", ""],
    ["ing", "e"],
    ["ing", ""],
  ],
  adj: [["er", ""], ["est", ""], ["er", "e"], ["est", "e"]],
  adv: [],
};

/** Lines of a file without the licence, whose lines start with two blanks. */
function* entries(text: string): Generator<string[]> {
  for (const line of text.split("\n")) {
    if (line !== "" && !line.startsWith(" ")) yield line.trimEnd().split(" ");
  }
}

/** Offsets of the synonym sets of every lemma. */
function parseIndex(text: string): Map<string, readonly number[]> {
  const index = new Map<string, readonly number[]>();
  for (const [lemma, , sets, pointers, ...rest] of entries(text)) {
    const offsets = rest.slice(Number(pointers) + 2).map(Number);
    if (offsets.length !== Number(sets) || !offsets.every(Number.isSafeInteger)) {
      throw new InputError(
        "BAD_WORDNET",
        `Cannot read the WordNet index: the entry of "${lemma}" announces ${sets} synonym sets and lists ${offsets.length}; use the files of WordNet 3.0 as they are`,
      );
    }
    index.set(lemma, offsets);
  }
  return index;
}

/** Lemma names of every synonym set, without the markers of adjectives. */
function parseData(text: string): Map<number, readonly string[]> {
  const sets = new Map<number, readonly string[]>();
  for (const [offset, , , count, ...rest] of entries(text)) {
    const words = parseInt(count, 16);
    sets.set(
      Number(offset),
      Array.from({ length: words }, (_, i) => (rest[2 * i] ?? "").replace(/\(.*\)$/, "")),
    );
  }
  return sets;
}

function parseExceptions(text: string): Map<string, readonly string[]> {
  return new Map(Array.from(entries(text), ([word, ...forms]) => [word, forms]));
}

/** Dictionary forms of a word: from the exceptions, else from the endings, repeatedly until one is listed. */
function baseForms(
  word: string,
  isListed: (form: string) => boolean,
  exceptions: ReadonlyMap<string, readonly string[]>,
  rules: readonly (readonly [string, string])[],
): string[] {
  const listed = (forms: readonly string[]) => [...new Set(forms)].filter(isListed);
  const shorten = (forms: readonly string[]) =>
    forms.flatMap((form) =>
      rules.filter(([ending]) => form.endsWith(ending)).map(([ending, replacement]) =>
        form.slice(0, form.length - ending.length) + replacement
      )
    );
  const irregular = exceptions.get(word);
  if (irregular !== undefined) return listed([word, ...irregular]);
  let forms = shorten([word]);
  let found = listed([word, ...forms]);
  // Every ending that is replaced leaves a shorter word or one of the same length that ends otherwise.
  for (let round = 0; found.length === 0 && forms.length > 0 && round < word.length; round++) {
    forms = [...new Set(shorten(forms))];
    found = listed(forms);
  }
  return found;
}

/**
 * A synonym source for METEOR from WordNet's files.
 *
 * @throws {InputError} `BAD_WORDNET` when an index or data file is missing or malformed.
 */
export function parseWordNet(files: WordNetFiles): SynonymSource {
  const parts = partsOfSpeech.map((part) => {
    for (const name of [`index.${part}`, `data.${part}`]) {
      if (!Object.hasOwn(files, name)) {
        throw new InputError(
          "BAD_WORDNET",
          `Cannot use WordNet: the file "${name}" is missing; give index and data files of all four parts of speech`,
        );
      }
    }
    return {
      index: parseIndex(files[`index.${part}`]),
      sets: parseData(files[`data.${part}`]),
      exceptions: parseExceptions(files[`${part}.exc`] ?? ""),
      rules: endings[part],
    };
  });
  return function* (word) {
    const lower = word.toLowerCase();
    for (const { index, sets, exceptions, rules } of parts) {
      for (const form of baseForms(lower, (one) => index.has(one), exceptions, rules)) {
        for (const offset of index.get(form)!) {
          const set = sets.get(offset);
          if (set !== undefined) yield set;
        }
      }
    }
  };
}
