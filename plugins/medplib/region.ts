/**
 * The grid cells of a region, and which of them stand for it when there are many.
 *
 * @module
 */
import type { Mask } from "@medvlm/core";
import { philox4x32 } from "@medvlm/core/tensor";

/**
 * Row and column of every cell of the grid that is inside, in raster order; of more than `most` a random part, as
 * `extract_region_feature` keeps a prefix of a random permutation.
 *
 * @param grid Cells as a mask, from `regionGrid`.
 * @param seed Decides which part is kept.
 */
export function regionCells(grid: Mask, most: number, seed: number): (readonly [number, number])[] {
  const cells: (readonly [number, number])[] = [];
  grid.data.forEach((inside, i) => {
    if (inside !== 0) cells.push([Math.floor(i / grid.width), i % grid.width]);
  });
  if (cells.length <= most) return cells;
  const order = cells.map((cell, i) => ({
    cell,
    draw: philox4x32([i, 0, 0, 0], [seed >>> 0, 0x7e610])[0],
  }));
  return order.sort((a, b) => a.draw - b.draw).slice(0, most).map(({ cell }) => cell);
}
