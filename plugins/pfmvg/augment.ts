/**
 * Random parts of pictures in training. The paper cuts them at random, and the code it builds on does so without moving the box,
 * and mirrors half of the pictures while the text still says left: that trains on wrong boxes. By default nothing is cut.
 *
 * @module
 */
import type { Box } from "@medvlm/core";
import { boxInCrop, type CropWindow, drawCrop } from "@medvlm/core/image";

/** How a training picture is cut. */
export interface DrawnPicture {
  /** The part taken; undefined for the whole picture. */
  readonly window: CropWindow | undefined;
  /** Left and right change places. */
  readonly mirrored: boolean;
  /** The boxes, in pixels of the part that is taken. */
  readonly boxes: readonly Box[];
  /** Size that the boxes are relative to. */
  readonly size: { readonly width: number; readonly height: number };
}

/**
 * `none`: the whole picture, as in evaluation. `moved`: a part that keeps something of every box, boxes moved along, never mirrored.
 * `literal`: what the released code does, boxes of the whole picture beside a part that may be mirrored.
 */
export type CropPolicy = "none" | "moved" | "literal";

const range = { scale: [0.5, 1] as const };
/** After as many parts without one of the boxes the whole picture is taken. */
const attempts = 10;

/**
 * Draws how a training picture is cut (PeFoMed `Blip2ImageTrainProcessor`: half to all of the area, ratio 3/4 to 4/3, mirrored with
 * probability one half).
 *
 * @param boxes In pixels of the whole picture.
 * @param uniform Gives numbers in [0, 1).
 */
export function drawPicture(
  size: { readonly width: number; readonly height: number },
  boxes: readonly Box[],
  policy: CropPolicy,
  uniform: () => number,
): DrawnPicture {
  const whole = { window: undefined, mirrored: false, boxes, size };
  if (policy === "none") return whole;
  const draw = () => drawCrop(size.width, size.height, range, uniform);
  if (policy === "literal") {
    const window = draw();
    return { ...whole, window, mirrored: uniform() < 0.5 };
  }
  for (let attempt = 0; attempt < attempts; attempt++) {
    const window = draw();
    const moved = boxes.map((box) => boxInCrop(box, window));
    if (moved.some((box) => box === undefined)) continue;
    return { window, mirrored: false, boxes: moved as Box[], size: window };
  }
  return whole;
}
