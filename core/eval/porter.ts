/**
 * The Porter stemmer (M. F. Porter, "An algorithm for suffix stripping", 1980) with NLTK's extensions, which ROUGE and
 * METEOR use in the papers' evaluations.
 *
 * @module
 */

/** Words whose stem is listed instead of computed. */
const irregular: ReadonlyMap<string, string> = new Map([
  ...["sky", "skies"].map((word) => [word, "sky"] as const),
  ["dying", "die"],
  ["lying", "lie"],
  ["tying", "tie"],
  ...["inning", "outing", "canning"].flatMap((word) =>
    [[word, word], [`${word}s`, word]] as [string, string][]
  ),
  ...["news", "howe", "proceed", "exceed", "succeed"].map((word) => [word, word] as const),
]);

function isConsonant(word: string, at: number): boolean {
  if ("aeiou".includes(word[at])) return false;
  return word[at] !== "y" || at === 0 || !isConsonant(word, at - 1);
}

/** How often a vowel is followed by a consonant: m in [C](VC)^m[V]. */
function measure(stem: string): number {
  let count = 0;
  let afterVowel = false;
  for (let i = 0, vowel = false; i < stem.length; i++) {
    // A y is a vowel after a consonant only, so one pass is enough.
    vowel = "aeiou".includes(stem[i]) || (stem[i] === "y" && i > 0 && !vowel);
    if (afterVowel && !vowel) count++;
    afterVowel = vowel;
  }
  return count;
}

const positive = (stem: string) => measure(stem) > 0;
const aboveOne = (stem: string) => measure(stem) > 1;

function hasVowel(stem: string): boolean {
  for (let i = 0; i < stem.length; i++) if (!isConsonant(stem, i)) return true;
  return false;
}

function endsInDouble(word: string): boolean {
  const last = word.length - 1;
  return last >= 1 && word[last] === word[last - 1] && isConsonant(word, last);
}

/** Porter's *o: consonant, vowel, consonant other than w, x, y; NLTK adds words of one vowel and one consonant. */
function endsShort(word: string): boolean {
  const last = word.length - 1;
  if (last === 1) return !isConsonant(word, 0) && isConsonant(word, 1);
  return last >= 2 && isConsonant(word, last - 2) && !isConsonant(word, last - 1) &&
    isConsonant(word, last) && !"wxy".includes(word[last]);
}

/** A suffix, what replaces it, and what must hold for the stem before it. */
type Rule = readonly [
  suffix: string,
  replacement: string,
  condition: (stem: string, word: string) => boolean,
];

/** The first rule whose suffix the word has decides, even when its condition does not hold. */
function applyRules(word: string, rules: readonly Rule[]): string {
  for (const [suffix, replacement, condition] of rules) {
    if (!word.endsWith(suffix)) continue;
    const stem = word.slice(0, word.length - suffix.length);
    return condition(stem, word) ? stem + replacement : word;
  }
  return word;
}

const always = () => true;

const plurals: readonly Rule[] = [
  ["sses", "ss", always],
  ["ies", "i", always],
  ["ss", "ss", always],
  ["s", "", always],
];

function removePlural(word: string): string {
  if (word.length === 4 && word.endsWith("ies")) return `${word.slice(0, -3)}ie`;
  return applyRules(word, plurals);
}

function removePast(word: string): string {
  if (word.endsWith("ied")) return word.slice(0, -3) + (word.length === 4 ? "ie" : "i");
  if (word.endsWith("eed")) return positive(word.slice(0, -3)) ? word.slice(0, -1) : word;
  const suffix = ["ed", "ing"].find((one) =>
    word.endsWith(one) && hasVowel(word.slice(0, -one.length))
  );
  if (suffix === undefined) return word;
  const stem = word.slice(0, -suffix.length);
  if (/(?:at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (endsInDouble(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem;
}

function replaceY(word: string): string {
  const stem = word.slice(0, -1);
  return word.endsWith("y") && [...stem].length > 1 && isConsonant(stem, stem.length - 1)
    ? `${stem}i`
    : word;
}

const derivations: readonly Rule[] = [
  ["ational", "ate", positive],
  ["tional", "tion", positive],
  ["enci", "ence", positive],
  ["anci", "ance", positive],
  ["izer", "ize", positive],
  ["bli", "ble", positive],
  ["alli", "al", positive],
  ["entli", "ent", positive],
  ["eli", "e", positive],
  ["ousli", "ous", positive],
  ["ization", "ize", positive],
  ["ation", "ate", positive],
  ["ator", "ate", positive],
  ["alism", "al", positive],
  ["iveness", "ive", positive],
  ["fulness", "ful", positive],
  ["ousness", "ous", positive],
  ["aliti", "al", positive],
  ["iviti", "ive", positive],
  ["biliti", "ble", positive],
  ["fulli", "ful", positive],
  ["logi", "log", (_, word) => positive(word.slice(0, -3))],
];

function shortenDerivation(word: string): string {
  if (word.endsWith("alli") && positive(word.slice(0, -4))) {
    return shortenDerivation(word.slice(0, -2));
  }
  return applyRules(word, derivations);
}

const endings: readonly Rule[] = [
  ["icate", "ic", positive],
  ["ative", "", positive],
  ["alize", "al", positive],
  ["iciti", "ic", positive],
  ["ical", "ic", positive],
  ["ful", "", positive],
  ["ness", "", positive],
];

const suffixes: readonly Rule[] = [
  ...["al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent"].map((
    suffix,
  ): Rule => [suffix, "", aboveOne]),
  ["ion", "", (stem) => aboveOne(stem) && /[st]$/.test(stem)],
  ...["ou", "ism", "ate", "iti", "ous", "ive", "ize"].map((suffix): Rule => [suffix, "", aboveOne]),
];

function removeFinalE(word: string): string {
  if (!word.endsWith("e")) return word;
  const stem = word.slice(0, -1), count = measure(stem);
  return count > 1 || (count === 1 && !endsShort(stem)) ? stem : word;
}

function removeDoubleL(word: string): string {
  return word.endsWith("ll") && aboveOne(word.slice(0, -1)) ? word.slice(0, -1) : word;
}

/**
 * The stem of a word, lower-cased: `PorterStemmer().stem` of NLTK 3.8 in its default mode. Words of one or two characters
 * stay.
 */
export function porterStem(word: string): string {
  const lower = word.toLowerCase();
  const listed = irregular.get(lower);
  if (listed !== undefined) return listed;
  if ([...lower].length <= 2) return lower;
  const steps = [
    removePlural,
    removePast,
    replaceY,
    shortenDerivation,
    (one: string) => applyRules(one, endings),
    (one: string) => applyRules(one, suffixes),
    removeFinalE,
    removeDoubleL,
  ];
  return steps.reduce((one, step) => step(one), lower);
}
