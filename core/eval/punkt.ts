/**
 * Sentence splitting with Punkt (Kiss and Strunk, "Unsupervised multilingual sentence boundary detection", 2006) as NLTK
 * 3.8 applies a trained model. The parameters are third-party data that the user supplies.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import { pythonSpace, stripEnd, stripText } from "./python_text.ts";

/** A trained Punkt model. */
export interface PunktParameters {
  /** Abbreviations, lower-case, without the final full stop. */
  readonly abbreviations: ReadonlySet<string>;
  /** Pairs of types that belong together across a full stop, joined by a blank. */
  readonly collocations: ReadonlySet<string>;
  /** Types that often start a sentence. */
  readonly starters: ReadonlySet<string>;
  /** Where a type was seen in which case: the sum of 2, 4, 8 (upper: start, inside, unknown) and 16, 32, 64 (lower). */
  readonly contexts: ReadonlyMap<string, number>;
}

const untrained: PunktParameters = {
  abbreviations: new Set(),
  collocations: new Set(),
  starters: new Set(),
  contexts: new Map(),
};

/**
 * Reads a Punkt model from parsed JSON: `{abbrev_types: string[], collocations: [string, string][], sent_starters:
 * string[], ortho_context: {type: flags}}`, the names of NLTK's own parameter object.
 *
 * @throws {InputError} `BAD_PUNKT` when a part is missing or of another form.
 */
export function parsePunkt(json: unknown): PunktParameters {
  const fields = (typeof json === "object" && json !== null ? json : {}) as Record<string, unknown>;
  const strings = (name: string): string[] => {
    const list = fields[name];
    if (Array.isArray(list) && list.every((one) => typeof one === "string")) return list;
    throw malformed(name, "a list of strings");
  };
  const pairs = fields.collocations;
  if (
    !Array.isArray(pairs) ||
    !pairs.every((pair) => Array.isArray(pair) && pair.length === 2)
  ) throw malformed("collocations", "a list of pairs");
  const contexts = fields.ortho_context;
  if (
    typeof contexts !== "object" || contexts === null ||
    !Object.values(contexts).every((flags) => Number.isInteger(flags))
  ) throw malformed("ortho_context", "an object of whole numbers");
  return {
    abbreviations: new Set(strings("abbrev_types")),
    collocations: new Set(pairs.map(([first, second]) => `${first} ${second}`)),
    starters: new Set(strings("sent_starters")),
    contexts: new Map(Object.entries(contexts as Record<string, number>)),
  };
}

function malformed(name: string, expected: string): InputError {
  return new InputError(
    "BAD_PUNKT",
    `Cannot read the Punkt parameters: "${name}" is not ${expected}; export it from NLTK's English model`,
  );
}

const beginsLower = 16, anyLower = 112, insideUpper = 4, anyUpper = 14;

const nonWord = `[)";}\\]*:@'({\\[?!]`;
const multiple = `(?:-{2,}|\\.{2,}|(?:\\.[${pythonSpace}]){2,}\\.)`;
const space = `[${pythonSpace}]`, nonSpace = `[^${pythonSpace}]`;
/** Punkt's own words. */
const word = new RegExp(
  `${multiple}|(?=[^("\`{\\[:;&#*@)}\\]\\-,])${nonSpace}+?(?=${space}|(?![^])|${nonWord}|${multiple}|` +
    `,(?=(?![^])|${space}|${nonWord}|${multiple}))|${nonSpace}`,
  "gu",
);
/** A place where a sentence may end: the mark, then other punctuation or white space and a token. */
const candidate = new RegExp(
  `[.?!](?=(?<after>${nonWord}|${space}+(?<next>${nonSpace}+)))`,
  "gdu",
);
const realignment = new RegExp(`["')\\]}]+?(?:${space}+|(?=--)|(?=\\n|(?![^])))`, "y");

interface Token {
  readonly text: string;
  readonly type: string;
  isBreak: boolean;
  isAbbreviation: boolean;
  isEllipsis: boolean;
}

const number = /^-?[.,]?\p{Nd}[\p{Nd},.-]*\.?(?=\n?(?![^]))/u;
const initial = /^[\p{L}\p{Nl}\p{No}_]\.$/u;

function typeWithoutPeriod({ type }: Token): string {
  return type.length > 1 && type.endsWith(".") ? type.slice(0, -1) : type;
}

const typeInSentence = (token: Token) => token.isBreak ? typeWithoutPeriod(token) : token.type;
const startsUpper = ({ text }: Token) => /^\p{Uppercase}/u.test(text);
const startsLower = ({ text }: Token) => /^\p{Lowercase}/u.test(text);

