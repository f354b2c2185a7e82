/**
 * MS-CXR as PFMVG takes it: one sample per box, the label text as what is looked for, the box as answer (PeFoMed
 * `mscxr_dataset.py`).
 *
 * @module
 */
import { gridBoxText, pixelsToGrid } from "@medvlm/core/text";

/** The eight diseases in the order of the paper's tables, as MS-CXR names them. */
export const diseases = [
  "Pneumonia",
  "Pneumothorax",
  "Consolidation",
  "Atelectasis",
  "Edema",
  "Cardiomegaly",
  "Lung Opacity",
  "Pleural Effusion",
] as const;

/** One of {@linkcode diseases}. */
export type Disease = typeof diseases[number];

/** The disease that a category means, whatever its capitals; undefined for others. */
export function diseaseOf(category: string): Disease | undefined {
  const plain = category.trim().toLowerCase();
  return diseases.find((one) => one.toLowerCase() === plain);
}

/**
 * The answer to a box: on the grid, truncated, not clipped. The image's size is that of the opened picture, not of the annotation
 * file.
 *
 * @param box x, y, width and height in pixels, as annotated.
 */
export function boxAnswer(
  [x, y, w, h]: readonly [number, number, number, number],
  { width, height }: { readonly width: number; readonly height: number },
): string {
  return gridBoxText(pixelsToGrid([x, y, x + w, y + h], width, height));
}
