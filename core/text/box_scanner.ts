/**
 * Finds boxes in text as models really write them, and says of each what was wrong with it.
 *
 * @module
 */
import { type GridBox, gridSize } from "./box_text.ts";

/**
 * What was put right in a box:
 *
 * - `blanks`: blanks or `<unk>` inside, which the published evaluation removes too;
 * - `brackets`: numbers apart by commas, or not in angle brackets, or in square or round ones;
 * - `braces`: a brace missing at the start, at the end or on both sides;
 * - `digits`: zeros in front, a plus sign;
 * - `decimal`: a fraction, cut off as encoding cuts it;
 * - `range`: a number below 0 or above 100, moved to the border;
 * - `order`: opposite corners in the wrong order, exchanged.
 */
export type BoxRepair =
  | "blanks"
  | "brackets"
  | "braces"
  | "digits"
  | "decimal"
  | "range"
  | "order";

/**
 * Why something that looks like a box is none:
 *
 * - `count`: not four numbers;
 * - `truncated`: the text ends before the fourth number is certain;
 * - `number`: a number is missing, is none, or has more than three digits before the point;
 * - `outside`: all of it lies beyond one side of the image.
 */
export type BoxFault = "count" | "truncated" | "number" | "outside";

/** Start and end (exclusive) in a text, in UTF-16 units. */
export type TextSpan = readonly [number, number];

/** A box in a text, or what looks like one. */
export type TextBox =
  | { readonly outcome: "kept"; readonly box: GridBox; readonly span: TextSpan }
  | {
    readonly outcome: "repaired";
    readonly box: GridBox;
    readonly span: TextSpan;
    /** What was put right, each once. */
    readonly repairs: readonly BoxRepair[];
  }
  | { readonly outcome: "rejected"; readonly fault: BoxFault; readonly span: TextSpan };

/** What a scan found: one or more boxes side by side, and where the text goes on. */
export interface ScannedBoxes {
  /** At least one. */
  readonly boxes: readonly TextBox[];
  /** Behind the last one. */
  readonly end: number;
}

interface WrittenNumber {
  /** Undefined for what is no number of the grid. */
  readonly value: number | undefined;
  readonly repairs: readonly BoxRepair[];
  readonly start: number;
  readonly end: number;
}

const blank = /(?:[ \t-\r\u00a0]|<unk>)*/y;
/** An angle bracket that can only be meant for a number. */
const bracketed = /<[ \t-\r]*[-+]?[ \t-\r]*\d[-+.\d \t-\r]*(?:>|$)/y;
const item = /<([-+.\d \t-\r]*)(>?)/y;
const bare = /[-+]?\d+(?:\.\d*)?/y;
const listed =
  /[[(]\s*([-+]?\d+(?:\.\d+)?)\s*,\s*([-+]?\d+(?:\.\d+)?)\s*,\s*([-+]?\d+(?:\.\d+)?)\s*,\s*([-+]?\d+(?:\.\d+)?)\s*[\])]/y;

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

const afterBlanks = (text: string, at: number): number => at + match(blank, text, at)![0].length;

/** A number as written, blanks included. */
function readNumber(written: string, start: number, end: number): WrittenNumber {
  const digits = written.replace(/[ \t-\r]+/g, "");
  const repairs: BoxRepair[] = digits === written ? [] : ["blanks"];
  const parts = /^([-+]?)(\d+)(\.\d*)?$/.exec(digits);
  // Four digits are no slip of the grid: two numbers that lost what stood between them, or something else altogether.
  if (parts === null || parts[2].replace(/^0+/, "").length > 3) {
    return { value: undefined, repairs, start, end };
  }
  const [, sign, whole, fraction] = parts;
  if (sign === "+" || /^0\d/.test(whole)) repairs.push("digits");
  if (fraction !== undefined) repairs.push("decimal");
  return { value: (sign === "-" ? -1 : 1) * Number(whole) + 0, repairs, start, end };
}

const order: readonly BoxRepair[] = [
  "blanks",
  "brackets",
  "braces",
  "digits",
  "decimal",
  "range",
  "order",
];

