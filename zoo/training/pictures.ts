/**
 * Square grey pictures as encoders want them: resized once and kept in 8 bits, normalised when a batch is made.
 *
 * @module
 */
import { InputError } from "@medvlm/core";
import { type ChannelStatistics, type Raster, resizePillow } from "@medvlm/core/image";

/** How an encoder wants its square input. */
export interface SquareInput {
  /** Side in pixels. */
  readonly side: number;
  /** Subtracted and divided by, per channel, after scaling. */
  readonly statistics: ChannelStatistics;
  /** Applied to samples of 0 to 255 first: 1, or 1/255. */
  readonly scale: number;
}

/**
 * A square grey picture at the encoder's side, one byte per pixel. Three equal channels resized by Pillow's filter are equal
 * still, and a square needs no padding: nothing is lost against the preparation of colour pictures.
 *
 * @throws {InputError} code `NOT_SQUARE` for other pictures.
 */
export function greySquare(image: Raster, side: number): Uint8Array {
  if (image.channels !== 1 || image.width !== image.height) {
    throw new InputError(
      "NOT_SQUARE",
      `Cannot keep a ${image.width}x${image.height} picture of ${image.channels} channels in grey: give a square one of one channel`,
    );
  }
  return resizePillow(image, side, side, "bilinear").data;
}

/** Grey pictures as three equal channels, normalised, [B, 3, side, side]. */
export function normalisedSquares(
  pictures: readonly Uint8Array[],
  { side, statistics: { mean, std }, scale }: SquareInput,
): Float32Array<ArrayBuffer> {
  const pixels = side * side, channels = mean.length;
  const out = new Float32Array(pictures.length * channels * pixels);
  // Eight-bit samples take only 256 values.
  const tables = mean.map((average, c) =>
    Float32Array.from({ length: 256 }, (_, value) => (value * scale - average) / std[c]!)
  );
  let at = 0;
  for (const picture of pictures) {
    for (const table of tables) {
      for (let i = 0; i < pixels; i++) out[at++] = table[picture[i]!]!;
    }
  }
  return out;
}
