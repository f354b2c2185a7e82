/**
 * Boxes written as text on the 0 to 100 grid of MiniGPT-v2, as the evaluation scripts read them back.
 *
 * @module
 */
import type { Box } from "./boxes.ts";
import { digitsValue, roundHalfEven, stripText } from "./python_text.ts";

export { gridToPixels as boxToPixels } from "../text/box_text.ts";

const gridBox = /^\{<\p{Nd}{1,3}><\p{Nd}{1,3}><\p{Nd}{1,3}><\p{Nd}{1,3}>\}/u;

/** The answer as the grounding script compares it: without `<unk>`, blanks and surrounding white space. */
export function cleanBoxAnswer(answer: string): string {
  return stripText(answer.replaceAll("<unk>", "").replaceAll(" ", ""));
}

/**
 * The box of a grounding answer (MiniGPT-4 `eval_scripts/eval_ref.py`, used for PFMVG): the cleaned answer must start with
 * `{<x1><y1><x2><y2>}`, one to three digits each; text may follow. Order and range are not checked. Undefined for anything
 * else: an invalid answer.
 *
 * @returns grid numbers, 0 to 999; {@linkcode boxToPixels} scales them
 */
export function parseBoxAnswer(answer: string): Box | undefined {
  const match = gridBox.exec(cleanBoxAnswer(answer));
  return match === null
    ? undefined
    : Array.from(match[0].matchAll(/\p{Nd}+/gu), ([digits]) => digitsValue(digits));
}

/**
 * The box that the demo of MiniGPT-v2 draws (`demo_v2.py`): an answer without phrases that has exactly four whole numbers,
 * with a minus sign or not, whatever stands around them. The demo draws on the image at a width of 500 pixels: scaled by
 * {@linkcode boxToPixels} and truncated.
 *
 * @returns grid numbers; `phrases` for an answer with phrases, which the demo reads one by one; undefined for no box
 */
export function parseDemoBox(answer: string): Box | "phrases" | undefined {
  const last = answer.lastIndexOf("}");
  // A phrase runs to a closing brace on its line that no bracket follows.
  if (/<p>[^\n]*?\}(?!<)/.test(last < 0 ? answer : answer.slice(0, last + 1))) return "phrases";
  const numbers = Array.from(
    answer.matchAll(/(-?)(\p{Nd}+)/gu),
    ([, sign, digits]) => (sign === "-" ? -1 : 1) * digitsValue(digits) + 0,
  );
  return numbers.length === 4 ? numbers : undefined;
}

/** Pixels rounded to the nearest whole number, as PFMVG's figures print them. */
export function roundBox(box: Box): number[] {
  return box.map((value) => roundHalfEven(value));
}

/** A box with the finding it belongs to. */
export interface LabelledBox {
  /** Name of the finding, as written. */
  readonly label: string;
  /** Corners on the 0 to 100 grid. */
  readonly box: Box;
}

const litegptBox = /<p>([^<]+)<\/p> \{<(\p{Nd}+)><(\p{Nd}+)><(\p{Nd}+)><(\p{Nd}+)>\}/gu;

/**
 * The findings with boxes of a LiteGPT answer: `<p>name</p> {<x1><y1><x2><y2>}` with exactly one blank before the brace
 * (`compute_metrics.py`). Anything else is no box.
 */
export function parseLabelledBoxes(text: string): LabelledBox[] {
  return Array.from(text.matchAll(litegptBox), ([, label, ...numbers]) => ({
    label,
    box: numbers.slice(0, 4).map(digitsValue),
  }));
}

/** The text without its boxes; the `<p>` tags stay (LiteGPT `remove_bboxes`). */
export function removeBoxes(text: string): string {
  return text.replace(/\{<\p{Nd}+><\p{Nd}+><\p{Nd}+><\p{Nd}+>\}/gu, "");
}