/** Four numbers as a box: moved into the image, corners in order. */
function boxOf(
  numbers: readonly WrittenNumber[],
  around: readonly BoxRepair[],
  span: TextSpan,
): TextBox {
  const values = numbers.map(({ value }) => value);
  if (!values.every((value) => value !== undefined)) {
    return { outcome: "rejected", fault: "number", span };
  }
  const repairs = new Set([...around, ...numbers.flatMap((one) => one.repairs)]);
  const corners = values.map((value) => Math.min(Math.max(value, 0), gridSize));
  for (const axis of [0, 1]) {
    const [low, high] = [corners[axis], corners[axis + 2]];
    const moved = low !== values[axis] || high !== values[axis + 2];
    if (moved) repairs.add("range");
    if (moved && low === high) return { outcome: "rejected", fault: "outside", span };
    if (low <= high) continue;
    repairs.add("order");
    [corners[axis], corners[axis + 2]] = [high, low];
  }
  const box = corners as unknown as GridBox;
  return repairs.size === 0
    ? { outcome: "kept", box, span }
    : { outcome: "repaired", box, span, repairs: order.filter((one) => repairs.has(one)) };
}

/** Whether a box starts here. Braces and angle brackets around other things are ordinary text. */
function starts(text: string, at: number): boolean {
  if (text[at] === "<") return match(bracketed, text, at) !== null;
  if (text[at] !== "{") return false;
  const next = afterBlanks(text, at + 1);
  const first = match(item, text, next);
  return first !== null && (first[2] === ">" || /\d/.test(first[1])) ||
    match(bare, text, next) !== null;
}

/** The boxes that start at a position of a text; undefined where none does. Reads every character a few times at most. */
export function scanBoxes(text: string, at: number): ScannedBoxes | undefined {
  if (text[at] === "[" || text[at] === "(") {
    const list = match(listed, text, at);
    if (list === null) return undefined;
    const end = at + list[0].length;
    const numbers = list.slice(1).map((number) => readNumber(number, at, end));
    return { boxes: [boxOf(numbers, ["brackets", "braces"], [at, end])], end };
  }
  if (!starts(text, at)) return undefined;
  const opened = text[at] === "{";
  const around = new Set<BoxRepair>();
  const numbers: WrittenNumber[] = [];
  let position = opened ? at + 1 : at, end = position, closed = false, cut = false;
  for (;;) {
    let next = afterBlanks(text, position);
    if (text[next] === "," && numbers.length > 0) {
      around.add("brackets");
      next = afterBlanks(text, next + 1);
    }
    const blanks = next > position && !text.slice(position, next).includes(",");
    if (opened && text[next] === "}" || !opened && text[next] === "}" && numbers.length > 0) {
      if (blanks) around.add("blanks");
      closed = true;
      end = next + 1;
      break;
    }
    const found = match(item, text, next);
    const inside = found !== null && (found[2] === ">" || /\d/.test(found[1])) ? found : null;
    const plain = inside === null && opened ? match(bare, text, next) : null;
    const taken = inside ?? plain;
    if (taken === null) break;
    if (blanks) around.add("blanks");
    end = position = next + taken[0].length;
    cut = position === text.length && (inside === null || inside[2] === "");
    if (inside === null || inside[2] === "") around.add("brackets");
    numbers.push(readNumber(inside === null ? taken[0] : inside[1], next, end));
  }
  if (!opened || !closed) around.add("braces");
  const span: TextSpan = [at, end];
  const reject = (fault: BoxFault): ScannedBoxes => ({
    boxes: [{ outcome: "rejected", fault, span }],
    end,
  });
  const atEnd = !closed && afterBlanks(text, end) === text.length;
  if (cut || (atEnd && numbers.length < 4)) return reject("truncated");
  if (numbers.length === 4) return { boxes: [boxOf(numbers, [...around], span)], end };
  if (numbers.some(({ value }) => value === undefined)) return reject("number");
  // Without any brace, boxes in a row can only be told apart by counting.
  if (opened || closed || numbers.length % 4 !== 0) return reject("count");
  const boxes = Array.from({ length: numbers.length / 4 }, (_, i) => {
    const four = numbers.slice(4 * i, 4 * i + 4);
    return boxOf(four, [...around], [four[0].start, four[3].end]);
  });
  return { boxes, end };
}
