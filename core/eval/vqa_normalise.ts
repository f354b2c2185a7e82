/**
 * Normalisation of short answers before they are compared, after the public VQA evaluation (Antol et al., 2015), with the
 * slips of the published scripts, because the papers' numbers contain them.
 *
 * @module
 */
import { splitWhitespace } from "./python_text.ts";

const punctuation = ';/[]"{}()=+\\_-><@`,?!';

const numberWords: ReadonlyMap<string, string> = new Map(
  "none zero one two three four five six seven eight nine ten".split(" ").map((word, i) =>
    [word, String(Math.max(0, i - 1))] as const
  ),
);

const articles = new Set(["a", "an", "the"]);

/** Words with one apostrophe; written without it they are repaired. */
const shortened = `ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't
  he'd he's how'd how'll how's I'm I've isn't it'd it'll ma'am mightn't might've mustn't must've
  needn't not've o'clock oughtn't shan't should've shouldn't somebody'll somebody's someone'd
  someone'll someone's something'd something'll that's there'd there're there's they'd they'll
  they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's
  where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll
  you're you've`;

/** Words with several apostrophes; with any one of them missing they are repaired. */
const doublyShortened = `couldn't've hadn't've he'd've I'd've it'd've mightn't've 'ow's'at she'd've
  shouldn't've somebody'd've someone'd've something'd've there'd've they'd've we'd've who'd've
  wouldn't've y'all'd've y'all'll you'd've`;

const contractions: ReadonlyMap<string, string> = new Map([
  ...splitWhitespace(shortened).map((word) => [word.replace("'", ""), word] as const),
  ...splitWhitespace(doublyShortened).flatMap((word) =>
    Array.from(
      word.matchAll(/'/g),
      ({ index }) => [word.slice(0, index) + word.slice(index + 1), word] as const,
    )
  ),
  // The table of the public evaluation has this one the wrong way round.
  ["somebody'd", "somebodyd"],
]);

function removePunctuation(text: string): string {
  // One number with a comma makes every mark vanish instead of becoming a blank.
  const hasGroups = /\p{Nd},\p{Nd}/u.test(text);
  let out = text;
  for (const mark of punctuation) {
    const isLoose = text.includes(`${mark} `) || text.includes(` ${mark}`);
    out = out.replaceAll(mark, isLoose || hasGroups ? "" : " ");
  }
  // A flag was passed where a count belongs, so only the first 32 full stops go.
  let left = 32;
  return out.replace(/\.(?!\p{Nd})/gu, (stop) => left-- > 0 ? "" : stop);
}

function replaceWords(text: string): string {
  return splitWhitespace(text.toLowerCase())
    .map((word) => numberWords.get(word) ?? word)
    .filter((word) => !articles.has(word))
    .map((word) => contractions.get(word) ?? word)
    .join(" ");
}

/**
 * An answer as MedPLIB compares it (`normalize_word`): punctuation removed, lower-cased, number words as digits, articles
 * dropped, apostrophes repaired, commas removed. Applying it twice can change more, and the scores do apply it twice.
 */
export function normaliseMedplib(answer: string): string {
  return replaceWords(removePunctuation(answer)).replaceAll(",", "");
}

/** An answer as PeFoMed compares it (`MedVQAEval`): as {@linkcode normaliseMedplib}, and `x ray` becomes `xray`. */
export function normalisePefomed(answer: string): string {
  return replaceWords(removePunctuation(answer)).replaceAll(",", "").replaceAll("x ray", "xray")
    .replaceAll("\n", " ").replaceAll("\t", " ");
}
