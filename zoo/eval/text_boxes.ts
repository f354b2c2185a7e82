/**
 * Boxes that systems write into their text, on the 0 to 100 grid of MiniGPT-v2.
 *
 * @module
 */
import type { Box } from "@medvlm/core";
import { boxToPixels, parseBoxAnswer, parseLabelledBoxes } from "@medvlm/core/eval";
import type { NamedBox } from "./prediction.ts";

/**
 * The boxes of an answer in pixels of an image: `<p>name</p> {<x0><y0><x1><y1>}` wherever it stands (LiteGPT), else
 * `{<x0><y0><x1><y1>}` at the start (PFMVG). None where the text has neither.
 *
 * @param width Width of the image in pixels.
 * @param height Height of the image in pixels.
 */
export function boxesInText(text: string, width: number, height: number): NamedBox[] {
  const scaled = (grid: readonly number[]) => boxToPixels(grid, width, height) as unknown as Box;
  const labelled = parseLabelledBoxes(text);
  if (labelled.length > 0) return labelled.map(({ label, box }) => ({ label, box: scaled(box) }));
  const single = parseBoxAnswer(text);
  return single === undefined ? [] : [{ label: "", box: scaled(single) }];
}
