/**
 * Pictures for the vision tower (`minigpt4/processors/blip_processors.py`: `blip2_image_eval`, which in MiniGPT-4 is also
 * `blip2_image_train`).
 *
 * @module
 */
import {
  type ChannelStatistics,
  normalise,
  type Planes,
  type Raster,
  type Raster8,
  resizePillow,
  toRgb,
} from "../image/mod.ts";

/** CLIP's statistics, for samples 0..1. */
export const pictureStatistics: ChannelStatistics = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
};

/**
 * The picture stretched to a square, 8 bits, RGB: aspect ratio not kept, no crop, Pillow's bicubic filter.
 *
 * @param image Any picture; grey becomes three equal channels, alpha is dropped, deep samples are scaled to 8 bits.
 * @param side Side of the square in pixels.
 */
export function squarePicture(image: Raster, side: number): Raster8 {
  return resizePillow(toRgb(image), side, side, "bicubic");
}

/**
 * The vision tower's input [3, side, side]: stretched to a square, scaled to 0..1, normalised.
 *
 * @param image Any picture, as {@linkcode squarePicture} takes it.
 * @param side Side of the square in pixels.
 */
export function minigptPixels(image: Raster, side: number): Planes {
  return normalise(squarePicture(image, side), pictureStatistics, 1 / 255);
}
