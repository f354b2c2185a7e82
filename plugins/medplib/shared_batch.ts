/**
 * Training samples about the same pictures as one batch of the language model: what comes before and with a picture is computed
 * once for all conversations about it.
 *
 * @module
 */
import { type Continuation, sharedLayout } from "@medvlm/core/nn";
import type { MedplibConfig } from "./config.ts";
import { visualStack } from "./icl.ts";
import { joined } from "./joined.ts";
import { imagePlaceholder, regionPlaceholder } from "./prompt.ts";
import type { BatchTokens, MaskTarget, TrainingBatch } from "./training_batch.ts";
import type { TrainingSample } from "./training_sample.ts";

/** Tokens of a text up to its image, that included. */
function beginning({ ids }: TrainingSample): readonly number[] {
  return ids.slice(0, ids.indexOf(imagePlaceholder) + 1);
}

/**
 * Puts conversations about pictures together. Without experts the loss is that of `trainingBatch` over the same samples; with
 * experts, a shared beginning takes slots once.
 *
 * @param pictures Samples of each picture, at least one; all have one image, before which all texts of the batch are as long
 *   and those of a picture are the same.
 * @throws {RangeError} when the beginnings differ, or an answer follows its picture at once.
 */
export function sharedBatch(
  pictures: readonly (readonly TrainingSample[])[],
  config: MedplibConfig,
  { seg, pad }: BatchTokens,
): TrainingBatch {
  const begins = pictures.map(([first]) => beginning(first!));
  const misfit = pictures.some((samples, g) =>
    begins[g]!.length === 0 ||
    samples.some(({ ids }) => begins[g]!.some((id, i) => ids[i] !== id))
  );
  if (misfit) {
    throw new RangeError(
      "Cannot share what comes before a picture: expected one image in each text and the same tokens before it",
    );
  }
  const visual = visualStack(
    pictures.map(([first]) => ({ kind: "image", pixels: first!.clipPixels })),
    config,
  );
  const tokens: number[] = [];
  const put = (id: number) => tokens.push(id) - 1;
  const shownRows = visual.spans.reduce((sum, { length }) => sum + length, 0);
  const regions: TrainingBatch["regions"][number][] = [];
  let sample = 0;
  const starts = pictures.map((samples, g) => {
    const begin = begins[g]!, { start, length } = visual.spans[g]!;
    const image = Array.from({ length }, (_, row) => -1 - start - row);
    const continuations = samples.map(({ ids, labels, cells = [] }): Continuation => {
      const rows = ids.slice(begin.length).map((id) => {
        if (id !== regionPlaceholder) return put(id);
        return -1 - shownRows - (regions.push({ sample, image: g, cells }) - 1);
      });
      sample++;
      return { rows, labels: labels.slice(begin.length) };
    });
    return { rows: [...begin.slice(0, -1).map(put), ...image], continuations };
  });
  const padRow = put(pad);
  const layout = sharedLayout(starts, tokens.length, padRow);
  const { prefixes: { count, rows }, length } = layout;
  const masks: MaskTarget[] = [], samPixels: Float32Array[] = [];
  sample = 0;
  pictures.forEach((samples, g) => {
    const shown = samples.find((one) => one.masks.length > 0);
    if (shown !== undefined) samPixels.push(shown.samPixels!);
    for (const { ids, masks: wanted, resized } of samples) {
      const start = count * rows + length * sample - begins[g]!.length;
      const segs = ids.flatMap((id, i) => id === seg ? [start + i - 1] : []);
      wanted.forEach((mask, m) =>
        masks.push({
          sample,
          picture: samPixels.length - 1,
          row: segs[m]!,
          resized: resized!,
          mask,
        })
      );
      sample++;
    }
  });
  return {
    ...layout,
    tokens: Int32Array.from(tokens),
    visual,
    regions,
    samPixels: joined(samPixels),
    masks,
  };
}
