/**
 * Pictures in training (PeFoMed `Blip2ImageTrainProcessor`): a random part stretched to a square, mirrored half of the time.
 *
 * @module
 */
import {
  cropToSquare,
  type CropWindow,
  drawCrop,
  type Raster,
  type Raster8,
  toRgb,
} from "@medvlm/core/image";

/** A part of a picture, mirrored or not. */
export interface PictureDraw {
  /** The part taken. */
  readonly window: CropWindow;
  /** Left and right change places, which is harmful for questions about sides. */
  readonly mirrored: boolean;
}

/** Half to all of the picture's area, ratio 3/4 to 4/3. */
export const cropRange = { scale: [0.5, 1], ratio: [3 / 4, 4 / 3] } as const;

/**
 * Draws a part and whether it is mirrored.
 *
 * @param uniform Gives numbers in [0, 1).
 * @param mirrors Whether half of the pictures are mirrored, as officially. Default false.
 */
export function drawPicture(
  { width, height }: { readonly width: number; readonly height: number },
  uniform: () => number,
  mirrors = false,
): PictureDraw {
  const window = drawCrop(width, height, cropRange, uniform);
  return { window, mirrored: mirrors && uniform() < 0.5 };
}

/** The drawn part as a square of RGB bytes, before scaling and normalising. */
export function drawnSquare(
  image: Raster,
  { window, mirrored }: PictureDraw,
  side: number,
): Raster8 {
  return cropToSquare(toRgb(image), window, side, mirrored);
}
