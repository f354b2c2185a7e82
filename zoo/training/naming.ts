/**
 * A vision tower that learns along with the language model, and what keeps it to the point: every row of a picture is matched with
 * the language model's words for the size of what lies on it. The tower's own pretraining names what is on a patch and where it ends,
 * from which a reader can tell sizes, and a small language model did not learn to. A word on the row it has only to copy.
 *
 * @module
 */
import type { Raster } from "@medvlm/core";
import { imageRowCount, type MinigptConfig } from "@medvlm/core/minigpt";
import type { Parameters } from "@medvlm/core/nn";
import { add, fill, gatherRows, matmul, rowIndex, type Tensor } from "@medvlm/core/tensor";
import { matchingLoss } from "./patch_task.ts";
import { nearness } from "./patch_words.ts";
import { rowsOf } from "./pointing.ts";
import { type SizedBox, wordsOfSize } from "./size_words.ts";

/** A picture and what is in it. */
export interface SizedPicture {
  readonly image: Raster;
  readonly sized: readonly SizedBox[];
}

/** Which rows of pictures show something of which size [rows of pictures, words], 0 or 1. */
export function namingTargets(
  pictures: readonly SizedPicture[],
  config: MinigptConfig,
): Float32Array<ArrayBuffer> {
  const words = wordsOfSize.length, perPicture = imageRowCount(config);
  const targets = new Float32Array(pictures.length * perPicture * words);
  pictures.forEach(({ image, sized }, picture) => {
    const { covered } = rowsOf(image, config);
    for (const { word, box } of sized) {
      for (const row of covered([box])) {
        targets[(picture * perPicture + row) * words + wordsOfSize.indexOf(word)] = 1;
      }
    }
  });
  return targets;
}

/**
 * How far rows are from their words, as `patch_task.ts` has it, f32 [1].
 *
 * @param pictures Rows of pictures [rows, H].
 * @param tokens Those of {@linkcode wordsOfSize}.
 */
export function namingLoss(
  p: Parameters,
  pictures: Tensor,
  targets: Float32Array<ArrayBuffer>,
  tokens: readonly number[],
): Tensor {
  const { device } = p, { scale, bias } = nearness;
  const words = gatherRows(
    p.weight("model.embed_tokens.weight"),
    rowIndex(device, Int32Array.from(tokens)),
  );
  const products = matmul(pictures, words, { transposeB: true, scale });
  return matchingLoss(add(products, fill(device, products.shape, bias)), targets, true).total;
}