/** What a token is by itself. */
function annotate(text: string, { abbreviations }: PunktParameters): Token {
  const token: Token = {
    text,
    type: text.toLowerCase().replace(number, "##number##"),
    isBreak: false,
    isAbbreviation: false,
    isEllipsis: false,
  };
  if (text === "." || text === "?" || text === "!") token.isBreak = true;
  else if (/^\.\.+$/.test(text)) token.isEllipsis = true;
  else if (text.endsWith(".") && !text.endsWith("..")) {
    const bare = text.slice(0, -1).toLowerCase();
    const known = abbreviations.has(bare) || abbreviations.has(bare.split("-").at(-1)!);
    if (known) token.isAbbreviation = true;
    else token.isBreak = true;
  }
  return token;
}

/** Whether a token starts a sentence, judged by the case it was seen in; undefined when that does not tell. */
function startsSentence(token: Token, { contexts }: PunktParameters): boolean | undefined {
  if (/^[;:,.!?]$/.test(token.text)) return false;
  const flags = contexts.get(typeInSentence(token)) ?? 0;
  if (startsUpper(token) && (flags & anyLower) !== 0 && (flags & insideUpper) === 0) return true;
  if (startsLower(token) && ((flags & anyUpper) !== 0 || (flags & beginsLower) === 0)) return false;
  return undefined;
}

/** What a token that ends in a full stop is in view of the next one. */
function reconsider(token: Token, next: Token, parameters: PunktParameters): void {
  if (!token.text.endsWith(".")) return;
  const type = typeWithoutPeriod(token), nextType = typeInSentence(next);
  const isInitial = initial.test(token.text);
  const joins = () => {
    token.isBreak = false;
    token.isAbbreviation = true;
  };
  if (parameters.collocations.has(`${type} ${nextType}`)) return joins();
  const starts = startsSentence(next, parameters);
  if ((token.isAbbreviation || token.isEllipsis) && !isInitial) {
    if (starts === true || (startsUpper(next) && parameters.starters.has(nextType))) {
      token.isBreak = true;
      return;
    }
  }
  if (!isInitial && type !== "##number##") return;
  if (starts === false) return joins();
  const seenLower = ((parameters.contexts.get(nextType) ?? 0) & anyLower) !== 0;
  if (starts === undefined && isInitial && startsUpper(next) && !seenLower) joins();
}

/** Whether a sentence ends inside a stretch of text, at another token than its last. */
function endsInside(context: string, parameters: PunktParameters): boolean {
  const tokens = context.split("\n").filter((line) => stripText(line) !== "")
    .flatMap((line) => line.match(word) ?? []).map((one) => annotate(one, parameters));
  for (let i = 0; i + 1 < tokens.length; i++) {
    reconsider(tokens[i], tokens[i + 1], parameters);
    if (tokens[i].isBreak) return true;
  }
  return false;
}

interface Candidate {
  /** Where the word before the mark starts, and where the mark is. */
  readonly start: number;
  readonly mark: number;
  readonly after: string;
  /** Where the next token starts, when white space comes first. */
  readonly next: number | undefined;
}

/** Candidates, the last of every word: a mark inside a word that goes on to another mark is passed over. */
function candidates(text: string): Candidate[] {
  const found: Candidate[] = [];
  let from = 0, previous: Candidate | undefined;
  for (const match of text.matchAll(candidate)) {
    const mark = match.index;
    let blank = mark - 1;
    while (blank >= from && !" \t\n\r\v\f".includes(text[blank])) blank--;
    // A blank at the very start counts as none, as in the original.
    const start = blank > from ? blank + 1 : previous?.start ?? 0;
    if (previous !== undefined && previous.mark <= start) found.push(previous);
    previous = {
      start,
      mark,
      after: match.groups!.after,
      next: match.indices!.groups!.next?.[0],
    };
    from = mark;
  }
  if (previous !== undefined) found.push(previous);
  return found;
}

/**
 * The sentences of a text (`sent_tokenize` of NLTK 3.8). Without parameters nothing is known about abbreviations, so every
 * full stop before white space ends a sentence: not what the papers used, whose English model ships with NLTK's data.
 */
export function splitSentences(text: string, parameters: PunktParameters = untrained): string[] {
  const slices: [start: number, end: number][] = [];
  let start = 0;
  for (const { start: from, mark, after, next } of candidates(text)) {
    if (!endsInside(text.slice(from, mark + 1) + after, parameters)) continue;
    slices.push([start, mark + 1]);
    start = next ?? mark + 1;
  }
  slices.push([start, stripEnd(text).length]);
  const sentences: string[] = [];
  let moved = 0;
  slices.forEach(([from, to], i) => {
    const next = slices[i + 1];
    const begin = from + moved;
    moved = 0;
    if (next !== undefined) {
      const following = text.slice(next[0], Math.max(next[0], next[1]));
      realignment.lastIndex = 0;
      const closing = realignment.exec(following);
      if (closing !== null) {
        sentences.push(text.slice(begin, next[0] + stripEnd(closing[0]).length));
        moved = closing[0].length;
        return;
      }
    }
    if (begin < to) sentences.push(text.slice(begin, to));
  });
  return sentences;
}
