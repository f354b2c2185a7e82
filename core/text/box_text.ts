/**
 * Boxes on the 0 to 100 grid of MiniGPT-v2 and how they are written: `{<x1><y1><x2><y2>}`, whole numbers, origin at the
 * top left, without zeros in front and without blanks.
 *
 * @module
 */

/** Corners left, top, right, bottom on the 0 to 100 grid. */
export type GridBox = readonly [number, number, number, number];

/** Largest number of the grid; the image ends there. */
export const gridSize = 100;

/**
 * Pixels on the grid, as the training data of MiniGPT-v2, PFMVG and LiteGPT are made (MiniGPT-4 `coco_dataset.py`, PeFoMed
 * `mscxr_dataset.py`): v / size * 100 in double precision and in this order, then truncated toward zero. Nothing is
 * clipped: a box that leaves the image gives numbers below 0 or above 100. Annotations of the form x, y, w, h have their
 * far corner at x + w, y + h, added before anything else.
 *
 * @param box Corners x1, y1, x2, y2 in pixels of the original image.
 * @param width Pixels in a row of the original image.
 * @param height Rows of the original image.
 */
export function pixelsToGrid(box: readonly number[], width: number, height: number): GridBox {
  const [x1, y1, x2, y2] = box.map((value, i) =>
    // The sum turns -0 into 0, which Python's int has not.
    Math.trunc(value / (i % 2 === 0 ? width : height) * gridSize) + 0
  );
  return [x1, y1, x2, y2];
}

/** Grid numbers as pixels of an image: x / 100 * width, in this order of operations, not rounded, not clipped. */
export function gridToPixels(box: readonly number[], width: number, height: number): number[] {
  return box.map((value, i) => value / gridSize * (i % 2 === 0 ? width : height));
}

/** The text of a box. */
export function gridBoxText(box: GridBox): string {
  return `{<${box.join("><")}>}`;
}
