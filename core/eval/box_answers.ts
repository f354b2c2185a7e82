/**
 * Boxes written as text on the 0 to 100 grid of MiniGPT-v2, as the evaluation scripts read them back.
 *
 * @module
 */
import type { Box } from "./boxes.ts";
import { digitsValue, roundHalfEven, stripText } from "./python_text.ts";

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

/** Grid numbers as pixels of an image: x / 100 * width, in this order of operations, not rounded, not clipped. */
export function boxToPixels(box: Box, width: number, height: number): number[] {
  return box.map((value, i) => value / 100 * (i % 2 === 0 ? width : height));
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
